"""What fits into a GPU's memory, by arithmetic on a model's sizes: nothing is loaded, and no GPU is needed.

Estimates, not measurements: what torch, its kernels and fragmentation take beside is OVERHEAD_BYTES and a tenth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from argenseg_model.configuration import ARGenSegConfig

GIB: Final = 2**30
OVERHEAD_BYTES: Final = 1 * GIB  # the CUDA context, cuBLAS' and cuDNN's workspaces
MARGIN: Final = 0.9  # of the memory may be planned with
PROMPT_TOKENS: Final = 64  # words around the image
_BF16, _FP32 = 2, 4
_ROWS: Final = tuple(range(1, 513))


@dataclass(frozen=True)
class ModelSizes:
    """Parameters of a model's parts, and what a token takes in it.

    Attributes:
        language, vision, tokenizer, rest: parameters of the LLM with its vocabulary, the vision tower, the VQ-VAE, and
            of what lies between.
        layers, width, inside, kv_width: of the LLM; kv_width counts keys and values.
        tokens: of a prompt with its image and mask; vocabulary: rows of the head.
        adapter_per_rank: parameters of adapters of rank 1 on all linear layers.
        picture_values: values of the VQ-VAE's largest layer for one picture.
    """

    language: int
    vision: int
    tokenizer: int
    rest: int
    layers: int
    width: int
    inside: int
    kv_width: int
    tokens: int
    vocabulary: int
    adapter_per_rank: int
    picture_values: int

    @property
    def parameters(self) -> int:
        return self.language + self.vision + self.tokenizer + self.rest


@dataclass(frozen=True)
class Plan:
    """What one GPU can do. Rows are prompts decoded, or learnt from, at once; None for what does not fit at all."""

    inference_rows: int | None
    adapter_rows: int | None
    full_rows: int | None


def sizes_of(config: ARGenSegConfig) -> ModelSizes:
    """Counted on the model that the configuration describes, made without memory."""
    from argenseg_model.model import ARGenSeg

    with torch.device("meta"):
        model = ARGenSeg._from_config(config)
    counts = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in model.named_children()}
    text, vqvae = config.text_config, config.vqvae_config
    head_width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    linear = [module for module in model.language_model.modules() if isinstance(module, torch.nn.Linear)]
    language = counts["language_model"] + counts["lm_head"]
    parts = language + counts["vision_model"] + counts["image_tokenizer"]
    return ModelSizes(
        language=language,
        vision=counts["vision_model"],
        tokenizer=counts["image_tokenizer"],
        rest=sum(parameter.numel() for parameter in model.parameters()) - parts,
        layers=text.num_hidden_layers,
        width=text.hidden_size,
        inside=text.intermediate_size,
        kv_width=2 * text.num_key_value_heads * head_width,
        tokens=config.num_image_tokens + PROMPT_TOKENS + vqvae.tokens_per_mask,
        vocabulary=text.vocab_size,
        adapter_per_rank=sum(module.in_features + module.out_features for module in linear),
        picture_values=vqvae.ch * vqvae.picture_side**2,
    )


def inference_bytes(sizes: ModelSizes, rows: int) -> int:
    """bfloat16: weights, keys and values of the rows, the finest scale's activations, and pictures of all rows."""
    cache = rows * sizes.tokens * sizes.layers * sizes.kv_width * _BF16
    finest = rows * 256 * (2 * sizes.inside + 4 * sizes.width) * _BF16
    logits = rows * 256 * 4096 * 3 * _FP32
    pictures = rows * sizes.picture_values * 4 * _BF16
    return sizes.parameters * _BF16 + cache + max(finest + logits, pictures)


def adapter_bytes(sizes: ModelSizes, rows: int, rank: int = 16) -> int:
    """Weights in bfloat16; adapters, their gradients and AdamW's two moments in float32; activations computed again."""
    return sizes.parameters * _BF16 + sizes.adapter_per_rank * rank * 4 * _FP32 + _activations(sizes, rows)


def full_bytes(sizes: ModelSizes, rows: int) -> int:
    """LLM and projector as the release trains them: float32 weights, gradients and AdamW's moments, bfloat16 at work.

    Several GPUs share the pictures of a step, not these states: each holds them whole.
    """
    trained = sizes.language + sizes.rest
    frozen = sizes.vision + sizes.tokenizer
    return frozen * _BF16 + trained * (4 * _FP32 + _BF16) + _activations(sizes, rows)


def _activations(sizes: ModelSizes, rows: int) -> int:
    """One layer's at work, every layer's input kept, and the logits of the answers with their gradients."""
    at_work = rows * sizes.tokens * (3 * sizes.inside + 8 * sizes.width) * _BF16 * 2
    kept = rows * sizes.tokens * sizes.layers * sizes.width * _BF16
    logits = rows * 690 * sizes.vocabulary * 3 * _FP32
    return at_work + kept + logits


def plan_memory(sizes: ModelSizes, gpu_bytes: int, rank: int = 16) -> Plan:
    """What fits into one GPU of `gpu_bytes`."""
    usable = int(gpu_bytes * MARGIN) - OVERHEAD_BYTES

    def most(bytes_of_rows: Callable[[int], int]) -> int | None:
        fits = [rows for rows in _ROWS if bytes_of_rows(rows) <= usable]
        return max(fits, default=None)

    return Plan(
        inference_rows=most(lambda rows: inference_bytes(sizes, rows)),
        adapter_rows=most(lambda rows: adapter_bytes(sizes, rows, rank)),
        full_rows=most(lambda rows: full_bytes(sizes, rows)),
    )

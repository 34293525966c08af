"""A model between the starter and the release in size, with random weights and the release's vocabulary and codes."""

import tempfile

import numpy as np
import torch
from PIL import Image

from argenseg_model import ARGenSeg, ARGenSegConfig
from argenseg_model.tokenizer import Tokenizer, train_byte_bpe

VOCABULARY = 96_653
NUM_CODES = 4096
PROMPTS = tuple(f"the {thing}" for thing in ("left cell", "cat", "red car", "tree", "nucleus", "dog", "cup", "road"))


def midsize_model(seed: int = 0) -> ARGenSeg:
    """LLM 512 x 8 layers, 8 query and 4 key heads, 1408 inside; ViT 256 x 6; VQ-VAE of 64 channels; float32."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train_byte_bpe(["Please segment the thing in this image."] * 9, 300, folder)
    torch.manual_seed(seed)
    model = ARGenSeg(_config(tokenizer)).eval()
    with torch.no_grad():  # spread out, so that different inputs give different codes
        for name, parameter in model.named_parameters():
            if not name.startswith("image_tokenizer") and parameter.ndim > 1:
                parameter.normal_(0, parameter.shape[-1] ** -0.5)
    model.tokenizer = tokenizer
    return model


def sample_picture() -> Image.Image:
    """Smooth noise of 448 x 448 px."""
    coarse = np.random.default_rng(0).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((448, 448), Image.Resampling.BICUBIC)


def _config(tokenizer: Tokenizer) -> ARGenSegConfig:
    special = tokenizer.special_tokens
    return ARGenSegConfig(
        model_name="midsize",
        vision_config={
            "hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 1024,
            "image_size": 448, "patch_size": 14, "attention_bias": True,
        },
        text_config={
            "model_type": "llama", "hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8,
            "num_key_value_heads": 4, "intermediate_size": 1408, "vocab_size": VOCABULARY,
            "tie_word_embeddings": False,
        },
        vqvae_config={"ch": 64},
        image_token_id=special["<IMG_CONTEXT>"],
        ge_start_id=special["<ge_start>"],
        ge_end_id=special["<ge_end>"],
        mask_context_id=special["<MASK_CONTEXT>"],
        eos_token_id=special["<|im_end|>"],
        visual_token_start=VOCABULARY - NUM_CODES,
    )  # fmt: skip

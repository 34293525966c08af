"""The release's checkpoint layout (`inclusionAI/ARGenSeg-8B`): its config and its keys, mapped onto ours.

InternLM2's fused wqkv and the vision tower's fused qkv are split; everything else is a change of name.
"""

import re
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from argenseg_model.configuration import ARGenSegConfig
from argenseg_model.errors import CheckpointError

# ids of the release's added tokens (its tokenizer files say the same)
_IM_END, _IMG_CONTEXT, _GE_START, _GE_END, _MASK_CONTEXT, _VISUAL_0 = 92542, 92546, 92554, 92555, 92556, 92557


def convert_config(raw: dict[str, Any]) -> ARGenSegConfig:
    """The release's config.json as ours. A key "vae_config" may hold other VQ-VAE sizes than the release's.

    Raises:
        CheckpointError: another architecture, or an option that the release does not have.
    """
    llm, vision = raw.get("llm_config"), raw.get("vision_config")
    if raw.get("model_type") != "internvl_chat" or not isinstance(llm, dict) or not isinstance(vision, dict):
        raise CheckpointError(
            f"config.json is of model_type {raw.get('model_type')!r}: neither the official ARGenSeg layout nor ours"
        )
    if llm.get("model_type") != "internlm2" or vision.get("qk_normalization"):
        raise CheckpointError("only InternLM2 and an InternViT without qk normalisation are known in this layout")
    for option, known in _FIXED_OPTIONS.items():
        if raw.get(option, known) != known:
            raise CheckpointError(
                f"config.json asks for {option} {raw[option]!r}; only {known!r}, the release's, is known"
            )
    try:
        return ARGenSegConfig(
            model_name=_NAMES.get(llm["num_hidden_layers"], "argenseg"),
            downsample_ratio=raw["downsample_ratio"],
            image_token_id=_IMG_CONTEXT,
            ge_start_id=_GE_START,
            ge_end_id=_GE_END,
            mask_context_id=_MASK_CONTEXT,
            visual_token_start=_VISUAL_0,
            eos_token_id=_IM_END,
            image_size=raw["force_image_size"],
            vision_config={
                "hidden_size": vision["hidden_size"],
                "intermediate_size": vision["intermediate_size"],
                "num_hidden_layers": vision["num_hidden_layers"],
                "num_attention_heads": vision["num_attention_heads"],
                "image_size": vision["image_size"],
                "patch_size": vision["patch_size"],
                "hidden_act": vision["hidden_act"],
                "layer_norm_eps": vision["layer_norm_eps"],
                "norm_type": vision["norm_type"],
                "attention_bias": vision["qkv_bias"],
            },
            text_config={
                "model_type": "llama",
                "vocab_size": llm["vocab_size"],
                "hidden_size": llm["hidden_size"],
                "intermediate_size": llm["intermediate_size"],
                "num_hidden_layers": llm["num_hidden_layers"],
                "num_attention_heads": llm["num_attention_heads"],
                "num_key_value_heads": llm["num_key_value_heads"],
                "hidden_act": llm["hidden_act"],
                "rms_norm_eps": llm["rms_norm_eps"],
                "max_position_embeddings": llm["max_position_embeddings"],
                # "dynamic" scaling changes nothing below max_position_embeddings (32768), far beyond an answer's length
                "rope_parameters": {"rope_type": "default", "rope_theta": float(llm["rope_theta"])},
                "attention_bias": llm["bias"],
                "tie_word_embeddings": False,
                "bos_token_id": llm["bos_token_id"],
                "eos_token_id": _IM_END,
                "pad_token_id": llm["pad_token_id"],
            },
            vqvae_config=raw.get("vae_config", {}),
        )
    except KeyError as error:
        raise CheckpointError(f"config.json lacks {error.args[0]!r}, which the official layout has") from error


_NAMES = {32: "argenseg-8b"}
_FIXED_OPTIONS = {"select_layer": -1, "ps_version": "v2"}

_LLM, _OUR_LLM = "language_model.model.layers.#", "language_model.layers.#"
_VISION, _OUR_VISION = "vision_model.encoder.layers.#", "vision_model.encoder.layer.#"
_RENAMES = {  # beginning of an official key: ours; # is a layer's number
    "vision_model.embeddings.class_embedding": "vision_model.embeddings.cls_token",
    "vision_model.embeddings.position_embedding": "vision_model.embeddings.position_embeddings",
    "vision_model.embeddings.patch_embedding": "vision_model.embeddings.patch_embeddings.projection",
    f"{_VISION}.ls1": f"{_OUR_VISION}.lambda_1",
    f"{_VISION}.ls2": f"{_OUR_VISION}.lambda_2",
    f"{_VISION}.norm1": f"{_OUR_VISION}.layernorm_before",
    f"{_VISION}.norm2": f"{_OUR_VISION}.layernorm_after",
    f"{_VISION}.attn.proj": f"{_OUR_VISION}.attention.projection_layer",
    f"{_VISION}.mlp": f"{_OUR_VISION}.mlp",
    "language_model.model.tok_embeddings": "language_model.embed_tokens",
    "language_model.model.norm": "language_model.norm",
    "language_model.output": "lm_head",
    f"{_LLM}.attention.wo": f"{_OUR_LLM}.self_attn.o_proj",
    f"{_LLM}.feed_forward.w1": f"{_OUR_LLM}.mlp.gate_proj",
    f"{_LLM}.feed_forward.w2": f"{_OUR_LLM}.mlp.down_proj",
    f"{_LLM}.feed_forward.w3": f"{_OUR_LLM}.mlp.up_proj",
    f"{_LLM}.attention_norm": f"{_OUR_LLM}.input_layernorm",
    f"{_LLM}.ffn_norm": f"{_OUR_LLM}.post_attention_layernorm",
    "mlp1.0": "multi_modal_projector.layer_norm",
    "mlp1.1": "multi_modal_projector.linear_1",
    "mlp1.3": "multi_modal_projector.linear_2",
    "word_embed": "word_embed",
    "lvl_embed": "lvl_embed",
    "pos_1LC": "pos_1LC",
    "image_tokenizer": "image_tokenizer",
}
_FUSED = {  # official key of a matrix that is split: what its parts are called here, @ is q, k or v
    f"{_VISION}.attn.qkv": f"{_OUR_VISION}.attention.@_proj",
    f"{_LLM}.attention.wqkv": f"{_OUR_LLM}.self_attn.@_proj",
}


def _pattern(beginning: str) -> re.Pattern[str]:
    return re.compile(re.escape(beginning).replace(r"\#", r"(\d+)").replace("@", "[qkv]") + r"(?=\.|$)")


def _rename(key: str, names: dict[re.Pattern[str], str]) -> str | None:
    """The key with its beginning replaced; None when no pattern matches."""
    for pattern, name in names.items():
        if match := pattern.match(key):
            return name.replace("#", match[match.lastindex or 0]) + key[match.end() :]
    return None


_TO_OURS = {_pattern(official): ours for official, ours in _RENAMES.items()}
_TO_OFFICIAL = {_pattern(ours): official for official, ours in (_RENAMES | _FUSED).items()}
_VISION_QKV, _LLM_WQKV = map(_pattern, _FUSED)
# A checkpoint saved after a generate() holds these shared modules a second time; lvl_1L is a constant.
_IGNORED = re.compile(r"language_model\.(image_tokenizer|lvl_embed|word_embed|pos_1LC)\b|lvl_1L$")


def official_key(name: str) -> str:
    """The official key that holds our tensor `name`."""
    return _rename(name, _TO_OFFICIAL) or name


class KeyTable:
    """Renames and splits the release's tensors, one at a time."""

    def __init__(self, config: ARGenSegConfig):
        text = config.text_config
        self.kv_heads = text.num_key_value_heads
        self.groups = text.num_attention_heads // text.num_key_value_heads

    def rename(self, key: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Our (name, tensor) pairs of one official tensor; none for a duplicate; the key itself when unknown."""
        if _IGNORED.match(key):
            return
        if match := _VISION_QKV.match(key):
            self._check(key, tensor, 3)
            parts = dict(zip("qkv", tensor.chunk(3), strict=True))
            ours = f"{_OUR_VISION}.attention.@_proj"
        elif match := _LLM_WQKV.match(key):
            self._check(key, tensor, self.kv_heads * (self.groups + 2))
            # InternLM2 stores, for each key/value head: its query heads, the key head, the value head
            heads = tensor.unflatten(0, (self.kv_heads, self.groups + 2, -1))
            heads_by_name = {"q": heads[:, : self.groups], "k": heads[:, -2:-1], "v": heads[:, -1:]}
            parts = {name: part.flatten(0, 2) for name, part in heads_by_name.items()}
            ours = f"{_OUR_LLM}.self_attn.@_proj"
        else:
            yield _rename(key, _TO_OURS) or key, tensor
            return
        for name, part in parts.items():
            yield ours.replace("#", match[1]).replace("@", name) + key[match.end() :], part.contiguous()

    def _check(self, key: str, tensor: Tensor, parts: int) -> None:
        if tensor.ndim == 0 or tensor.shape[0] % parts or not tensor.shape[0]:
            raise CheckpointError(f"tensor {key!r} of shape {tuple(tensor.shape)} cannot be split into {parts} parts")

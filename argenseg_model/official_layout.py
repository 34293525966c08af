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

_RENAMES = [  # (pattern of an official key, our name)
    (r"vision_model\.embeddings\.class_embedding", "vision_model.embeddings.cls_token"),
    (r"vision_model\.embeddings\.position_embedding", "vision_model.embeddings.position_embeddings"),
    (
        r"vision_model\.embeddings\.patch_embedding\.(weight|bias)",
        r"vision_model.embeddings.patch_embeddings.projection.\1",
    ),
    (r"(vision_model\.encoder\.)layers\.(\d+)\.ls([12])", r"\1layer.\2.lambda_\3"),
    (r"(vision_model\.encoder\.)layers\.(\d+)\.norm1\.(\w+)", r"\1layer.\2.layernorm_before.\3"),
    (r"(vision_model\.encoder\.)layers\.(\d+)\.norm2\.(\w+)", r"\1layer.\2.layernorm_after.\3"),
    (r"(vision_model\.encoder\.)layers\.(\d+)\.attn\.proj\.(\w+)", r"\1layer.\2.attention.projection_layer.\3"),
    (r"(vision_model\.encoder\.)layers\.(\d+)\.mlp\.(fc[12])\.(\w+)", r"\1layer.\2.mlp.\3.\4"),
    (r"language_model\.model\.tok_embeddings\.weight", "language_model.embed_tokens.weight"),
    (r"language_model\.output\.weight", "lm_head.weight"),
    (r"language_model\.model\.norm\.weight", "language_model.norm.weight"),
    (r"language_model\.model\.layers\.(\d+)\.attention\.wo\.(\w+)", r"language_model.layers.\1.self_attn.o_proj.\2"),
    (r"language_model\.model\.layers\.(\d+)\.feed_forward\.w1\.weight", r"language_model.layers.\1.mlp.gate_proj.weight"),
    (r"language_model\.model\.layers\.(\d+)\.feed_forward\.w3\.weight", r"language_model.layers.\1.mlp.up_proj.weight"),
    (r"language_model\.model\.layers\.(\d+)\.feed_forward\.w2\.weight", r"language_model.layers.\1.mlp.down_proj.weight"),
    (r"language_model\.model\.layers\.(\d+)\.attention_norm\.weight", r"language_model.layers.\1.input_layernorm.weight"),
    (r"language_model\.model\.layers\.(\d+)\.ffn_norm\.weight", r"language_model.layers.\1.post_attention_layernorm.weight"),
    (r"mlp1\.0\.(weight|bias)", r"multi_modal_projector.layer_norm.\1"),
    (r"mlp1\.1\.(weight|bias)", r"multi_modal_projector.linear_1.\1"),
    (r"mlp1\.3\.(weight|bias)", r"multi_modal_projector.linear_2.\1"),
    (r"((?:word_embed|lvl_embed|pos_1LC|image_tokenizer)\b.*)", r"\1"),
]
_VISION_QKV = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.attn\.qkv\.(weight|bias)")
_LLM_WQKV = re.compile(r"language_model\.model\.layers\.(\d+)\.attention\.wqkv\.(weight|bias)")
# A checkpoint saved after a generate() holds these shared modules a second time; lvl_1L is a constant.
_IGNORED = re.compile(r"language_model\.(image_tokenizer|lvl_embed|word_embed|pos_1LC)\b|lvl_1L$")


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
        if match := _VISION_QKV.fullmatch(key):
            layer, kind = match.groups()
            self._check(key, tensor, 3)
            for name, part in zip("qkv", tensor.chunk(3), strict=True):
                yield f"vision_model.encoder.layer.{layer}.attention.{name}_proj.{kind}", part.contiguous()
        elif match := _LLM_WQKV.fullmatch(key):
            layer, kind = match.groups()
            self._check(key, tensor, self.kv_heads * (self.groups + 2))
            # InternLM2 stores, for each key/value head: its query heads, the key head, the value head
            heads = tensor.unflatten(0, (self.kv_heads, self.groups + 2, -1))
            parts = {"q": heads[:, : self.groups], "k": heads[:, -2:-1], "v": heads[:, -1:]}
            for name, part in parts.items():
                yield f"language_model.layers.{layer}.self_attn.{name}_proj.{kind}", part.flatten(0, 2).contiguous()
        else:
            for pattern, name in _RENAMES:
                if match := re.fullmatch(pattern, key):
                    yield match.expand(name), tensor
                    return
            yield key, tensor

    def _check(self, key: str, tensor: Tensor, parts: int) -> None:
        if tensor.ndim == 0 or tensor.shape[0] % parts:
            raise CheckpointError(f"tensor {key!r} of shape {tuple(tensor.shape)} cannot be split into {parts} heads")

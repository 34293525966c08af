"""ARGenSeg: a multimodal LLM that answers a text prompt with the visual tokens of a mask picture.

Paper: "ARGenSeg: Image Segmentation with Autoregressive Image Generation Model" (arXiv 2510.20803).
Axes in names: B rows, L tokens, C latent channels, D LLM width, V vocabulary, K scales.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, InternVLVisionModel, PreTrainedModel
from transformers.activations import ACT2FN

from argenseg_model.asking import AskingMixin
from argenseg_model.checkpoints import load_model, save_model
from argenseg_model.configuration import ARGenSegConfig
from argenseg_model.efficientnet import EfficientNetLite, EfficientNetLiteConfig
from argenseg_model.generation import GenerationMixin
from argenseg_model.prefix_cache import PrefixCache
from argenseg_model.segmentation import SegmentationMixin
from argenseg_model.vqvae import MultiScaleVQVAE


class MultiModalProjector(nn.Module):
    """LayerNorm and a two-layer MLP from pixel-shuffled vision features to LLM width."""

    def __init__(self, config: ARGenSegConfig):
        super().__init__()
        width, D = config.vision_config.hidden_size, config.text_config.hidden_size
        width *= round(1 / config.downsample_ratio) ** 2
        self.layer_norm = nn.LayerNorm(width)
        self.linear_1, self.linear_2 = nn.Linear(width, D), nn.Linear(D, D)
        self.act = ACT2FN[config.projector_hidden_act]

    def forward(self, features_BLC: Tensor) -> Tensor:
        return self.linear_2(self.act(self.linear_1(self.layer_norm(features_BLC))))


@dataclass(frozen=True)
class ARGenSegLoss:
    """Training losses (scalars): `loss` = `text_loss` + `mask_loss`, each a mean cross entropy over its own targets."""

    loss: Tensor
    text_loss: Tensor
    mask_loss: Tensor


class ARGenSeg(SegmentationMixin, AskingMixin, GenerationMixin, PreTrainedModel):
    """See `segment` (images and prompts in, masks out), `ask` (a question in, words out), `generate` (ids in, ids and
    pictures out), `forward` (loss)."""

    config_class = ARGenSegConfig
    main_input_name = "pixel_values"
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _no_split_modules = ("LlamaDecoderLayer", "Qwen2DecoderLayer", "InternVLVisionLayer")

    def __init__(self, config: ARGenSegConfig):
        super().__init__(config)
        config.check()
        D, vqvae = config.text_config.hidden_size, config.vqvae_config
        is_lite = isinstance(config.vision_config, EfficientNetLiteConfig)
        self.vision_model: nn.Module = (
            EfficientNetLite(config.vision_config)
            if is_lite
            else InternVLVisionModel._from_config(config.vision_config)
        )
        self.multi_modal_projector = MultiModalProjector(config)
        self.language_model = AutoModel.from_config(config.text_config, trust_remote_code=False)
        self.lm_head = nn.Linear(D, config.text_config.vocab_size, bias=False)
        self.word_embed = nn.Linear(vqvae.z_channels, D)
        self.lvl_embed = nn.Embedding(len(vqvae.scales), D)
        self.pos_1LC = nn.Parameter(torch.zeros(1, vqvae.tokens_per_mask, D))
        if config.image_position_code:
            self.image_pos_1LC = nn.Parameter(torch.zeros(1, config.num_image_tokens, D))
        self.image_tokenizer = MultiScaleVQVAE(vqvae)
        self.tokenizer: Any = None
        self.prefix_cache = PrefixCache()
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # The VQ-VAE keeps torch's own initialisation; the base class would blank its convolutions to N(0, 0.02).
        if not isinstance(module, nn.Conv2d | nn.GroupNorm):
            super()._init_weights(module)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, source: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32, **kwargs: Any
    ) -> "ARGenSeg":
        """Load a model for inference (eval mode).

        Args:
            source: folder or Hub id in the official layout or in ours, or "starter", the small model that ships.
            device: "cpu", "cuda" or "auto" (cuda when there is one).
            dtype: of the weights in memory.
            kwargs: for a Hub id: `revision`, `token`, `cache_dir`, ... of huggingface_hub.snapshot_download.

        Raises:
            CheckpointError: missing, misshapen or unreadable files, named in the message.
            TokenizerError: damaged tokenizer files.
        """
        return load_model(cls, source, device, dtype, **kwargs)

    @classmethod
    def can_generate(cls) -> bool:
        return False  # not by transformers' GenerationMixin: ours has the same name, which the base class would go by

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def save_pretrained(self, folder: str | Path, **kwargs: Any) -> None:
        """Write our layout: config.json, model.safetensors and, when the model has one, its tokenizer's files.

        `folder` is made if need be; one that holds a checkpoint, even this model's own, gets the new one whole or, when
        writing fails, keeps the old one. kwargs are those of transformers, but for push_to_hub.
        """

        def write(partial: Path) -> None:
            super(ARGenSeg, self).save_pretrained(partial, **kwargs)
            if self.tokenizer is not None:
                self.tokenizer.save(partial)

        save_model(folder, write)

    # ---- inputs of the language model ----

    def image_features(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels -> (B, num_image_tokens, D) LLM inputs."""
        patches = self.vision_model(pixel_values=pixel_values.to(self.dtype)).last_hidden_state
        return self.project(patches if isinstance(self.vision_model, EfficientNetLite) else patches[:, 1:])

    def project(self, patches: Tensor) -> Tensor:
        """(B, patches, width) of the vision tower, without a class token -> (B, num_image_tokens, D)."""
        features = self.multi_modal_projector(_pixel_shuffle(patches, round(1 / self.config.downsample_ratio)))
        return features + self.image_pos_1LC if self.config.image_position_code else features

    def visual_embeds(
        self, visual_BLC: Tensor, offset: int, scales: Tensor, image_features: Tensor | None = None
    ) -> Tensor:
        """LLM inputs of visual tokens `offset..offset+L` (not the first) whose scales are `scales` (L,).

        `image_features` (B, num_image_tokens, D) of the rows' images are needed where `visual_tokens_see_image`.
        """
        L = visual_BLC.shape[1]
        embeds_BLD = self.word_embed(visual_BLC) + self.lvl_embed(scales) + self.pos_1LC[:, offset : offset + L]
        if not self.config.visual_tokens_see_image:
            return embeds_BLD
        if image_features is None:
            raise ValueError("this model's visual tokens see the image: image_features must be given")
        return embeds_BLD + self.image_at_tokens(image_features)[:, offset - 1 : offset - 1 + L]

    def image_at_tokens(self, image_features: Tensor) -> Tensor:
        """(B, num_image_tokens, D) -> (B, tokens_per_mask - 1, D): the image at each token's place, not the first's."""
        side = round(image_features.shape[1] ** 0.5)
        image_BDhw = image_features.transpose(1, 2).unflatten(2, (side, side))
        maps = [
            image_BDhw if scale == side else F.interpolate(image_BDhw, size=(scale, scale), mode="area")
            for scale in self.config.vqvae_config.scales[1:]
        ]
        return torch.cat([m.flatten(2) for m in maps], 2).transpose(1, 2)

    def scale_of_token(self) -> Tensor:
        """(tokens_per_mask,) index of each visual token's scale."""
        sides = torch.tensor([s * s for s in self.config.vqvae_config.scales], device=self.device)
        return torch.arange(len(sides), device=self.device).repeat_interleave(sides)

    def prompt_embeds(self, input_ids: Tensor, image_features: Tensor | None) -> Tensor:
        """(B, L, D) embeddings with image features in the places of `<IMG_CONTEXT>`, in row order.

        Raises:
            ValueError: the number of `<IMG_CONTEXT>` ids is not that of the image tokens.
        """
        embeds_BLD = self.get_input_embeddings()(input_ids)
        at_BL = input_ids == self.config.image_token_id
        if image_features is None:
            return embeds_BLD
        _check_count("input_ids", "image", at_BL, image_features.shape[:-1].numel())
        return embeds_BLD.masked_scatter(at_BL[..., None], image_features.to(embeds_BLD.dtype))

    # ---- training ----

    def forward(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        labels: Tensor,
        mask_pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> ARGenSegLoss:
        """Teacher-forced losses, as in the release.

        Args:
            pixel_values: (images, 3, S, S) normalised.
            input_ids: (B, L); a mask is `<ge_start>`, tokens_per_mask - 1 times `<MASK_CONTEXT>`, `<ge_end>`.
            labels: (B, L), -100 where there is no target; `<MASK_CONTEXT>` stands for a visual token (tokens_per_mask
                of them a mask, the last in `<ge_end>`'s place). Shifted inside: position i is predicted from i - 1.
            mask_pixel_values: (masks, 3, side, side) target pictures in [-1, 1], in row order.

        Raises:
            ValueError: input_ids or labels hold another number of image or mask tokens than the pictures give.
        """
        codes_ML = None
        if mask_pixel_values is not None:
            codes_ML = self.image_tokenizer.encode(mask_pixel_values.to(self.dtype))
        embeds_BLD = self.training_embeds(pixel_values, input_ids, codes_ML)
        hidden_BLD = self.language_model(
            inputs_embeds=embeds_BLD, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state[:, :-1]
        targets_BL = labels[:, 1:].long()
        is_visual, is_text = targets_BL == self.config.mask_context_id, targets_BL >= 0
        is_text = is_text & ~is_visual
        text_loss = self._cross_entropy(hidden_BLD[is_text], targets_BL[is_text])
        visual_targets = targets_BL.new_zeros(0)
        if codes_ML is not None:
            visual_targets = codes_ML.flatten() + self.config.visual_token_start
        _check_count("labels", "mask", is_visual, len(visual_targets))
        mask_loss = self._cross_entropy(hidden_BLD[is_visual], visual_targets)
        return ARGenSegLoss(text_loss + mask_loss, text_loss, mask_loss)

    def training_embeds(self, pixel_values: Tensor, input_ids: Tensor, codes_ML: Tensor | None) -> Tensor:
        """(B, L, D) LLM inputs of a training sequence; visual inputs are computed from the target's own codes."""
        features = self.image_features(pixel_values)
        embeds_BLD = self.prompt_embeds(input_ids, features)
        if codes_ML is None:
            return embeds_BLD
        visual_MLC = self.image_tokenizer.teacher_inputs(codes_ML).to(embeds_BLD.dtype)
        sees = self.config.visual_tokens_see_image
        if sees and len(features) != len(codes_ML):
            raise ValueError(f"{len(features)} images for {len(codes_ML)} masks: give one image for each mask")
        visual_MLD = self.visual_embeds(visual_MLC, 1, self.scale_of_token()[1:], features if sees else None)
        at_BL = input_ids == self.config.mask_context_id
        _check_count("input_ids", "mask", at_BL, visual_MLD.shape[:-1].numel())
        return embeds_BLD.masked_scatter(at_BL[..., None], visual_MLD.to(embeds_BLD.dtype))

    def _cross_entropy(self, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        if not len(targets_N):
            return hidden_ND.new_zeros((), dtype=torch.float32)
        return F.cross_entropy(self.lm_head(hidden_ND).float(), targets_N)


def _check_count(ids: str, kind: str, at_BL: Tensor, expected: int) -> None:
    if (count := int(at_BL.sum())) != expected:
        raise ValueError(f"{ids} hold {count} {kind} tokens, the {kind}s give {expected}")


def _pixel_shuffle(patches_BLC: Tensor, factor: int) -> Tensor:
    """Gather factor x factor neighbouring patches into one token (InternVL's `ps_version` v2)."""
    B, L, C = patches_BLC.shape
    side = round(L**0.5)
    x = patches_BLC.view(B, side // factor, factor, side // factor, factor, C)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(B, L // factor**2, factor**2 * C)

"""Configuration of an ARGenSeg model: every size, id and preprocessing rule lives here, none in the code."""

import math
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import CONFIG_MAPPING, InternVLVisionConfig, PreTrainedConfig

from argenseg_model.efficientnet import EfficientNetLiteConfig

Number = int | float  # JSON writes 1.0 as 1
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INTERNVL2_5_SYSTEM = (
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
)


@strict
class VQVAEConfig(PreTrainedConfig):
    """Multi-scale residual VQ-VAE; the defaults are VAR's `vae_ch160v4096z32` (arXiv 2404.02905).

    Args:
        ch: width of the first level; level i has `ch * ch_mult[i]` channels.
        ch_mult: channel multipliers; every level but the last halves the picture.
        num_res_blocks: residual blocks a level (the decoder has one more).
        z_channels: channels of the latent and of a code.
        num_codes: codes in a codebook.
        scales: side of each scale's square token map, coarse to fine; the last is the latent's side.
        num_phi: how many smoothing convolutions the scales share.
        phi_ratio: share of the convolution in phi(x) = (1 - ratio) x + ratio conv(x).
        codebook_per_scale: one codebook for each scale instead of one for all.
        norm: "group" (GroupNorm, as VAR) or "pixel" (RMS over channels: codes depend on their place only).
        attention: self-attention at the lowest resolution and in the middle (as VAR).
        encoder_kernel_size: of the encoder's 3x3 convolutions; 1 keeps a code's receptive field to its own patch.
        normalize_latent: RMS-normalise the latent before quantisation.
    """

    model_type = "argenseg_vqvae"

    ch: int = 160
    ch_mult: list[int] | tuple[int, ...] = (1, 1, 2, 2, 4)
    num_res_blocks: int = 2
    z_channels: int = 32
    num_codes: int = 4096
    scales: list[int] | tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
    num_phi: int = 4
    phi_ratio: Number = 0.5
    codebook_per_scale: bool = False
    norm: str = "group"
    attention: bool = True
    encoder_kernel_size: int = 3
    normalize_latent: bool = False

    @property
    def picture_side(self) -> int:
        """Side in pixels of the picture that the VQ-VAE encodes and decodes."""
        return self.scales[-1] * 2 ** (len(self.ch_mult) - 1)

    @property
    def tokens_per_mask(self) -> int:
        return sum(side * side for side in self.scales)


@strict
class ARGenSegConfig(PreTrainedConfig):
    """A vision tower + projector, a decoder LLM of the Llama/Qwen2 family, and a multi-scale VQ-VAE.

    The defaults of ids and preprocessing are the release's (`inclusionAI/ARGenSeg-8B`).

    Args:
        vision_config: of the tower; its `model_type` names which: "internvl_vision" (the release) or
            "efficientnet_lite".
        model_name: name a person can read, e.g. "starter-1"; part of the version shown in Label Studio.
        image_token_id: id of `<IMG_CONTEXT>`, replaced by image features.
        ge_start_id, ge_end_id: ids that open and close a mask in an answer.
        mask_context_id: placeholder of a visual token in training sequences.
        visual_token_start: id of visual code 0; code c is token `visual_token_start + c`.
        eos_token_id: end of the answer (`<|im_end|>`).
        image_size: side in pixels of the vision tower's input.
        image_mode: "squash" (the release: the whole image, resized to a square) or
            "tile" (overlapping tiles at the image's own resolution; smaller images are squashed).
        tile_overlap: overlap in pixels of neighbouring tiles.
        autocontrast: stretch each image's grey range before tiling (share cut at both ends), 0 for never.
        least_score: an answer with a lower certainty gets an empty mask (`SegmentationResult.certainty`), 0 for none;
            not in the release.
        least_scores: the same for some kinds of prompt (score_calibration.KINDS).
        score_curves: what makes a score of a certainty (`score_calibration`): kind of prompt and "drawn" or "empty" ->
            weights; None where the certainty itself is the score.
        decode_temperature: a picture's finest scale is drawn from the mean of its codes, weighted by probability at
            this temperature; 0 (the release): from the likeliest code alone. Where a model wavers between codes,
            thresholding their mean comes nearer to the truth than any of them.
        mask_resize_steps: sides through which a target mask is resized (bicubic) for training.
        image_position_code: a learned position code is added to the projected image tokens (not in the release).
        visual_tokens_see_image: the image token of the same place is added to the input of every visual token of all
            scales but the first (not in the release).
        known_names: what the model was taught to name: the words that ask for all of a kind ("nuclei") -> all forms of
            the name; empty where it is taken to know everything.
        known_words: what may stand beside a name ("all", "largest").
        measures_words: words that choose objects of a known name ("largest", "in the left half") are measured on all
            objects of that name that the model finds, instead of being left to the model; not in the release.
        closer_tiles: where what was found is small, the picture is looked at again in up to so many parts a side; 0 for
            never.
        edge_radius: how far a mask's edge may be moved to the image's own, in pixels of the mask's picture, 0 for not
            at all; of "squash" only, as `closer_tiles`.
        system_message: text of the system turn; empty for none.
    """

    model_type = "argenseg"

    vision_config: Any = None
    text_config: Any = None
    vqvae_config: Any = None
    model_name: str = "argenseg"
    downsample_ratio: Number = 0.5
    projector_hidden_act: str = "gelu"
    image_token_id: int = 92546
    ge_start_id: int = 92554
    ge_end_id: int = 92555
    mask_context_id: int = 92556
    visual_token_start: int = 92557
    eos_token_id: int | list[int] | None = 92542
    image_size: int = 448
    image_mean: list[Number] | tuple[Number, ...] = IMAGENET_MEAN
    image_std: list[Number] | tuple[Number, ...] = IMAGENET_STD
    image_mode: str = "squash"
    tile_overlap: int = 0
    autocontrast: Number = 0.0
    least_score: Number = 0.0
    least_scores: dict[str, Number] | None = None
    score_curves: dict[str, list[Number]] | None = None
    decode_temperature: Number = 0.0
    mask_resize_steps: list[int] | tuple[int, ...] = (512, 256)
    image_position_code: bool = False
    visual_tokens_see_image: bool = False
    known_names: dict[str, list[str]] | None = None
    known_words: list[str] | None = None
    measures_words: bool = False
    closer_tiles: int = 0
    edge_radius: Number = 0.0
    system_message: str = INTERNVL2_5_SYSTEM
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        vision = self.vision_config
        is_lite = isinstance(vision, dict) and vision.get("model_type") == EfficientNetLiteConfig.model_type
        self.vision_config = _as_config(vision, EfficientNetLiteConfig if is_lite else InternVLVisionConfig)
        text = self.text_config
        text_class = CONFIG_MAPPING[text.get("model_type", "llama") if isinstance(text, dict) else "llama"]
        self.text_config = _as_config(text, text_class)
        self.vqvae_config = _as_config(self.vqvae_config, VQVAEConfig)
        super().__post_init__(**kwargs)

    def check(self) -> None:
        """Raise ValueError for values of which no model can be built, or which would fail when it is used."""
        vision, text, vqvae = self.vision_config, self.text_config, self.vqvae_config
        factor, scales = round(1 / self.downsample_ratio), vqvae.scales
        ids = (self.image_token_id, self.ge_start_id, self.ge_end_id, self.mask_context_id)
        requirements = {
            "image_size is the vision tower's": list(vision.image_size) == [self.image_size] * 2,
            "1 / downsample_ratio divides the patches": self.image_size // vision.patch_size[0] % factor == 0,
            "image_mean and image_std have three numbers": len(self.image_mean) == len(self.image_std) == 3,
            "image_mean is finite, image_std positive": all(math.isfinite(mean) for mean in self.image_mean)
            and all(0 < std < math.inf for std in self.image_std),
            "0 <= autocontrast < 0.5": 0 <= self.autocontrast < 0.5,
            "0 <= least_score <= 1": all(0 <= least <= 1 for least in (self.least_score, *self._least_by_kind())),
            "score_curves have three finite weights each": all(
                len(curve) == 3 and all(map(math.isfinite, curve)) for curve in (self.score_curves or {}).values()
            ),
            "decode_temperature is finite and not negative": 0 <= self.decode_temperature < math.inf,
            "mask_resize_steps are positive": min(self.mask_resize_steps, default=0) > 0,
            "0 <= phi_ratio <= 1": 0 <= vqvae.phi_ratio <= 1,
            "image_mode is 'squash' or 'tile'": self.image_mode in ("squash", "tile"),
            "0 <= tile_overlap < image_size": 0 <= self.tile_overlap < self.image_size,
            "closer_tiles and edge_radius are not negative": min(self.closer_tiles, self.edge_radius) >= 0,
            "scales begin with 1": scales[0] == 1 and min(scales) > 0,
            "scales end with the largest": max(scales) == scales[-1],
            "special ids lie in the vocabulary": all(0 <= i < text.vocab_size for i in ids),
            "visual tokens lie in the vocabulary": 0 <= self.visual_token_start <= text.vocab_size - vqvae.num_codes,
        }
        for requirement, is_met in requirements.items():
            if not is_met:
                raise ValueError(f"the configuration breaks the rule: {requirement}")

    def _least_by_kind(self) -> list[float]:
        return [float(least) for least in (self.least_scores or {}).values()]

    def get_text_config(self, *args: Any, **kwargs: Any) -> Any:
        return self.text_config

    @property
    def num_image_tokens(self) -> int:
        """LLM tokens of one image (or tile)."""
        patches = self.image_size // self.vision_config.patch_size[0]
        return int(patches * self.downsample_ratio) ** 2


def _as_config(value: Any, config_class: type) -> Any:
    """A sub-configuration from a configuration, a dict (`model_type` ignored) or None (defaults)."""
    if isinstance(value, PreTrainedConfig):
        return value
    return config_class(**{k: v for k, v in (value or {}).items() if k != "model_type"})

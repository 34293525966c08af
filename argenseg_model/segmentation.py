"""`segment(images, prompts)`: the one call that most programs need."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from argenseg_model.errors import PromptError, TokenizerError
from argenseg_model.images import load_image
from argenseg_model.processing import cut_tiles, image_to_pixels, merge_tiles, picture_to_uint8
from argenseg_model.prompting import build_prompt

ImageLike = str | Path | Image.Image | np.ndarray
ROWS_PER_BATCH = 64
"""Most rows (a tile with a prompt) decoded together."""


@dataclass(frozen=True)
class SegmentationResult:
    """One prompt's answer on one image.

    Attributes:
        prompt: the prompt as given.
        mask: (H, W) bool at the upright original size.
        score: 0..1, geometric mean of the token probabilities where the mask is (everywhere if it is
            empty); uncalibrated.
        probability: (H, W) float32 in [0, 1], the grey value of the generated picture.
        tokens: (tiles, tokens_per_mask) codes of the generated picture(s).
    """

    prompt: str
    mask: np.ndarray
    score: float
    probability: np.ndarray
    tokens: np.ndarray


class SegmentationMixin:
    """Inference half of `ARGenSeg`."""

    @torch.inference_mode()
    def segment(
        self,
        images: ImageLike | Sequence[ImageLike],
        prompts: str | Sequence[str] | Sequence[Sequence[str]],
        template: str = "class",
    ) -> list[list[SegmentationResult]]:
        """Segment images by text prompts.

        Args:
            images: path, PIL image, uint8 array (H, W[, 3|4]), or a list of them; EXIF rotation is applied.
            prompts: prompts for every image, or one list of prompts for each image.
            template: wording of the question: "class", "referring" or "reasoning".

        Returns:
            For each image a list with one result for each of its prompts.

        Raises:
            ImageError, PromptError: what was wrong with the input; TokenizerError: the model has no tokenizer.
        """
        if self.tokenizer is None:
            raise TokenizerError(
                "this model was loaded from a folder without tokenizer files: "
                "put the checkpoint's tokenizer files beside its weights to segment by text"
            )
        images = [images] if isinstance(images, str | Path | Image.Image | np.ndarray) else list(images)
        return [
            self._segment_image(load_image(image), prompts_of_image, template)
            for image, prompts_of_image in zip(images, _prompts_by_image(prompts, len(images)), strict=True)
        ]

    def _segment_image(self, image: Image.Image, prompts: list[str], template: str) -> list[SegmentationResult]:
        config = self.config
        ids = [
            build_prompt(self.tokenizer, prompt, template, config.system_message, config.num_image_tokens)
            for prompt in prompts
        ]
        tiles, crops, size = cut_tiles(image, config)
        pictures: list[list[np.ndarray]] = [[] for _ in prompts]
        tokens: list[list[np.ndarray]] = [[] for _ in prompts]
        scores: list[list[tuple[float, int]]] = [[] for _ in prompts]
        finest = config.vqvae_config.scales[-1] ** 2
        for batch, asked in _batches(len(crops), len(prompts)):
            pixels = torch.stack([image_to_pixels(crops[tile], config) for tile in batch]).to(self.device, self.dtype)
            rows = [(tile, i) for tile in range(len(batch)) for i in asked]
            masks = self.decode_prompts(self.image_features(pixels), [t for t, _ in rows], [ids[i] for _, i in rows])
            decoded = picture_to_uint8(self.image_tokenizer.decode(masks.f_hat_BChw))
            codes = masks.codes_BL.cpu().numpy()
            row_scores = _scores(masks.probability_BL[:, -finest:], decoded)
            for row, (_, i) in enumerate(rows):
                pictures[i].append(decoded[row])
                tokens[i].append(codes[row])
                scores[i].append(row_scores[row])
        results = []
        for i, prompt in enumerate(prompts):
            probability = merge_tiles(np.stack(pictures[i]), tiles, size, image.size)
            results.append(
                SegmentationResult(
                    prompt, probability > 0.5, _merge_scores(scores[i]), probability, np.stack(tokens[i])
                )
            )
        return results


def _scores(probability_BL: torch.Tensor, pictures: np.ndarray) -> list[tuple[float, int]]:
    """(sum of log probabilities, count) over the cells that hold mask; over all, the count negative, if none does."""
    side = round(probability_BL.shape[1] ** 0.5)
    B, height, width, _ = pictures.shape
    cells = pictures.mean(-1).reshape(B, side, height // side, side, width // side).max((2, 4)).reshape(B, -1) > 127
    logs = probability_BL.float().clamp(min=1e-9).log().cpu().numpy()
    return [
        (float(log[cell].sum()), int(cell.sum())) if cell.any() else (float(log.sum()), -len(log))
        for log, cell in zip(logs, cells, strict=True)
    ]


def _merge_scores(rows: list[tuple[float, int]]) -> float:
    """Geometric mean over the tiles that hold mask; over all tiles if none does."""
    counted = [row for row in rows if row[1] > 0] or rows
    return float(np.exp(sum(log for log, _ in counted) / sum(abs(count) for _, count in counted)))


def _batches(tiles: int, prompts: int) -> Iterator[tuple[range, range]]:
    """Ranges of tiles and of prompts to decode together, at most ROWS_PER_BATCH pairs; every pair comes once."""
    prompts_at_once = min(prompts, ROWS_PER_BATCH) or 1
    tiles_at_once = ROWS_PER_BATCH // prompts_at_once
    for tile in range(0, tiles, tiles_at_once):
        for prompt in range(0, prompts, prompts_at_once):
            yield range(tiles)[tile : tile + tiles_at_once], range(prompts)[prompt : prompt + prompts_at_once]


def _prompts_by_image(prompts: str | Sequence[str] | Sequence[Sequence[str]], images: int) -> list[list[str]]:
    if isinstance(prompts, str):
        return [[prompts]] * images
    if all(isinstance(prompt, str) for prompt in prompts):
        return [list(prompts)] * images  # type: ignore[arg-type]
    if any(isinstance(item, str) or not isinstance(item, Sequence) for item in prompts):
        raise PromptError("give one list of texts as prompts, or one list of texts for each image")
    if len(prompts) != images:
        raise PromptError(f"{len(prompts)} lists of prompts for {images} images: give one list for each image")
    return [list(prompts_of_image) for prompts_of_image in prompts]

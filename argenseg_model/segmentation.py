"""`segment(images, prompts)`: the one call that most programs need."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import DynamicCache

from argenseg_model.chosen_objects import Choice, choice_of
from argenseg_model.closer import Part, merge_parts, parts_to_see, thickness
from argenseg_model.edges import drop_specks, snap_to_edges
from argenseg_model.errors import PromptError, TokenizerError
from argenseg_model.generation import common_prefix, select_rows
from argenseg_model.images import load_image
from argenseg_model.known_names import Known, KnownNames
from argenseg_model.prefix_cache import PrefixCache, prefix_key, stack_row, unstack_rows
from argenseg_model.processing import Tile, cut_tiles, image_to_pixels, merge_tiles, picture_to_uint8
from argenseg_model.prompting import build_prompt
from argenseg_model.score_calibration import chance, curve_of, evidence, kind_of

ImageLike = str | Path | bytes | Image.Image | np.ndarray
ROWS_PER_BATCH = 64
"""Most rows (a tile with a prompt) decoded together, also of several images, on a GPU."""
CPU_ROWS_PER_BATCH = 32
"""The same on a CPU, whose caches hold no more: 64 rows of the starter take a tenth longer."""
THIN = 4.0
"""Edges are moved by this share of what a thing is thick at most: a wider filter wipes out leaves and stems."""
SPECK = 2.0
"""Cells of the mask's picture: parts and holes that are smaller come from edges, not from what was drawn."""


@dataclass(frozen=True)
class SegmentationResult:
    """One prompt's answer on one image.

    Attributes:
        prompt: the prompt as given.
        mask: (H, W) bool at the upright original size; empty where the certainty is below the model's `least_score`.
        score: 0..1, the chance that the mask's IoU with the truth is at least 0.75, where the model's configuration
            says how to tell it (`score_curves`); else the certainty.
        probability: (H, W) float32 in [0, 1], the grey value of the generated picture, also where the mask was emptied.
        tokens: (tiles, tokens_per_mask) codes of the generated picture(s).
        certainty: 0..1, geometric mean of the token probabilities where something was drawn (everywhere if nothing
            was).
    """

    prompt: str
    mask: np.ndarray
    score: float
    probability: np.ndarray
    tokens: np.ndarray
    certainty: float


class SegmentationMixin:
    """Inference half of `ARGenSeg`.

    `prefix_cache` keeps what was computed of images that were asked about alone, for the next question about them. It
    keeps nothing until its `max_bytes` is set.
    """

    prefix_cache: PrefixCache

    @torch.inference_mode()
    def segment(
        self,
        images: ImageLike | Sequence[ImageLike],
        prompts: str | Sequence[str] | Sequence[Sequence[str]],
        template: str = "class",
    ) -> list[list[SegmentationResult]]:
        """Segment images by text prompts.

        Args:
            images: path, bytes of a file, PIL image, uint8 array (H, W[, 3|4]), or a list of them; EXIF rotation is
                applied.
            prompts: prompts for every image, or one list of prompts for each image.
            template: wording of the question: "class", "referring" or "reasoning".

        Returns:
            For each image a list with one result for each of its prompts.

        Raises:
            ImageError, PromptError: what was wrong with the input; TokenizerError: the model has no tokenizer or
                another model's.
        """
        self.check_tokenizer()
        if isinstance(images, str | bytes | np.ndarray) or not isinstance(images, Iterable):
            images = [images]
        images = list(images)
        self.prefix_cache.begin_call()
        of_images = _prompts_by_image(prompts, len(images))
        if not self.config.measures_words:
            return [[self._scored(result, None) for result in results]
                    for results in self._answer(images, of_images, template)]  # fmt: skip
        plans = [[self._plan(prompt) for prompt in of_image] for of_image in of_images]
        found = self._answer(images, [[*dict.fromkeys(kind for kind, _ in plan)] for plan in plans], template)
        return [
            [
                self._scored(result, choice)
                for result, (_, choice) in zip(_chosen(image, of_image, plan, results), plan, strict=True)
            ]
            for image, of_image, plan, results in zip(images, of_images, plans, found, strict=True)
        ]

    def _scored(self, result: SegmentationResult, choice: Choice | None) -> SegmentationResult:
        """The result with the score that its model's curves give, if it has any for this kind of prompt."""
        if not self.config.score_curves:
            return result
        kind = kind_of(result.prompt, self.knows(result.prompt), choice)
        curve = curve_of(self.config.score_curves, kind, result.mask)
        if curve is None:
            return result
        return replace(result, score=chance(curve, evidence(result.certainty, result.probability, result.mask)))

    def _least_certainty(self, prompt: str) -> float:
        """Below which an answer to the prompt is empty."""
        least = self.config.least_scores or {}
        return float(least.get(kind_of(prompt, self.knows(prompt), None), self.config.least_score) if least
                     else self.config.least_score)  # fmt: skip

    def _plan(self, prompt: str) -> tuple[str, Choice | None]:
        """What is asked for a prompt: all of a kind, of which some objects are then chosen, or the prompt itself."""
        choice = self.choice(prompt)
        return (f"all {self.knows(prompt).names[0]}", choice) if choice else (prompt, None)

    def _answer(
        self, images: Sequence[ImageLike], prompts: list[list[str]], template: str
    ) -> list[list[SegmentationResult]]:
        prefix_ids = self._prefix_ids(template)
        asked = zip(images, prompts, strict=True)
        results = []
        most = CPU_ROWS_PER_BATCH if self.device.type == "cpu" else ROWS_PER_BATCH
        for batch in _batches((self._begin(load_image(image), of_image, template) for image, of_image in asked), most):
            self._decode(batch, prefix_ids, is_kept=len(images) == 1)  # many images are hardly asked about again
            results += [self._finish(block.answer, template, len(images) == 1) for block in batch if block.is_last]
        return results

    def knows(self, prompt: str) -> Known:
        """What of a prompt's words the model was taught: an unknown word is not the same as an absent thing."""
        return KnownNames(self.config.known_names or {}, frozenset(self.config.known_words or ())).look_up(prompt)

    def choice(self, prompt: str) -> Choice | None:
        """Which objects of a known name a prompt chooses, where they are measured (`measures_words`)."""
        known = self.knows(prompt)
        return choice_of(prompt, known.forms[0]) if self.config.measures_words and len(known.forms) == 1 else None

    def check_tokenizer(self) -> None:
        """Raises TokenizerError where there is none, or another model's."""
        if self.tokenizer is None:
            raise TokenizerError(
                "this model was loaded from a folder without tokenizer files: "
                "put the checkpoint's tokenizer files beside its weights to segment by text"
            )
        config, special = self.config, self.tokenizer.special_tokens
        ids = {
            "<IMG_CONTEXT>": config.image_token_id,
            "<ge_start>": config.ge_start_id,
            "<ge_end>": config.ge_end_id,
            "<MASK_CONTEXT>": config.mask_context_id,
        }
        if len(self.tokenizer) > config.text_config.vocab_size or any(special[token] != i for token, i in ids.items()):
            raise TokenizerError(
                "the tokenizer files beside this model are another model's: their ids are not those of config.json; "
                "take the tokenizer files from the checkpoint's own folder"
            )

    def _ids(self, prompt: str, template: str) -> list[int]:
        config = self.config
        return build_prompt(self.tokenizer, prompt, template, config.system_message, config.num_image_tokens)

    def _prefix_ids(self, template: str) -> list[int]:
        """What all prompts of a template begin with: system message, image and question up to the user's words."""
        joined, apart = self._ids("image", template), self._ids("0", template)  # with the space before, or without it
        return joined[: common_prefix([joined, apart])]

    def _begin(self, image: Image.Image, prompts: list[str], template: str) -> "_Answer":
        ids = [self._ids(prompt, template) for prompt in prompts]
        tiles, crops, size = cut_tiles(image, self.config)
        least = [self._least_certainty(prompt) for prompt in prompts]
        return _Answer(prompts, ids, tiles, crops, size, image.size, least)

    def _decode(self, batch: "list[_Block]", prefix_ids: list[int], is_kept: bool) -> None:
        """Decode the rows of some blocks together and add them to their answers."""
        crops = [block.answer.crops[tile] for block in batch for tile in block.tiles]
        if not crops:
            return
        places = [(block.answer, i) for block in batch for _ in block.tiles for i in block.prompts]
        counts = [len(block.prompts) for block in batch for _ in block.tiles]  # of each crop
        row_crop = [crop for crop, count in enumerate(counts) for _ in range(count)]
        ids = [answer.ids[i] for answer, i in places]
        shared = common_prefix([*ids, [*prefix_ids, -1]])  # all of it, unless a word is joined to it
        begin_rows = self._begin_rows_with_kept if is_kept and self.prefix_cache.max_bytes else self._begin_rows
        rows, image_BLD = begin_rows(crops, row_crop, prefix_ids[:shared])
        masks = self.decode_rows(rows, [row_ids[shared:] for row_ids in ids], image_BLD)
        decoded = picture_to_uint8(self.image_tokenizer.decode(masks.f_hat_BChw))
        codes = masks.codes_BL.cpu().numpy()
        scores = _scores(masks.probability_BL, decoded)
        for (answer, i), picture, row_codes, score in zip(places, decoded, codes, scores, strict=True):
            answer.rows[i].append((picture, row_codes, score))

    def _begin_rows(
        self, crops: list[Image.Image], row_crop: list[int], prefix_ids: list[int]
    ) -> tuple[DynamicCache, torch.Tensor]:
        """Keys and values of the prefix with the crop of each row, and the rows' image features."""
        images, features = self._extend_crops(crops, prefix_ids)
        index = torch.tensor(row_crop, device=self.device)
        return select_rows(images, index, self.config.text_config), features[index]

    def _begin_rows_with_kept(
        self, crops: list[Image.Image], row_crop: list[int], prefix_ids: list[int]
    ) -> tuple[DynamicCache, torch.Tensor]:
        """The same; only what `prefix_cache` does not hold is computed, and then kept there."""
        keys = [prefix_key(crop, prefix_ids) for crop in crops]
        found = {key: (self.prefix_cache.get(key), self.prefix_cache.get((key, "image"))) for key in keys}
        missing = {key: crop for key, crop in zip(keys, crops, strict=True) if any(part is None for part in found[key])}
        if missing:
            images, features = self._extend_crops(list(missing.values()), prefix_ids)
            for i, key in enumerate(missing):
                found[key] = stack_row(images, i), features[i].clone()
                self.prefix_cache.put(key, found[key][0])
                self.prefix_cache.put((key, "image"), found[key][1])
        rows = [found[keys[crop]] for crop in row_crop]
        return unstack_rows([row for row, _ in rows], self.config.text_config), torch.stack(
            [image for _, image in rows]
        )

    def _extend_crops(self, crops: list[Image.Image], prefix_ids: list[int]) -> tuple[DynamicCache, torch.Tensor]:
        pixels = torch.stack([image_to_pixels(crop, self.config) for crop in crops]).to(self.device, self.dtype)
        features = self.image_features(pixels)
        return self.extend_images(features, prefix_ids), features

    def _finish(self, answer: "_Answer", template: str, is_kept: bool) -> list[SegmentationResult]:
        """Results of an answer whose rows are all there: after a closer look and with edges as in the image, if the
        configuration says so."""
        config = self.config
        probabilities = answer.probabilities()
        if config.image_mode != "squash":
            return answer.results(probabilities)
        [image], most = answer.crops, config.closer_tiles
        looks = [answer.parts_to_see(i, probability, most) for i, probability in enumerate(probabilities)]
        closer = self._look_closer(answer, looks, template, is_kept)
        cell = max(image.size) / config.vqvae_config.picture_side
        for i, (parts, maps) in enumerate(zip(looks, closer, strict=True)):
            share = 1.0
            if parts:
                probabilities[i] = merge_parts(probabilities[i], parts, maps, reach=round(cell) + 1)
                share = max(max(part.width / image.width, part.height / image.height) for part in parts)
            reach = min(config.edge_radius * share, answer.thickness(i) / THIN) * cell
            if reach >= 1 and probabilities[i].max() > 0.5:
                probabilities[i] = snap_to_edges(probabilities[i], image, reach)
            if config.edge_radius:
                probabilities[i] = drop_specks(probabilities[i], SPECK * (cell * share) ** 2)
        return answer.results(probabilities)

    def _look_closer(
        self, answer: "_Answer", looks: list[list[Part]], template: str, is_kept: bool
    ) -> list[list[np.ndarray]]:
        """Probability maps of the parts that each prompt is to be looked at in. All of a kind is asked for there: the
        largest of a part is not that of the picture."""
        [image] = answer.crops
        asked: dict[Part, dict[str, None]] = {}
        words = [self._all_of_the_kind(prompt) for prompt in answer.prompts]
        for prompt, parts in zip(words, looks, strict=True):
            for part in parts:
                asked.setdefault(part, {})[prompt] = None
        closer: dict[Part, _Answer] = {}
        for part, prompts in asked.items():
            crop = image.crop((part.x, part.y, part.x + part.width, part.y + part.height))
            ids = [self._ids(prompt, template) for prompt in prompts]
            closer[part] = _Answer(list(prompts), ids, [Tile(0, 0, 0)], [crop], crop.size, crop.size, [0.0] * len(ids))
        prefix_ids = self._prefix_ids(template)
        most = CPU_ROWS_PER_BATCH if self.device.type == "cpu" else ROWS_PER_BATCH
        for batch in _batches(closer.values(), most):
            self._decode(batch, prefix_ids, is_kept)
        maps = {part: dict(zip(one.prompts, one.probabilities(), strict=True)) for part, one in closer.items()}
        return [[maps[part][prompt] for part in parts] for prompt, parts in zip(words, looks, strict=True)]

    def _all_of_the_kind(self, prompt: str) -> str:
        known = self.knows(prompt)
        return f"all {known.names[0]}" if known.is_known and len(known.names) == 1 else prompt


def _chosen(
    image: ImageLike, prompts: list[str], plan: list[tuple[str, Choice | None]], results: list[SegmentationResult]
) -> list[SegmentationResult]:
    """Results of the prompts as they were given, from those of what was asked."""
    of_kind, grey = {result.prompt: result for result in results}, None
    chosen = []
    for prompt, (kind, choice) in zip(prompts, plan, strict=True):
        result = replace(of_kind[kind], prompt=prompt)
        if choice and result.mask.any():
            if grey is None:
                grey = np.asarray(load_image(image).convert("L"))
            mask = choice.of(result.mask, grey)
            probability = np.where(result.mask & ~mask, np.float32(0), result.probability)
            result = replace(result, mask=mask, probability=probability)
        chosen.append(result)
    return chosen


class _Answer:
    """An image that is under way: `rows` holds, for each prompt, picture, codes and score of the tiles so far."""

    def __init__(
        self,
        prompts: list[str],
        ids: list[list[int]],
        tiles: list[Tile],
        crops: list[Image.Image],
        size: tuple[int, int],
        out: tuple[int, int],
        least_scores: list[float],
    ) -> None:
        self.prompts, self.ids, self.tiles, self.crops, self.size, self.out = prompts, ids, tiles, crops, size, out
        self.least_scores = least_scores
        self.rows: list[list[tuple[np.ndarray, np.ndarray, tuple[float, int]]]] = [[] for _ in prompts]

    def probabilities(self) -> list[np.ndarray]:
        """(H, W) of each prompt, from the pictures of the tiles."""
        pictures = [np.stack([picture for picture, _, _ in rows]) for rows in self.rows]
        return [merge_tiles(picture, self.tiles, self.size, self.out) for picture in pictures]

    def parts_to_see(self, prompt: int, probability: np.ndarray, most: int) -> list[Part]:
        """Where a prompt's answer, seen as a whole, deserves a closer look; nowhere if it is empty or doubtful."""
        _, _, score = self.rows[prompt][0]
        thick = self.thickness(prompt)
        if most < 2 or not thick or _merge_scores([score]) < self.least_scores[prompt]:
            return []
        return parts_to_see(probability > 0.5, thick, most)

    def thickness(self, prompt: int) -> float:
        """How thick what was found in the whole image is, in cells of the mask's picture; 0 for nothing."""
        return thickness(self.rows[prompt][0][0].mean(-1) > 127)

    def results(self, probabilities: list[np.ndarray]) -> list[SegmentationResult]:
        return [self._result(i, probability) for i, probability in enumerate(probabilities)]

    def _result(self, prompt: int, probability: np.ndarray) -> SegmentationResult:
        _, codes, scores = zip(*self.rows[prompt], strict=True)
        certainty = _merge_scores(list(scores))
        mask = (probability > 0.5) & (certainty >= self.least_scores[prompt])
        return SegmentationResult(self.prompts[prompt], mask, certainty, probability, np.stack(codes), certainty)


@dataclass(frozen=True)
class _Block:
    """Some tiles of an image, each with the same prompts: their rows are decoded together."""

    answer: _Answer
    tiles: range
    prompts: range
    is_last: bool

    @property
    def rows(self) -> int:
        return len(self.tiles) * len(self.prompts)


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


def _batches(answers: Iterable[_Answer], most: int) -> Iterator[list[_Block]]:
    """Blocks to decode together, at most `most` rows; an image's blocks stay in order, and images may share.

    The next image is only begun when it is needed.
    """
    batch: list[_Block] = []
    for block in (block for answer in answers for block in _blocks(answer, most)):
        if batch and sum(other.rows for other in batch) + block.rows > most:
            yield batch
            batch = []
        batch.append(block)
    if batch:
        yield batch


def _blocks(answer: _Answer, most: int) -> Iterator[_Block]:
    """Every tile with every prompt once, at most `most` rows a block."""
    tiles, prompts = len(answer.tiles), len(answer.prompts)
    prompts_at_once = min(prompts, most) or 1
    tiles_at_once = most // prompts_at_once
    pairs = [
        (range(tiles)[tile : tile + tiles_at_once], range(prompts)[prompt : prompt + prompts_at_once])
        for tile in range(0, tiles, tiles_at_once)
        for prompt in range(0, prompts, prompts_at_once)
    ] or [(range(0), range(0))]
    for number, (some_tiles, some_prompts) in enumerate(pairs, 1):
        yield _Block(answer, some_tiles, some_prompts, is_last=number == len(pairs))


def _prompts_by_image(prompts: str | Sequence[str] | Sequence[Sequence[str]], images: int) -> list[list[str]]:
    given: list[Any] = list(prompts) if _is_list(prompts) else [prompts]
    if all(isinstance(prompt, str) for prompt in given):
        return [given] * images
    if not all(map(_is_list, given)):
        raise PromptError("give one list of texts as prompts, or one list of texts for each image")
    if len(given) != images:
        raise PromptError(f"{len(given)} lists of prompts for {images} images: give one list for each image")
    return [list(prompts_of_image) for prompts_of_image in given]


def _is_list(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)

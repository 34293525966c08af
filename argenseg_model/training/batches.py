"""Batches for small models: drawn scenes with several prompts each, and samples of any kind as tensors."""

import numpy as np
import torch
from PIL import Image

from argenseg_model.generation import common_prefix
from argenseg_model.model import ARGenSeg
from argenseg_model.processing import image_to_pixels, mask_to_pixels, stretch_contrast
from argenseg_model.prompting import ANSWERS, build_prompt
from argenseg_model.samples import Sample
from argenseg_model.scenes import draw_scene, sample_prompt
from argenseg_model.scenes.attributes import named, seen
from argenseg_model.scenes.vocabulary import MICROSCOPY_WORDS
from argenseg_model.training.objective import TrainingBatch

TEMPLATE = "class"


def scene_samples(
    rng: np.random.Generator,
    scenes: int,
    prompts: int,
    side: int,
    level: int,
    kinds: frozenset[str] = frozenset(),
    absent_share: float = 0.25,
) -> list[list[Sample]]:
    """Samples grouped by picture: `prompts` of each scene, `absent_share` of them about something that is not there.

    Prompts of one scene differ in their masks as far as possible, and most scenes have several objects: else marking
    everything that is there would be nearly right, and no model would learn to heed the words. `kinds` are the kinds of
    prompt wanted (all if empty); others come only where a scene has none of them.
    """
    groups = []
    for _ in range(scenes):
        scene = draw_scene(rng, side, level)
        for _ in range(4):
            if len(scene.objects) >= 3 or rng.random() < 0.2:
                break
            scene = draw_scene(rng, side, level)
        asked: list[Sample] = []
        shown = seen(scene)
        for _ in range(prompts):
            absent = rng.random() < absent_share
            for _ in range(12):
                prompt, mask, kind = sample_prompt(scene, rng, level, absent=absent)
                if absent and any(word in prompt.lower() for word in MICROSCOPY_WORDS):
                    continue  # else a model learns that pictures in colour hold no nuclei, stained tissue included
                is_new = absent or not any(np.array_equal(mask, other.mask) for other in asked)
                if is_new and (not kinds or kind in kinds):
                    break
            asked.append(Sample(scene.image, prompt, mask, f"scene:{kind}", shown))
        groups.append(asked)
    return groups


def to_batch(model: ARGenSeg, groups: list[list[Sample]]) -> TrainingBatch:
    """One row for each sample; samples of a group share their picture."""
    config = model.config
    rows = [sample for group in groups for sample in group]
    ids = [
        build_prompt(model.tokenizer, sample.prompt, TEMPLATE, config.system_message, config.num_image_tokens)
        for sample in rows
    ]
    answer_length = len(model.tokenizer.encode(ANSWERS[TEMPLATE], add_bos=False))
    shared = min(common_prefix(ids), min(map(len, ids)) - answer_length - 1)  # an answer is a target, never shared
    pictures = [Image.fromarray(group[0].image) for group in groups]
    if groups[0][0].source.startswith("scene"):  # nuclei were stretched as whole images
        pictures = [stretch_contrast(picture, config.autocontrast) for picture in pictures]
    return TrainingBatch(
        pixels_I3SS=torch.stack([image_to_pixels(picture, config) for picture in pictures]),
        row_image_R=torch.tensor([i for i, group in enumerate(groups) for _ in group]),
        prefix=ids[0][:shared],
        text_ids=[row[shared:] for row in ids],
        answer_length=answer_length,
        masks_R3ss=torch.stack([mask_to_pixels(sample.mask, config) for sample in rows]),
        seen_IASS=None
        if groups[0][0].seen is None
        else torch.from_numpy(np.stack([group[0].seen for group in groups])),
        named_RN=torch.from_numpy(np.stack([named(sample.prompt) for sample in rows])),
    )

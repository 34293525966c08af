"""Drawn scenes as a replay holdout: what every starter could do before it was corrected, and must still be able to."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from argenseg_model.manifest import Manifest, ManifestItem, encode_mask
from argenseg_model.scenes import draw_scene, sample_prompt
from argenseg_model.scenes.vocabulary import MICROSCOPY_WORDS

SCENES, PROMPTS, ABSENT, SIDE, LEVEL = 120, 4, 2, 64, 3
_TRIES = 12  # the same may be drawn twice, and nuclei are asked for of microscope images only
SEED = 20_261_122  # no training run draws from it


def write_scenes_holdout(folder: Path) -> Manifest:
    """The same scenes every time, with their manifest, in `folder`."""
    manifest = folder / "manifest.jsonl"
    if manifest.is_file():
        return Manifest.read(manifest)
    folder.mkdir(parents=True, exist_ok=True)
    rng, items = np.random.default_rng(SEED), []
    for number in range(SCENES):
        scene, name = draw_scene(rng, SIDE, LEVEL), f"scene-{number:03}"
        Image.fromarray(scene.image).save(folder / f"{name}.png")
        asked: dict[str, NDArray[np.bool_]] = {}
        for _ in range(_TRIES):
            prompt, mask, _ = sample_prompt(scene, rng, LEVEL, absent=len(asked) < ABSENT)
            if len(asked) < PROMPTS and not any(word in prompt.lower() for word in MICROSCOPY_WORDS):
                asked.setdefault(prompt, mask)
        same: dict[str, Any] = {
            "image": f"{name}.png",
            "width": SIDE,
            "height": SIDE,
            "group": name,
            "split": "holdout",
            "weight": 1.0,
        }
        items += [
            ManifestItem(prompt=prompt, mask=encode_mask(mask), source="replay:scene", label=None, **same)
            for prompt, mask in asked.items()
        ]
    return Manifest.write(manifest, items)

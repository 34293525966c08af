"""Training and evaluation scenes drawn by code: coloured shapes, prompts about them, and the masks these ask for.

Needs numpy and OpenCV only. Everything is determined by the `np.random.Generator` passed in.
"""

from __future__ import annotations

import numpy as np

from argenseg_model.samples import Sample
from argenseg_model.scenes.drawing import LEVELS, Scene, SceneObject, draw_scene
from argenseg_model.scenes.prompts import sample_prompt

__all__ = ["LEVELS", "Scene", "SceneObject", "draw_scene", "sample_prompt", "scene_sample"]


def scene_sample(rng: np.random.Generator, side: int = 128, level: int = 3, absent_share: float = 0.25) -> Sample:
    """A fresh scene with one prompt, `absent_share` of them (0..1) about something that is not there."""
    scene = draw_scene(rng, side, level)
    prompt, mask, kind = sample_prompt(scene, rng, level, absent=rng.random() < absent_share)
    return Sample(scene.image, prompt, mask, f"scene:{kind}")

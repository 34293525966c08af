"""What one training step learns from: a picture, a prompt and the mask that the prompt asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sample:
    """One picture with one prompt and its answer. An empty mask says: what the prompt names is not in the picture."""

    image: np.ndarray  # (S, S, 3) uint8, RGB
    prompt: str  # never empty
    mask: np.ndarray  # (S, S) bool
    source: str  # "scene:KIND" or "nuclei:IMAGE_ID"
    seen: np.ndarray | None = None  # (len(SEEN), S, S) bool, of a scene: which pixels show what (scenes.attributes)

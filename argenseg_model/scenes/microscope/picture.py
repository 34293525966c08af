"""What the simulator gives, and the canvas on which its nuclei find their places."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from argenseg_model.scenes.microscope.outlines import Outline, Patch


@dataclass(frozen=True)
class MicroscopePicture:
    """A picture with its truth."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    instances: np.ndarray  # (H, W) uint16: 0 background, 1..n nuclei, each number used

    @property
    def nuclei(self) -> np.ndarray:
        """(H, W) bool: the pixels of any nucleus."""
        return self.instances > 0

    @property
    def count(self) -> int:
        return int(self.instances.max())


@dataclass
class Canvas:
    """Nuclei placed so far. A pixel that two of them reach belongs to the one whose centre is nearer, in its radii."""

    height: int
    width: int
    placed: list[Patch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.instances = np.zeros((self.height, self.width), np.uint16)
        self._depth = np.full((self.height, self.width), np.inf, np.float32)

    def place(self, outline: Outline, most_overlap: float = 0.08) -> bool:
        """Whether `outline` found room: it and each neighbour lose at most `most_overlap` (0..1) of what it covers."""
        row, column = int(outline.y), int(outline.x)
        is_inside = 0 <= row < self.height and 0 <= column < self.width
        if is_inside and self._depth[row, column] < 0.7:  # saves most of the drawing of what finds no room
            return False
        patch = outline.patch(self.height, self.width)
        inside = patch.depth <= 1
        area = np.count_nonzero(inside)
        if not area:
            return False
        instances, depth = self.instances[patch.where], self._depth[patch.where]
        covered = np.bincount(instances[inside])
        for neighbour in np.flatnonzero(covered[1:]) + 1:
            known = self.placed[neighbour - 1]
            if covered[neighbour] > most_overlap * min(area, known.area):
                return False
        nearer = inside & (patch.depth < depth)
        self.placed.append(patch)
        instances[nearer] = len(self.placed)
        depth[nearer] = patch.depth[nearer]
        return True

    @property
    def share(self) -> float:
        """0..1: how much of the picture is nuclei."""
        return np.count_nonzero(self.instances) / self.instances.size

    def numbered(self) -> np.ndarray:
        """(H, W) uint16: the instances, numbered without a gap."""
        present = np.bincount(self.instances.ravel(), minlength=len(self.placed) + 1) > 0
        present[0] = False
        return np.where(present, np.cumsum(present), 0).astype(np.uint16)[self.instances]

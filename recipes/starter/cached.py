"""Cached views: their feature maps, and what is known of each of their pixels."""

import pickle
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from argenseg_model.scenes.attributes import SEEN
from recipes.starter.asking import PICTURE, soft
from recipes.starter.cache import MAPS, ROW
from recipes.starter.names import NAMES, SETS, UNMARKED, surely_absent
from recipes.starter.views import View

DENSE = (*NAMES, "object", *SEEN)
"""What a pixel can be part of: a name, any object of a drawn scene, an attribute of one."""
SHARES = {"facade": 4.0, "car_damage": 3.2, "indoor": 1.5, "animal": 1.5, "building": 1.5, "campus_road": 1.2,
          "pothole": 0.7, "mushroom": 0.7, "granule": 1.0, "embryo": 0.6, "breadboard": 1.8, "seedling": 1.2,
          "tree": 0.8, "desk_item": 0.5, "particles": 0.5, "object": 0.4, "things": 0.6, "nuclei": 6.5,
          "scene": 12.5}  # fmt: skip
"""How often a view is of which set; of others never."""


class CachedViews:
    """All parts of a cache folder; features stay on disk."""

    def __init__(self, folder: Path) -> None:
        self.views: list[View] = []
        self._maps: list[NDArray[np.float16]] = []
        self._place: list[tuple[int, int]] = []
        for part, file in enumerate(sorted(folder.glob("*.views"))):
            views = pickle.loads(file.read_bytes())
            self._maps.append(np.memmap(file.with_suffix(".features"), np.float16, "r").reshape(-1, ROW))
            self._place += [(part, row) for row in range(len(views))]
            self.views += views
        self.by_set: dict[str, list[int]] = {}
        for i, view in enumerate(self.views):
            if view.set in SHARES:
                self.by_set.setdefault(view.set, []).append(i)
        shares = np.array([SHARES[name] for name in self.by_set])
        self._shares = shares / shares.sum()
        self.rarity = _rarity(self.views)
        weights = np.array([max((self.rarity.get(name, 1.0) for name in view.objects), default=1.0)
                            for view in self.views])  # fmt: skip
        self._weights = {name: weights[indices] / weights[indices].sum() for name, indices in self.by_set.items()}

    def draw(self, rng: np.random.Generator, count: int) -> list[int]:
        """Indices of `count` views: sets by their shares, within a set more of those that show a rare name."""
        names = rng.choice(list(self.by_set), count, p=self._shares)
        return [int(rng.choice(self.by_set[name], p=self._weights[name])) for name in names]

    def maps(self, indices: Sequence[int]) -> list[Tensor]:
        """Feature maps of the backbone, fine to coarse, each (B, C, h, w) bfloat16."""
        rows = np.stack([self._maps[part][row] for part, row in (self._place[i] for i in indices)])
        flat = torch.from_numpy(rows).to(torch.bfloat16)
        maps, start = [], 0
        for channels, height, width in MAPS:
            size = channels * height * width
            maps.append(flat[:, start : start + size].unflatten(1, (channels, height, width)).contiguous())
            start += size
        return [m.to(memory_format=torch.channels_last) for m in maps]


def _rarity(views: list[View]) -> dict[str, float]:
    """Name -> how much more often it is asked for than the usual one of its set, 1 to 4: by the root of the views."""
    counts: dict[tuple[str, str], int] = {}
    for view in views:
        for name in view.objects:
            counts[view.set, name] = counts.get((view.set, name), 0) + 1
    most: dict[str, int] = {}
    for (set_name, _), count in counts.items():
        most[set_name] = max(most.get(set_name, 0), count)
    return {name: min(4.0, (most[set_name] / count) ** 0.5) for (set_name, name), count in counts.items()
            if name in SETS.get(set_name, ())}  # fmt: skip


def dense_truth(view: View) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(len(DENSE), PICTURE, PICTURE) soft masks 0..255, and of which names they are known (len(DENSE),)."""
    truth = np.zeros((len(DENSE), PICTURE, PICTURE), np.uint8)
    known = np.zeros(len(DENSE), bool)
    if view.set == "scene":
        packed = np.unpackbits(np.frombuffer(zlib.decompress(view.seen), np.uint8))
        seen = packed[: len(SEEN) * PICTURE**2].reshape(len(SEEN), PICTURE, PICTURE)
        truth[-len(SEEN) :] = seen * 255
        truth[len(NAMES)] = seen.max(0) * 255
        known[len(NAMES) :] = True
        known[DENSE.index("nucleus")] = True
        return truth, known
    for name in SETS[view.set]:
        known[DENSE.index(name)] = name in view.objects or name not in UNMARKED
    for name in surely_absent(view.set):
        known[DENSE.index(name)] = True
    for name in view.objects:
        if name in NAMES:
            truth[DENSE.index(name)] = soft(view.labels(name) > 0)
            known[DENSE.index(name)] = True
    return truth, known

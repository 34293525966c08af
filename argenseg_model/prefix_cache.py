"""What the language model made of images seen lately, so that another question about them begins after the image."""

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Sequence

import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache


class PrefixCache:
    """Keys and values of prefixes (ids up to the user's words, with an image), by what is in the image.

    It holds `max_bytes` at most, and nothing for 0; what was used longest ago leaves first. What the running call has
    used never leaves for more of the same call: of an image too large for the cache some tiles stay, not none.
    `clear` it when the model's weights are changed or moved. For one thread.
    """

    def __init__(self, max_bytes: int = 0) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._call = 0
        self._kept: OrderedDict[Hashable, tuple[Tensor, int]] = OrderedDict()  # with the call that used it last

    def begin_call(self) -> None:
        """Another call of the model begins."""
        self._call += 1

    def get(self, key: Hashable) -> Tensor | None:
        """What was put there, if it still is."""
        if key not in self._kept:
            return None
        keys_values, _ = self._kept.pop(key)
        self._kept[key] = keys_values, self._call
        return keys_values

    def put(self, key: Hashable, keys_values: Tensor) -> None:
        """Keep a tensor that is no view of a larger one, if there is room or others can leave for it."""
        if key in self._kept or keys_values.nbytes > self.max_bytes:
            return
        while self.bytes + keys_values.nbytes > self.max_bytes:
            oldest, (_, used) = next(iter(self._kept.items()))
            if used == self._call:
                return
            self.bytes -= self._kept.pop(oldest)[0].nbytes
        self._kept[key] = keys_values, self._call
        self.bytes += keys_values.nbytes

    def clear(self) -> None:
        self._kept.clear()
        self.bytes = 0


def prefix_key(image: Image.Image, prefix_ids: Sequence[int]) -> Hashable:
    """The same for the same pixels and ids only."""
    return hashlib.sha256(image.tobytes()).digest(), image.mode, image.size, tuple(prefix_ids)


def stack_row(cache: DynamicCache, row: int) -> Tensor:
    """A copy of one row's keys and values: (layers, 2, heads, L, head_dim)."""
    return torch.stack([torch.stack([layer.keys[row], layer.values[row]]) for layer in cache.layers])


def unstack_rows(rows: Sequence[Tensor], config: object) -> DynamicCache:
    """A new cache of such rows."""
    cache = DynamicCache(config=config)
    for i in range(len(rows[0])):
        cache.update(torch.stack([row[i, 0] for row in rows]), torch.stack([row[i, 1] for row in rows]), i)
    return cache

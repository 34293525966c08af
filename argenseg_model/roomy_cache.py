"""Keys and values with room for what will come: transformers' own cache copies all it holds for every scale."""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class RoomyLayer(DynamicLayer):
    """A layer whose keys and values are views into larger tensors: new ones are written behind the old ones.

    For inference only: what is written in place has no gradient. More than the room is taken all the same, by a copy.
    """

    def __init__(self, layer: DynamicLayer, room: int) -> None:
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self.keys, self.values = layer.keys, layer.values
        self._room = room
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        cached, new = self.keys.shape[-2], key_states.shape[-2]
        if self._buffers is None or cached + new > self._buffers[0].shape[-2]:
            self._buffers = self._larger(self.keys, new), self._larger(self.values, new)
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, cached : cached + new] = states
        self.keys, self.values = (buffer[:, :, : cached + new] for buffer in self._buffers)
        return self.keys, self.values

    def _larger(self, held: Tensor, new: int) -> Tensor:
        rows, heads, cached, width = held.shape
        buffer = held.new_empty(rows, heads, cached + max(new, self._room), width)
        buffer[:, :, :cached] = held
        return buffer


def give_room(cache: DynamicCache, places: int) -> None:
    """Let a filled cache take so many places more without copying what it holds. Nothing where gradients are kept."""
    if not torch.is_grad_enabled():
        cache.layers = [
            RoomyLayer(layer, places) if type(layer) is DynamicLayer and layer.is_initialized else layer
            for layer in cache.layers
        ]

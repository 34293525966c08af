"""EfficientNet-Lite0 (arXiv 1905.11946, no squeeze-excitation, ReLU6) as a vision tower: strides 4 to 32 on one grid.

Batch norms are folded into the convolutions, so that weights are `conv.weight` and `conv.bias` only. Axes in names:
B batch, C channels, h/w height/width, L places of the grid.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import PreTrainedConfig

STEM = 32
BLOCKS = (  # (repeats, kernel, stride of the first, expansion, channels)
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
TAPS = {2: (24, 4), 4: (40, 8), 10: (112, 16), 15: (320, 32)}
"""Blocks whose outputs are looked at: (channels, stride)."""


@strict
class EfficientNetLiteConfig(PreTrainedConfig):
    """Sizes of the tower.

    Args:
        image_size: (height, width) in pixels, multiples of 32.
        patch_size: pixels of a place of the grid that the features of all strides are brought to.
        hidden_size: channels of that grid.
        num_hidden_layers: residual 3x3 layers on the grid, after the backbone.
    """

    model_type = "efficientnet_lite"

    image_size: list[int] | tuple[int, ...] = (256, 256)
    patch_size: list[int] | tuple[int, ...] = (8, 8)
    hidden_size: int = 128
    num_hidden_layers: int = 4


@dataclass(frozen=True)
class GridFeatures:
    """`last_hidden_state` (B, L, C): the grid, row by row."""

    last_hidden_state: Tensor


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride, 0 if stride == 2 else kernel // 2, groups=groups)


def _same(x_BChw: Tensor, conv: nn.Conv2d) -> Tensor:
    """TensorFlow's SAME padding: with stride 2 on an even side, one pixel more below and right."""
    if conv.stride[0] == 2:
        before = (conv.kernel_size[0] - 2) // 2
        after = conv.kernel_size[0] - 2 - before
        x_BChw = F.pad(x_BChw, (before, after, before, after))
    return conv(x_BChw)


class InvertedResidual(nn.Module):
    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = c_in * expansion
        self.expand = _conv(c_in, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _conv(wide, wide, kernel, stride, groups=wide)
        self.project = _conv(wide, c_out, 1)
        self.has_skip = stride == 1 and c_in == c_out

    def forward(self, x_BChw: Tensor) -> Tensor:
        h_BChw = x_BChw
        if isinstance(self.expand, nn.Conv2d):
            h_BChw = F.relu6(self.expand(h_BChw))
        h_BChw = self.project(F.relu6(_same(h_BChw, self.depthwise)))
        return x_BChw + h_BChw if self.has_skip else h_BChw


class Backbone(nn.Module):
    """The pretrained part, without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, STEM, 3, 2)
        self.blocks = nn.ModuleList()
        c_in = STEM
        for repeats, kernel, stride, expansion, channels in BLOCKS:
            for i in range(repeats):
                self.blocks.append(InvertedResidual(c_in, channels, kernel, stride if i == 0 else 1, expansion))
                c_in = channels

    def forward(self, pixels_B3HW: Tensor) -> list[Tensor]:
        """Feature maps of TAPS, fine to coarse."""
        x_BChw = F.relu6(_same(pixels_B3HW, self.stem))
        taps = []
        for i, block in enumerate(self.blocks):
            x_BChw = block(x_BChw)
            if i in TAPS:
                taps.append(x_BChw)
        return taps


class GridLayer(nn.Module):
    """x + conv(gelu(conv(norm(x)))), the norm over the channels of one place."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv1, self.conv2 = _conv(channels, channels, 3), _conv(channels, channels, 3)

    def forward(self, x_BChw: Tensor) -> Tensor:
        h_BChw = self.norm(x_BChw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x_BChw + self.conv2(F.gelu(self.conv1(h_BChw)))


class Grid(nn.Module):
    """Feature maps of several strides to one grid; what is finer than a place is kept in its channels."""

    def __init__(self, config: EfficientNetLiteConfig):
        super().__init__()
        self.patch, C = config.patch_size[0], config.hidden_size
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels, C, size := max(1, self.patch // stride), size) for channels, stride in TAPS.values()
        )
        self.layers = nn.ModuleList(GridLayer(C) for _ in range(config.num_hidden_layers))
        for i, (channels, _) in enumerate(TAPS.values()):
            self.register_buffer(f"mean{i}", torch.zeros(channels))
            self.register_buffer(f"scale{i}", torch.ones(channels))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps of TAPS -> (B, L, C)."""
        x_BChw: Tensor | None = None
        for i, (lateral, features) in enumerate(zip(self.laterals, maps, strict=True)):
            mean, scale = getattr(self, f"mean{i}"), getattr(self, f"scale{i}")
            level = lateral((features - mean[:, None, None]) * scale[:, None, None])
            if x_BChw is not None and level.shape != x_BChw.shape:
                level = F.interpolate(level, size=x_BChw.shape[2:], mode="bilinear")
            x_BChw = level if x_BChw is None else x_BChw + level
        for layer in self.layers:
            x_BChw = layer(x_BChw)
        return x_BChw.flatten(2).transpose(1, 2)


class EfficientNetLite(nn.Module):
    """Same call as transformers' vision towers: `last_hidden_state` (B, L, C), without a class token."""

    def __init__(self, config: EfficientNetLiteConfig):
        super().__init__()
        self.config = config
        self.backbone, self.grid = Backbone(), Grid(config)

    def forward(self, pixel_values: Tensor, **_: Any) -> GridFeatures:
        return GridFeatures(self.grid(self.backbone(pixel_values)))

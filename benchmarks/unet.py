"""What a user would train instead of correcting: a U-Net on the same pretrained backbone, one label, all weights."""

import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from argenseg_model.efficientnet import TAPS, Backbone

MEAN, STD = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
SIDE, BATCH = 256, 8
ENCODER_RATE, DECODER_RATE = 1e-4, 1e-3
Example = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""A picture (H, W, 3) and the label's mask (H, W)."""


class UNet(nn.Module):
    """Logits (B, H, W) of pictures (B, 3, H, W), sides multiples of 32."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        channels = [c for c, _ in TAPS.values()][::-1]
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(above + beside, 64, 3, padding=1), nn.GroupNorm(8, 64), nn.ReLU(),
                nn.Conv2d(64, 64, 3, padding=1), nn.GroupNorm(8, 64), nn.ReLU(),
            )
            for above, beside in zip([channels[0], 64, 64], channels[1:], strict=True)
        )  # fmt: skip
        self.fine = nn.Sequential(nn.Conv2d(64 + 3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 3, padding=1))

    def forward(self, pixels: Tensor) -> Tensor:
        *finer, x = self.backbone(pixels)
        for layer, beside in zip(self.up, finer[::-1], strict=True):
            x = layer(torch.cat([F.interpolate(x, size=beside.shape[2:], mode="bilinear"), beside], 1))
        half = F.interpolate(pixels, scale_factor=0.5, mode="area")
        x = self.fine(torch.cat([F.interpolate(x, size=half.shape[2:], mode="bilinear"), half], 1))
        return F.interpolate(x, size=pixels.shape[2:], mode="bilinear")[:, 0]


def train_unet(backbone: Backbone, examples: list[Example], cpu_seconds: float, seed: int) -> UNet:
    """Trained for so many seconds of this process; turned, zoomed, exposed anew; cosine to nothing at the end."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = UNet(backbone).requires_grad_(True)
    rates = [(model.backbone.parameters(), ENCODER_RATE), ([*model.up.parameters(), *model.fine.parameters()],
                                                           DECODER_RATE)]  # fmt: skip
    optimizer = torch.optim.AdamW([{"params": list(p), "lr": rate} for p, rate in rates], weight_decay=1e-4)
    begun = time.process_time()
    while (progress := (time.process_time() - begun) / cpu_seconds) < 1:
        for group, (_, rate) in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 + np.cos(np.pi * progress)) / 2
        drawn = [_crop(rng, *examples[rng.integers(len(examples))]) for _ in range(BATCH)]
        logits = model(torch.stack([_pixels(picture) for picture, _ in drawn]))
        truth = torch.from_numpy(np.stack([mask for _, mask in drawn])).float()
        p = logits.sigmoid()
        dice = 1 - (2 * (p * truth).sum((1, 2)) + 1) / (p.sum((1, 2)) + truth.sum((1, 2)) + 1)
        loss = F.binary_cross_entropy_with_logits(logits, truth) + dice.mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


@torch.inference_mode()
def segment(model: UNet, picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The mask (H, W) at the picture's own resolution."""
    height, width = picture.shape[:2]
    padded = cv2.copyMakeBorder(picture, 0, -height % 32, 0, -width % 32, cv2.BORDER_REFLECT_101)
    return (model(_pixels(padded)[None])[0, :height, :width] > 0).numpy()


def _pixels(picture: NDArray[np.uint8]) -> Tensor:
    return (torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255 - MEAN) / STD


def _crop(rng: np.random.Generator, picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Example:
    """A square of SIDE px of the picture, zoomed by 0.7 to 1.4, turned, mirrored, and of another exposure."""
    side = round(SIDE / 2 ** rng.uniform(-0.5, 0.5))
    height, width = mask.shape
    low, wide = max(side - height, 0), max(side - width, 0)
    if low or wide:
        picture = cv2.copyMakeBorder(picture, 0, low, 0, wide, cv2.BORDER_REFLECT_101)
        mask = cv2.copyMakeBorder(mask.view(np.uint8), 0, low, 0, wide, cv2.BORDER_REFLECT_101) > 0
    y, x = (int(rng.integers(length - side + 1)) for length in mask.shape)
    cut = np.s_[y : y + side, x : x + side]
    picture = cv2.resize(picture[cut], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    mask = cv2.resize(mask[cut].astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0
    turns, step = int(rng.integers(4)), 1 if rng.random() < 0.5 else -1
    levels = np.clip((np.arange(256) / 255) ** rng.uniform(0.8, 1.25) * rng.uniform(0.85, 1.15) * 255, 0, 255)
    picture = levels.astype(np.uint8)[picture]
    return np.rot90(picture[:, ::step], turns).copy(), np.rot90(mask[:, ::step], turns).copy()

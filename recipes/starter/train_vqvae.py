"""First stage of the starter: its VQ-VAE, trained on soft masks of views."""

import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from argenseg_model.files import replace_file
from argenseg_model.vqvae import MultiScaleVQVAE
from recipes.starter.asking import ask
from recipes.starter.mask_pictures import CodebookAverages, train_step_loss
from recipes.starter.views import View

BATCH = 32
WARM_UP = 0.12
"""Share of the steps without quantisation."""


def train_vqvae(vqvae: MultiScaleVQVAE, views: list[View], checkpoint: Path, steps: int, seed: int) -> None:
    """Train in place, or load `checkpoint` when it exists; its losses go to a .jsonl file beside it."""
    if checkpoint.is_file():
        vqvae.load_state_dict(torch.load(checkpoint, weights_only=True))
        return
    vqvae.quantize.embedding.weight.requires_grad_(False)
    pictures = mask_pictures(views, min(10_000, steps * BATCH), seed)
    parameters = [p for p in vqvae.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=1e-4, betas=(0.9, 0.99))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.05)
    averages, started = None, time.monotonic()
    with checkpoint.with_suffix(".jsonl").open("w") as log:
        for step in range(steps):
            if averages is None and step >= WARM_UP * steps:
                averages = CodebookAverages(vqvae)
            loss = train_step_loss(vqvae, _draw(pictures), averages)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            scheduler.step()
            if step % 50 == 49:
                line = {"step": step + 1, "seconds": round(time.monotonic() - started), "loss": round(float(loss), 4)}
                print(json.dumps(line), file=log, flush=True)
    with replace_file(checkpoint) as partial:
        torch.save(vqvae.state_dict(), partial)


def _draw(pictures: Tensor) -> Tensor:
    """A random batch (B, 3, side, side) in [-1, 1] of uint8 pictures (N, side, side)."""
    batch = pictures[torch.randint(len(pictures), (BATCH,))].float() / 127.5 - 1
    return batch[:, None].expand(-1, 3, -1, -1)


def mask_pictures(views: list[View], count: int, seed: int) -> Tensor:
    """(count, side, side) uint8 soft masks that questions ask for, one in ten of them empty."""
    rng = np.random.default_rng(seed)
    pictures: list[np.ndarray] = []
    while len(pictures) < count:
        for question in ask(rng, views[rng.integers(len(views))], 2):
            if question.mask.any() or rng.random() < 0.1:
                pictures.append(question.mask)
    return torch.from_numpy(np.stack(pictures[:count]))

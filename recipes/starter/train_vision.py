"""Second stage of the starter: its image tokens learn to tell what is where, all names of a picture at once."""

import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from argenseg_model.files import replace_file
from argenseg_model.model import ARGenSeg
from argenseg_model.training.optimizers import make_optimizers, set_learning_rate
from recipes.starter.cached import DENSE, CachedViews, dense_truth

BATCH = 24
PEAK = 2e-3


class Sight(nn.Module):
    """A linear reader, which ends with the training: an image token -> the pixels of its cell, of all of DENSE."""

    def __init__(self, width: int, cell: int):
        super().__init__()
        self.cell = cell
        self.linear = nn.Linear(width, len(DENSE) * cell**2)
        nn.init.constant_(self.linear.bias, -3.0)

    def forward(self, image_ILD: Tensor) -> Tensor:
        """(I, len(DENSE), side, side) logits."""
        side = round(image_ILD.shape[1] ** 0.5)
        cells = self.linear(image_ILD).float().transpose(1, 2).unflatten(2, (side, side))
        return F.pixel_shuffle(cells, self.cell)


def sight_loss(logits_INss: Tensor, truth_INss: Tensor, known_IN: Tensor) -> Tensor:
    """Cross entropy and Dice of what is known; Dice only of what is there."""
    chosen = known_IN.nonzero(as_tuple=True)
    logits, truth = logits_INss[chosen], truth_INss[chosen].float() / 255
    is_there = truth.amax((1, 2)) > 0.3
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean((1, 2))
    p, t = logits[is_there].sigmoid(), truth[is_there]
    dice = 1 - (2 * (p * t).sum((1, 2)) + 2) / (p.sum((1, 2)) + t.sum((1, 2)) + 2)
    return 2 * (entropy[is_there].mean() + entropy[~is_there].mean()) + dice.mean()


def batch_truth(cached: CachedViews, indices: list[int]) -> tuple[Tensor, Tensor]:
    """Soft masks (I, len(DENSE), side, side) uint8 and which are known (I, len(DENSE))."""
    truth, known = zip(*(dense_truth(cached.views[i]) for i in indices), strict=True)
    return torch.from_numpy(np.stack(truth)), torch.from_numpy(np.stack(known))


def image_tokens(model: ARGenSeg, maps: list[Tensor]) -> Tensor:
    """(I, num_image_tokens, D) of cached feature maps."""
    return model.project(model.vision_model.grid(maps))


@torch.no_grad()
def standardise(model: ARGenSeg, cached: CachedViews) -> None:
    """Let the grid see channels of mean 0 and deviation 1 over the cached views."""
    grid = model.vision_model.grid
    maps = cached.maps(cached.draw(np.random.default_rng(0), 256))
    for i, features in enumerate(maps):
        features = features.float()
        getattr(grid, f"mean{i}").copy_(features.mean((0, 2, 3)))
        getattr(grid, f"scale{i}").copy_(1 / features.std((0, 2, 3)).clamp(min=1e-3))


def train_vision(model: ARGenSeg, sight: Sight, cached: CachedViews, checkpoint: Path, steps: int, seed: int) -> None:
    """Train grid and projector in place, or load `checkpoint` when it exists; losses go to a .jsonl file beside it."""
    trained = nn.ModuleDict({"grid": model.vision_model.grid, "projector": model.multi_modal_projector, "sight": sight})
    if checkpoint.is_file():
        trained.load_state_dict(torch.load(checkpoint, weights_only=True))
        return
    standardise(model, cached)
    optimizers = make_optimizers(trained, PEAK)
    started, mean = time.monotonic(), 0.0
    with checkpoint.with_suffix(".jsonl").open("w") as log:
        for step in range(steps):
            rng = np.random.default_rng((seed, step))
            set_learning_rate(optimizers, PEAK, step, steps)
            indices = cached.draw(rng, BATCH)
            truth, known = batch_truth(cached, indices)
            with torch.autocast("cpu", torch.bfloat16):
                logits = sight(image_tokens(model, cached.maps(indices)))
            loss = sight_loss(logits, truth, known)
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            mean = loss.item() if step == 0 else 0.97 * mean + 0.03 * loss.item()
            if step % 25 == 24:
                line = {"step": step + 1, "seconds": round(time.monotonic() - started), "loss": round(mean, 4)}
                print(json.dumps(line), file=log, flush=True)
            if step % 200 == 199:
                with replace_file(checkpoint.with_suffix(".partial")) as partial:
                    torch.save(trained.state_dict(), partial)
    with replace_file(checkpoint) as partial:
        torch.save(trained.state_dict(), partial)

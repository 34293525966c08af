"""The optimisers of all stages but the VQ-VAE's, and their learning rate."""

import math
from collections.abc import Sequence

import torch

from argenseg_model.training.muon import Muon


def make_optimizers(trained: torch.nn.Module, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices (about twice as much learnt a step as by AdamW), AdamW for everything else."""
    named = [(name, p) for name, p in trained.named_parameters() if p.requires_grad]
    matrices = [p for name, p in named if p.ndim in (2, 4) and (".layers." in name or ".layer." in name)]
    chosen = {id(p) for p in matrices}
    rest = [p for _, p in named if id(p) not in chosen]
    return [
        Muon(matrices, lr=learning_rate, weight_decay=0.02),
        torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def set_learning_rate(optimizers: Sequence[torch.optim.Optimizer], peak: float, step: int, steps: int) -> None:
    """Warm-up over at most 150 steps, then a cosine down to a fiftieth of the peak."""
    warm_up = min(1.0, (step + 1) / min(150, max(1, steps // 10)))
    decay = 0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = peak * warm_up * decay

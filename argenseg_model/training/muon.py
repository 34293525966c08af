"""Muon in float32 (Keller Jordan, 2024): momentum whose singular values are made equal before each step.

torch.optim.Muon computes in bfloat16, which CPUs without bfloat16 units do fifty times slower than float32.
"""

from collections.abc import Iterable

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """For matrices, and kernels of convolutions (a row for each output channel).

    `lr` is on AdamW's scale: updates have a root mean square of 0.2 `lr` (arXiv 2502.16982).
    """

    def __init__(self, matrices: Iterable[Tensor], lr: float, weight_decay: float = 0.0, momentum: float = 0.95):
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum"] = torch.zeros_like(matrix)
                state["momentum"].lerp_(matrix.grad, 1 - group["momentum"])
                direction = orthogonalise(matrix.grad.lerp(state["momentum"], group["momentum"]).flatten(1))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                alpha = -0.2 * group["lr"] * max(direction.shape) ** 0.5
                matrix.add_(direction.view_as(matrix), alpha=alpha)


def orthogonalise(matrix: Tensor, iterations: int = 5) -> Tensor:
    """A matrix with the same singular vectors whose singular values are near 1 (quintic Newton-Schulz iteration)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x

"""Several processes that train one model, a GPU each: `accelerate launch -m argenseg_model.training.finetune ...`."""

import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from argenseg_model.errors import ARGenSegError

T = TypeVar("T")


class Processes:
    """This process among `count`: number `rank`. Alone, nothing is exchanged."""

    def __init__(self, device: torch.device, rank: int = 0, count: int = 1) -> None:
        self.device, self.rank, self.count = device, rank, count

    @property
    def is_main(self) -> bool:
        """The one that writes files."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's part of what all of them hold in the same order; it may be empty."""
        return list(items[self.rank :: self.count])

    def add_up(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.count == 1:
            return value
        from accelerate.utils import reduce

        return reduce(value.to(self.device), "sum")

    def add_up_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Every process gets the sum of all gradients; one that had none counts as zero."""
        if self.count > 1:
            for parameter in parameters:
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self.add_up(gradient)

    def any(self, is_so: bool) -> bool:
        """Whether it is so in one of them: all decide alike."""
        return is_so if self.count == 1 else self.add_up(torch.tensor([float(is_so)])).item() > 0

    def wait(self) -> None:
        """Until all are here."""
        self.add_up(torch.zeros(1))


def join_processes(device: torch.device) -> Processes:
    """This process among those that `accelerate launch` or `torchrun` started with it, or alone.

    Raises ARGenSegError where there are several and accelerate, which brings them together, is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes(device)
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ARGenSegError("several processes train together by accelerate: pip install accelerate") from error
    state = PartialState(cpu=device.type == "cpu")
    return Processes(state.device, state.process_index, state.num_processes)

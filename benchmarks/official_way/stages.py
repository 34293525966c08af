"""Processor time and floating point operations of the stages of a mask."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from torch.utils.flop_counter import FlopCounterMode

NAMES = ("image", "prompt", "preamble", "visual tokens", "pictures")


class Stages:
    """What each stage took: seconds of processor time or, with `counts_flops`, operations instead."""

    def __init__(self, counts_flops: bool = False) -> None:
        self.totals = dict.fromkeys(NAMES, 0.0)
        self._counts_flops = counts_flops

    @contextmanager
    def measured(self, name: str) -> Iterator[None]:
        counter = FlopCounterMode(display=False) if self._counts_flops else None
        began = time.process_time()
        with counter or nullcontext():
            yield
        self.totals[name] += counter.get_total_flops() if counter else time.process_time() - began

    @property
    def total(self) -> float:
        return sum(self.totals.values())

"""How many questions the model is asked at once: by what they cost, by what fits, and never so that others wait long.

No linger: a batch is made of what is there. Its size follows what was measured: as much as the model answers in about
`SECONDS_PER_BATCH`, so that a person who opens a task meanwhile waits no longer than that, and no more than half of
what ran out of memory.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.errors import ModelCrashed, ModelLoadError, ModelOutOfMemory, ModelTimeout, SegmentationRefused
from worker.gpu_worker.model_child import Question
from worker.gpu_worker.model_process import SegmentedPrompt

logger = logging.getLogger(__name__)

SECONDS_PER_BATCH = 1.0
_MEMORY = 0.3  # weight of the newest measurement in the mean

Outcome = list[SegmentedPrompt] | SegmentationRefused | ModelCrashed | ModelTimeout | ModelOutOfMemory | ModelLoadError
"""The answers to a question, in the order of its prompts; or what became of the model over it."""


class Model(Protocol):
    """What batches need of a ModelProcess."""

    def prepare(self, model: str | None = None) -> None: ...

    def segment(
        self, questions: Sequence[Question], timeout_s: float, model: str | None = None
    ) -> list[list[SegmentedPrompt] | SegmentationRefused]: ...


@dataclass(frozen=True)
class CostedQuestion:
    """A question to one model (a folder or name), and what it costs: the image's pixels times its prompts."""

    model: str
    question: Question
    cost: int


class BatchedModel:
    """Asks a model process in batches, and remembers for its life what it learnt about their size.

    A batch that runs out of memory is halved; one that crashes or hangs the model is asked one by one, so that only
    the guilty question fails.
    """

    def __init__(
        self,
        model: Model,
        max_tasks: int,
        timeout_s: float,
        on_batch: Callable[[int, float], None] = lambda tasks, seconds: None,
    ) -> None:
        self._model = model
        self._max_tasks = max_tasks
        self._timeout_s = timeout_s
        self._on_batch = on_batch  # the number of tasks, and the seconds that they took together
        self._limit = float("inf")  # cost that is not known to be too much for the memory
        self._largest_that_fit = 0.0
        self._seconds_per_cost: float | None = None
        self._seconds_per_task: float | None = None

    def tasks_at_once(self) -> int:
        """How many tasks are worth taking at a time, going by the last ones: one until something was measured."""
        if not self._seconds_per_task:
            return 1
        return max(1, min(self._max_tasks, int(SECONDS_PER_BATCH / self._seconds_per_task)))

    def split(self, questions: Sequence[CostedQuestion]) -> list[list[CostedQuestion]]:
        """Batches of one model each and no more than what fits; a question that is too large is a batch alone."""
        limit = self._limit
        if self._seconds_per_cost:
            limit = min(limit, SECONDS_PER_BATCH / self._seconds_per_cost)
        batches: list[list[CostedQuestion]] = []
        cost = 0.0
        for item in sorted(questions, key=lambda item: item.model):
            fits = batches and cost + item.cost <= limit and len(batches[-1]) < self._max_tasks
            if fits and batches[-1][0].model == item.model:
                batches[-1].append(item)
                cost += item.cost
            else:
                batches.append([item])
                cost = item.cost
        return batches

    def ask(self, batch: Sequence[CostedQuestion]) -> Iterator[tuple[CostedQuestion, Outcome]]:
        """Answer a batch; every question comes once, in any order. ModelStopped ends it."""
        cost = sum(item.cost for item in batch)
        try:
            self._model.prepare(batch[0].model)
            began = time.monotonic()
            answers = self._model.segment([item.question for item in batch], self._timeout_s, batch[0].model)
        except ModelOutOfMemory as error:
            if len(batch) == 1:
                yield batch[0], error
                return
            if cost > self._largest_that_fit:  # else it is not the size
                self._limit = max(cost / 2, self._largest_that_fit)
            logger.warning("%d tasks at once are too many for the memory and are halved", len(batch))
            half = len(batch) // 2
            yield from self.ask(batch[:half])
            yield from self.ask(batch[half:])
        except (ModelCrashed, ModelTimeout) as error:
            if len(batch) == 1:
                yield batch[0], error
                return
            logger.warning("%d tasks are asked one by one: %s", len(batch), error)
            for item in batch:
                yield from self.ask([item])
        except ModelLoadError as error:
            yield from ((item, error) for item in batch)
        else:
            self._largest_that_fit = max(self._largest_that_fit, cost)
            self._measured(cost, len(batch), time.monotonic() - began)
            yield from zip(batch, answers, strict=True)

    def _measured(self, cost: int, tasks: int, seconds: float) -> None:
        def mean(old: float | None, new: float) -> float:
            return new if old is None else (1 - _MEMORY) * old + _MEMORY * new

        self._on_batch(tasks, seconds)
        self._seconds_per_cost = mean(self._seconds_per_cost, seconds / max(cost, 1))
        self._seconds_per_task = mean(self._seconds_per_task, seconds / tasks)

"""The resident model in a process of its own: a hang, a crash or a full GPU costs one request, never the worker.

Spawned, not forked: a fork after torch has computed deadlocks. This side imports no torch. The pipe is the time limit:
`poll(timeout)` runs out when the model hangs, and end-of-file means that it died.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.errors import (
    ModelCrashed,
    ModelError,
    ModelLoadError,
    ModelOutOfMemory,
    ModelStopped,
    ModelTimeout,
    SegmentationRefused,
)
from worker.gpu_worker import model_child
from worker.gpu_worker.model_child import Answer, Failure, Load, ModelOptions, Question, Request

logger = logging.getLogger(__name__)

_EXIT_S = 10.0  # for a child that closed its pipe to be gone; then it is killed


@dataclass(frozen=True)
class SegmentedPrompt:
    """The model's answer to one prompt: `mask` bool (height, width) of the upright image, `score` 0..1."""

    prompt: str
    mask: NDArray[np.bool_]
    score: float


Segmented = list[SegmentedPrompt] | SegmentationRefused
"""The answers to one question, in the order of its prompts; or why its image cannot be segmented."""


class ModelProcess:
    """One child with one model, or a few. `segment` is called from one thread; `stop_request` and `kill` from any.

    `load_error` is set when the model of the options could not be loaded (again).
    """

    def __init__(
        self, options: ModelOptions, *, load_timeout_s: float = 900.0, memory_limit_bytes: int | None = None
    ) -> None:
        """A child that holds more main memory than `memory_limit_bytes` is started anew before the next request."""
        self._options = options
        self._load_timeout_s = load_timeout_s
        self._memory_limit_bytes = memory_limit_bytes
        self._process: SpawnProcess | None = None
        self._pid: int | None = None
        self._model = options.model  # the child's last used one
        self._pipe: Connection | None = None
        self._stop_requested = threading.Event()
        self.load_error: ModelLoadError | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, from its start until its end has been noticed."""
        return self._pid

    def start(self) -> None:
        """Start the child, from the main thread, and wait until its model is warm. ModelLoadError if it cannot be."""
        context = multiprocessing.get_context("spawn")
        self._pipe, child_end = context.Pipe()
        self._process = context.Process(
            target=model_child.main, args=(child_end, self._options, os.getpid()), name="model", daemon=True
        )
        self._process.start()
        self._pid = self._process.pid
        self._model = self._options.model
        child_end.close()  # the child's copy is the only one now, so its death is our end-of-file
        try:
            self._check_loaded(self._model, lambda: self._receive(self._load_timeout_s))
        except ModelLoadError as error:
            self.close()
            self.load_error = error
            raise
        if self._memory_limit_bytes and (memory := self.memory_bytes() or 0) > 0.9 * self._memory_limit_bytes:
            logger.error("MODEL_MEMORY_LIMIT is not observed: the model alone takes %d MB", memory // 10**6)
            self._memory_limit_bytes = None

    def segment(self, questions: Sequence[Question], timeout_s: float, model: str | None = None) -> list[Segmented]:
        """Answer all `questions` by one call of `model` (default: that of the options), and return an item for each.

        It is prepared first, which does not count for `timeout_s`. ModelOutOfMemory if there is not enough for all of
        them at once, ModelTimeout after `timeout_s` (the child is killed), ModelCrashed if the child dies or its model
        fails, ModelStopped after a `stop_request` (see `accept_requests`), ModelLoadError as in `prepare`.
        """
        self.prepare(model)
        answers = self._exchange(Request(self._model, tuple(questions)), timeout_s)
        if isinstance(answers, Failure):
            message = answers.message[:1].upper() + answers.message[1:] + "."
            if answers.about == "memory":
                raise ModelOutOfMemory(message)
            self.close()
            raise ModelCrashed(message)
        assert isinstance(answers, list)
        return [_segmented(question, answer) for question, answer in zip(questions, answers, strict=True)]

    def prepare(self, model: str | None = None) -> None:
        """Start the child if it is not running, or has more memory than it may, and load `model` if it is not loaded.

        ModelLoadError if the model cannot be loaded, ModelStopped after a `stop_request`.
        """
        model = model or self._options.model
        limit = self._memory_limit_bytes
        if limit and (memory := self.memory_bytes() or 0) > limit:
            logger.warning("the model process holds %d MB of memory and is started anew", memory // 10**6)
            self.close()
        if self._process is None or not self._process.is_alive():
            self.close()
            self.start()
        if model != self._model:
            self._check_loaded(model, lambda: self._exchange(Load(model), self._load_timeout_s))
            self._model = model

    def _exchange(self, request: Request | Load, timeout_s: float) -> object:
        with self._killed_if_interrupted():
            try:
                if self._stop_requested.is_set():
                    raise ModelStopped("The job was stopped.")
                self._open_pipe().send(request)
                return self._receive(timeout_s)
            except OSError as error:  # the child died before it read the request
                raise self._crashed() from error

    def _check_loaded(self, model: str, answer: Callable[[], object]) -> None:
        try:
            failure = answer()
        except (ModelCrashed, ModelTimeout) as error:
            failure = Failure(type(error).__name__, str(error), "model")
        if isinstance(failure, Failure):
            raise ModelLoadError(f"The model {model!r} could not be loaded: {failure.message}")
        logger.info("model %s is warm (pid %s)", model, self.pid)

    def memory_bytes(self) -> int | None:
        """What the child holds in main memory; None if it is not running or cannot be asked (elsewhere than Linux)."""
        try:
            pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE")

    def accept_requests(self) -> None:
        """Forget an earlier `stop_request`: a new job begins."""
        self._stop_requested.clear()

    def stop_request(self) -> None:
        """Make the running (or next) `segment` raise ModelStopped, at once."""
        self._stop_requested.set()
        self.kill()

    def kill(self) -> None:
        """Kill the child; a waiting `segment` then raises."""
        if (pid := self._pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the child if it lives and free what belonged to it."""
        self.kill()
        if self._process is not None:
            self._process.join()
            self._process.close()
            self._process = self._pid = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _open_pipe(self) -> Connection:
        assert self._pipe is not None, "start() comes first"
        return self._pipe

    def _receive(self, timeout_s: float) -> object:
        pipe = self._open_pipe()
        try:
            if pipe.poll(timeout_s):
                return pipe.recv()
        except (EOFError, OSError) as error:
            raise self._crashed() from error
        self.close()
        raise ModelTimeout(f"The model gave no answer in {timeout_s:g} s and was restarted.")

    def _crashed(self) -> ModelCrashed | ModelStopped:
        exit_code = None
        if self._process is not None:
            self._process.join(_EXIT_S)
            exit_code = self._process.exitcode  # None if it closed the pipe and lives on
        self.close()
        if self._stop_requested.is_set():
            return ModelStopped("The job was stopped.")
        if exit_code is not None and exit_code < 0:
            name = signal.Signals(-exit_code).name
            hint = ": the machine may be out of memory" if name == "SIGKILL" else ""
            return ModelCrashed(f"The model process was ended by {name} (exit code {exit_code}){hint}.")
        return ModelCrashed(f"The model process ended with exit code {exit_code}.")

    @contextlib.contextmanager
    def _killed_if_interrupted(self) -> Iterator[None]:
        """A time limit or shutdown raised in the middle of an exchange leaves an answer in the pipe: start afresh."""
        try:
            yield
        except ModelError:
            raise
        except BaseException:
            self.close()
            raise


def _segmented(question: Question, answer: Answer) -> Segmented:
    if isinstance(answer, Failure):
        return SegmentationRefused(answer.message)
    return [
        SegmentedPrompt(prompt, packed.unpack(), packed.score)
        for prompt, packed in zip(question.prompts, answer, strict=True)
    ]

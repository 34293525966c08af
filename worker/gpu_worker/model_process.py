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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.errors import ModelCrashed, ModelLoadError, ModelStopped, ModelTimeout, SegmentationRefused
from worker.gpu_worker import model_child
from worker.gpu_worker.model_child import Failure, ModelOptions, PackedMask, Request

logger = logging.getLogger(__name__)

_EXIT_S = 10.0  # for a child that closed its pipe to be gone; then it is killed


@dataclass(frozen=True)
class SegmentedPrompt:
    """The model's answer to one prompt: `mask` bool (height, width) of the upright image, `score` 0..1."""

    prompt: str
    mask: NDArray[np.bool_]
    score: float


class ModelProcess:
    """One child with one model. `segment` is called from one thread; `stop_request` and `kill` from any.

    `load_error` is set when the model could not be loaded (again).
    """

    def __init__(self, options: ModelOptions, *, load_timeout_s: float = 900.0) -> None:
        self._options = options
        self._load_timeout_s = load_timeout_s
        self._process: SpawnProcess | None = None
        self._pid: int | None = None
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
        child_end.close()  # the child's copy is the only one now, so its death is our end-of-file
        problem: str | None = None
        try:
            failure = self._receive(self._load_timeout_s)
        except (ModelCrashed, ModelTimeout) as error:
            problem = str(error)
        else:
            problem = failure.message if isinstance(failure, Failure) else None
        if problem is not None:
            self.close()
            self.load_error = ModelLoadError(f"The model {self._options.model!r} could not be loaded: {problem}")
            raise self.load_error
        logger.info("model %s is warm (pid %s)", self._options.model, self.pid)

    def segment(self, image: Path, prompts: Sequence[str], timeout_s: float) -> list[SegmentedPrompt]:
        """Segment all `prompts` in one image file by one model call; starts the model first if it is not running.

        SegmentationRefused if the image cannot be segmented, ModelTimeout after `timeout_s` (the child is killed),
        ModelCrashed if the child dies or its model fails, ModelStopped after a `stop_request` (see `accept_requests`).
        """
        if self._process is None or not self._process.is_alive():
            self.close()
            self.start()
        with self._killed_if_interrupted():
            try:
                if self._stop_requested.is_set():
                    raise ModelStopped("The job was stopped.")
                self._open_pipe().send(Request(str(image), tuple(prompts)))
                answer = self._receive(timeout_s)
            except OSError as error:  # the child died before it read the request
                raise self._crashed() from error
        if isinstance(answer, Failure):
            if answer.is_about_image:
                raise SegmentationRefused(answer.message)
            self.close()
            raise ModelCrashed(answer.message[:1].upper() + answer.message[1:] + ".")
        assert isinstance(answer, list)
        masks = [packed for packed in answer if isinstance(packed, PackedMask)]
        return [
            SegmentedPrompt(prompt, packed.unpack(), packed.score)
            for prompt, packed in zip(prompts, masks, strict=True)
        ]

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
        except (SegmentationRefused, ModelCrashed, ModelTimeout, ModelStopped):
            raise
        except BaseException:
            self.close()
            raise

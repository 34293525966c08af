"""Inside the model process: load the model, warm it up, then answer one request at a time through a pipe.

The only module of this floor that imports torch, and only in functions that run in the child. Answers hold bytes,
numbers and text, never tensors, so that the parent can read them without torch; errors are a kind and a message without
the traceback, whose values could quote what a user sent.
"""

import gc
import importlib
import logging
import os
import signal
import sys
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from argenseg_model.errors import ARGenSegError
from argenseg_model.threads import be_a_good_neighbour
from labeling.logs import LogFormat, start_log
from worker.gpu_worker.allocator import keep_freed_memory
from worker.parent_death import die_with_parent

if TYPE_CHECKING:
    from argenseg_model.prefix_cache import PrefixCache

logger = logging.getLogger(__name__)

ARGENSEG = "worker.gpu_worker.model_child:load_argenseg"

_prefix_caches: "WeakSet[PrefixCache]" = WeakSet()
"""Those of the loaded models, in this process."""


@dataclass(frozen=True)
class Question:
    """An image file and the prompts to be segmented in it.

    `window` (left, top, right, bottom in px of the upright image): only what is there is asked for. A model that was
    trained on parts of images (tiles, or a closer look) then looks at the window only.
    """

    image: Path
    prompts: tuple[str, ...]
    window: tuple[int, int, int, int] | None = None


Segmenter = Callable[[Sequence[Question]], list[list[tuple[NDArray[np.bool_], float]]]]
"""For each question, and each of its prompts: the mask (height, width) of the upright image and a score 0..1."""


@dataclass(frozen=True)
class ModelOptions:
    """What the child needs to load a model. `loader` is the function ModelOptions -> Segmenter, as `module:name`.

    At most `models_in_memory` models are kept; the one that was used longest ago leaves for another. Each keeps what it
    computed of the images that it was asked about lately, in `prefix_cache_bytes` of the device's memory: 1 GiB of a
    GPU's, 256 MiB of a CPU's unless given, 0 for nothing.
    """

    model: str
    device: str
    max_image_pixels: int
    log_level: str = "INFO"
    loader: str = ARGENSEG
    models_in_memory: int = 1
    prefix_cache_bytes: int | None = None
    log_format: LogFormat = "text"


@dataclass(frozen=True)
class Load:
    """Load this model, unless it is loaded. Answered by None or a Failure."""

    model: str


@dataclass(frozen=True)
class Request:
    """Questions for one model, to be answered together: a list with an Answer for each, or one Failure for all."""

    model: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class PackedMask:
    """A mask as `np.packbits` of its rows laid end to end, an eighth of its bool size."""

    bits: bytes
    height: int
    width: int
    score: float

    @classmethod
    def pack(cls, mask: NDArray[np.bool_], score: float) -> "PackedMask":
        height, width = mask.shape
        return cls(np.packbits(mask).tobytes(), height, width, float(score))

    def unpack(self) -> NDArray[np.bool_]:
        """The bool mask (height, width)."""
        bits = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=self.height * self.width)
        return bits.reshape(self.height, self.width).astype(bool)


@dataclass(frozen=True)
class Failure:
    """Why there are no masks.

    `about` the image: the model is fine, and the same image would fail again. The memory: it may be enough for fewer
    questions. The model: it is in an unknown state.
    """

    kind: str
    message: str
    about: Literal["image", "memory", "model"]


Answer = list[PackedMask] | Failure


def load_argenseg(options: ModelOptions) -> Segmenter:
    """The real model, in bfloat16 on a GPU and float32 on a CPU, warmed up. OMP_NUM_THREADS limits its CPU threads."""
    be_a_good_neighbour()
    import torch
    from PIL import Image

    from argenseg_model import ARGenSeg
    from argenseg_model.images import load_image
    from argenseg_model.prefix_cache import PrefixCache

    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    model = ARGenSeg.from_pretrained(options.model, device=device, dtype=dtype)
    model.segment([Image.new("RGB", (64, 64), "grey")], ["warm up"])
    cache_bytes = options.prefix_cache_bytes
    if cache_bytes is None:
        cache_bytes = 2**30 if device.startswith("cuda") else 2**28
    model.prefix_cache = PrefixCache(cache_bytes)
    _prefix_caches.add(model.prefix_cache)

    def segment(questions: Sequence[Question]) -> list[list[tuple[NDArray[np.bool_], float]]]:
        images = [load_image(question.image, max_pixels=options.max_image_pixels) for question in questions]
        sees_parts = model.config.image_mode == "tile" or model.config.closer_tiles > 0
        windows = [question.window if sees_parts else None for question in questions]
        looked_at = [image.crop(window) if window else image for image, window in zip(images, windows, strict=True)]
        results = model.segment(looked_at, [list(question.prompts) for question in questions])
        return [
            [(_in_image(result.mask, window, image.size), result.score) for result in of_image]
            for of_image, window, image in zip(results, windows, images, strict=True)
        ]

    return segment


def _in_image(
    mask: NDArray[np.bool_], window: tuple[int, int, int, int] | None, size: tuple[int, int]
) -> NDArray[np.bool_]:
    """The mask of a window as a mask of the whole image of `size` (width, height)."""
    if window is None:
        return mask
    left, top, right, bottom = window
    whole = np.zeros(size[::-1], np.bool_)
    whole[top:bottom, left:right] = mask
    return whole


class _Models:
    """The loaded models, the one used last at the end."""

    def __init__(self, options: ModelOptions) -> None:
        self._options = options
        self._segmenters: OrderedDict[str, Segmenter] = OrderedDict()

    def load(self, model: str) -> Segmenter:
        """The model's segmenter. It is loaded beside the others, or in their place where there is no room for it."""
        if model not in self._segmenters:
            while len(self._segmenters) >= self._options.models_in_memory:
                self._segmenters.popitem(last=False)
            try:
                segmenter = self._loaded(model)
            except Exception as error:
                if not self._segmenters or not _is_out_of_memory(error):
                    raise
                segmenter = None
            if segmenter is None:  # out of the except block, which holds on to the memory that ran out
                self._segmenters.clear()
                segmenter = self._loaded(model)
            self._segmenters[model] = segmenter
        self._segmenters.move_to_end(model)
        return self._segmenters[model]

    def _loaded(self, model: str) -> Segmenter:
        _free_memory()
        module, _, function = self._options.loader.partition(":")
        loader = getattr(importlib.import_module(module), function)
        return cast(Segmenter, loader(replace(self._options, model=model)))


def main(connection: Connection, options: ModelOptions, parent_pid: int) -> None:
    """Load the model, send None (or a Failure, and end), then answer each Load and Request.

    Ends when the pipe is closed, with the parent, and after a request's failure that is about the model: the state of
    the GPU is unknown then. Ctrl-C is the parent's business.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent_pid)
    keep_freed_memory()
    start_log(sys.stderr, options.log_level, options.log_format)
    models = _Models(options)
    failure = _load(models, options.model)
    connection.send(failure)
    while failure is None:
        try:
            request = connection.recv()
        except (EOFError, OSError):
            return
        if isinstance(request, Load):
            connection.send(_load(models, request.model))
            continue
        answer = _answer(models.load(request.model), request.questions)
        connection.send(answer)
        if isinstance(answer, Failure) and answer.about == "model":
            return


def _load(models: _Models, model: str) -> Failure | None:
    try:
        models.load(model)
    except Exception as error:  # noqa: BLE001 (whatever it is, the parent has to hear of it)
        failure = _failure(error)
        return replace(failure, message="there is not enough memory for it") if failure.about == "memory" else failure
    return None


def _answer(segmenter: Segmenter, questions: Sequence[Question]) -> list[Answer] | Failure:
    try:
        return [
            [PackedMask.pack(mask, score) for mask, score in of_question] for of_question in segmenter(list(questions))
        ]
    except Exception as error:  # noqa: BLE001 (one bad image must not end the process unseen)
        failure = _failure(error)
    if failure.about == "memory":
        if any(cache.bytes for cache in _prefix_caches):
            return _answer_keeping_nothing(segmenter, questions)
        _free_memory()
    if failure.about != "image":
        return failure
    if len(questions) == 1:
        return [failure]
    answers: list[Answer] = []
    for question in questions:  # the error does not say whose it is
        one = _answer(segmenter, [question])
        if isinstance(one, Failure):
            return one
        answers += one
    return answers


def _answer_keeping_nothing(segmenter: Segmenter, questions: Sequence[Question]) -> list[Answer] | Failure:
    """Once more, without what is kept of images. If that is enough, half as much is kept from then on."""
    max_bytes = {cache: cache.max_bytes for cache in _prefix_caches}
    for cache in max_bytes:
        cache.max_bytes = 0
    _free_memory()
    answers = _answer(segmenter, questions)
    is_enough = not isinstance(answers, Failure)
    for cache, before in max_bytes.items():
        cache.max_bytes = before // 2 if is_enough else before
    if is_enough:
        logger.warning("memory is short: half as much is kept of images for the next prompt from now on")
    return answers


def _failure(error: Exception) -> Failure:
    kind = type(error).__name__
    if isinstance(error, ARGenSegError):
        return Failure(kind, str(error), "image")
    if _is_out_of_memory(error):
        return Failure(kind, "there is not enough memory for this image beside the model", "memory")
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s in the model process:\n%s", kind, frames)
    return Failure(kind, f"the model failed ({kind}); the log of the GPU worker says where", "model")


def _is_out_of_memory(error: Exception) -> bool:
    """torch.OutOfMemoryError of a GPU, numpy's and Python's MemoryError, torch's RuntimeError of a CPU."""
    return (
        isinstance(error, MemoryError)
        or "OutOfMemory" in type(error).__name__
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _free_memory() -> None:
    for cache in _prefix_caches:
        cache.clear()
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

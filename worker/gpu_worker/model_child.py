"""Inside the model process: load the model, warm it up, then answer one request at a time through a pipe.

The only module of this floor that imports torch, and only in functions that run in the child. Answers hold bytes,
numbers and text, never tensors, so that the parent can read them without torch; errors are a kind and a message without
the traceback, whose values could quote what a user sent.
"""

import importlib
import logging
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from argenseg_model.errors import ARGenSegError
from worker.parent_death import die_with_parent

logger = logging.getLogger(__name__)

ARGENSEG = "worker.gpu_worker.model_child:load_argenseg"

Segmenter = Callable[[Path, Sequence[str]], list[tuple[NDArray[np.bool_], float]]]
"""Image file and prompts -> mask (height, width) of the upright image and score 0..1, for each prompt."""


@dataclass(frozen=True)
class ModelOptions:
    """What the child needs to load the model. `loader` is the function ModelOptions -> Segmenter, as `module:name`."""

    model: str
    device: str
    max_image_pixels: int
    log_level: str = "INFO"
    loader: str = ARGENSEG


@dataclass(frozen=True)
class Request:
    """An image file and the prompts to be segmented in it."""

    image: str
    prompts: tuple[str, ...]


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
    """Why there are no masks. `is_about_image`: the model is fine, and the same image would fail again."""

    kind: str
    message: str
    is_about_image: bool


def load_argenseg(options: ModelOptions) -> Segmenter:
    """The real model, in bfloat16 on a GPU and float32 on a CPU, warmed up. OMP_NUM_THREADS limits its CPU threads."""
    import torch
    from PIL import Image

    from argenseg_model import ARGenSeg
    from argenseg_model.images import load_image

    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    model = ARGenSeg.from_pretrained(options.model, device=device, dtype=dtype)
    model.segment([Image.new("RGB", (64, 64), "grey")], ["warm up"])

    def segment(image: Path, prompts: Sequence[str]) -> list[tuple[NDArray[np.bool_], float]]:
        results = model.segment([load_image(image, max_pixels=options.max_image_pixels)], list(prompts))
        return [(result.mask, result.score) for result in results[0]]

    return segment


def main(connection: Connection, options: ModelOptions, parent_pid: int) -> None:
    """Send None when the model is warm (or a Failure, and end), then answer each Request by PackedMasks or a Failure.

    Ends when the pipe is closed, with the parent, and after a failure that is not about the image: the state of the GPU
    is unknown then. Ctrl-C is the parent's business.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent_pid)
    logging.basicConfig(level=options.log_level, format="%(levelname)s %(name)s %(message)s")
    try:
        module, _, function = options.loader.partition(":")
        segmenter = cast(Segmenter, getattr(importlib.import_module(module), function)(options))
    except Exception as error:  # noqa: BLE001 (whatever it is, the parent has to hear of it)
        connection.send(_failure(error))
        return
    connection.send(None)
    while True:
        try:
            request = connection.recv()
        except (EOFError, OSError):
            return
        answer = _answer(segmenter, request)
        connection.send(answer)
        if isinstance(answer, Failure) and not answer.is_about_image:
            return


def _answer(segmenter: Segmenter, request: Request) -> list[PackedMask] | Failure:
    try:
        return [PackedMask.pack(mask, score) for mask, score in segmenter(Path(request.image), request.prompts)]
    except Exception as error:  # noqa: BLE001 (one bad image must not end the process unseen)
        return _failure(error)


def _failure(error: Exception) -> Failure:
    kind = type(error).__name__
    if isinstance(error, ARGenSegError):
        return Failure(kind, str(error), is_about_image=True)
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s in the model process:\n%s", kind, frames)
    if "OutOfMemory" in kind or isinstance(error, MemoryError):
        return Failure(kind, "there is not enough memory for this image beside the model", is_about_image=False)
    return Failure(kind, f"the model failed ({kind}); the log of the GPU worker says where", is_about_image=False)

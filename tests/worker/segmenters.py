"""Loaders for the model process in these tests: small, real segmenters, and the ways in which a real one goes wrong."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from argenseg_model.errors import CheckpointError, ImageError
from worker.gpu_worker.model_child import ModelOptions, Segmenter


def threshold(options: ModelOptions) -> Segmenter:
    """Bright pixels are the mask of every prompt, except of prompts that ask for trouble."""

    def segment(image: Path, prompts: Sequence[str]) -> list[tuple[NDArray[np.bool_], float]]:
        if "crash" in prompts:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "crash once" in prompts:
            crash_once(image)
        if "hang" in prompts:
            time.sleep(60)
        if "slow" in prompts:
            time.sleep(1.0)
        if "bug" in prompts:
            raise RuntimeError(f"CUDA error while reading {image}")
        try:
            with Image.open(image) as picture:
                bright = np.asarray(picture.convert("L")) > 127
        except OSError:
            raise ImageError("This file is no picture. Upload it again.") from None
        return [(bright, 0.75) for _ in prompts]

    return segment


def crash_once(image: Path) -> None:
    """Die at the first request for this image, and not at the second."""
    mark = image.with_suffix(".crashed")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGSEGV)


def missing(options: ModelOptions) -> Segmenter:
    """A model folder that is not there."""
    raise CheckpointError(f"There is no model in {options.model}. Give a folder that holds config.json.")


def dying(options: ModelOptions) -> Segmenter:
    """A model that takes its process down while it is loaded."""
    os._exit(7)

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
from worker.gpu_worker.model_child import ModelOptions, Question, Segmenter


def threshold(options: ModelOptions) -> Segmenter:
    """Bright pixels are the mask of every prompt, except of prompts that ask for trouble."""

    def segment_image(image: Path, prompts: Sequence[str]) -> list[tuple[NDArray[np.bool_], float]]:
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

    def segment(questions: Sequence[Question]) -> list[list[tuple[NDArray[np.bool_], float]]]:
        return [segment_image(question.image, question.prompts) for question in questions]

    return segment


def paced(options: ModelOptions) -> Segmenter:
    """Like `threshold`, 50 ms for each question, so that a run has a middle."""
    one_by_one = threshold(options)

    def segment(questions: Sequence[Question]) -> list[list[tuple[NDArray[np.bool_], float]]]:
        time.sleep(0.05 * len(questions))
        return one_by_one(questions)

    return segment


def small_memory(options: ModelOptions) -> Segmenter:
    """Like `threshold`, with memory for MEMORY_PIXELS of pixels times prompts at once: more of them raise for real."""
    one_by_one = threshold(options)

    def segment(questions: Sequence[Question]) -> list[list[tuple[NDArray[np.bool_], float]]]:
        sizes = [Image.open(question.image).size for question in questions]
        cost = sum(width * height * len(q.prompts) for q, (width, height) in zip(questions, sizes, strict=True))
        with Path(os.environ["CALLS"]).open("a") as calls:
            calls.write(f"{len(questions)}\n")
        if cost > int(os.environ["MEMORY_PIXELS"]):
            if os.environ["MEMORY_ERROR"] == "MemoryError":
                np.empty(2**60, np.uint8)
            import torch

            torch.empty(2**60, dtype=torch.uint8)
        return one_by_one(questions)

    return segment


def named(options: ModelOptions) -> Segmenter:
    """A model whose score says which one it is: 0.<number at the end of its name>. "none" cannot be loaded."""
    if options.model.endswith("none"):
        return missing(options)
    score = int(options.model[-1]) / 10

    def segment(questions: Sequence[Question]) -> list[list[tuple[NDArray[np.bool_], float]]]:
        return [[(np.ones((4, 4), bool), score) for _ in question.prompts] for question in questions]

    return segment


def leaking(options: ModelOptions) -> Segmenter:
    """Like `threshold`, and holds 50 MiB more after each call."""
    one_by_one, held = threshold(options), []

    def segment(questions: Sequence[Question]) -> list[list[tuple[NDArray[np.bool_], float]]]:
        held.append(np.ones(50 * 2**20, np.uint8))
        return one_by_one(questions)

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

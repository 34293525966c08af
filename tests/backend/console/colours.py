"""A loader for the model process: a prompt finds the pixels of the colours that it names."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from argenseg_model.errors import ImageError
from worker.gpu_worker.model_child import ModelOptions, Question, Segmenter

_CHANNELS = {"red": 0, "green": 1, "blue": 2}


def colours(options: ModelOptions) -> Segmenter:
    def find(question: Question, prompt: str) -> tuple[NDArray[np.bool_], float]:
        try:
            with Image.open(question.image) as picture:
                pixels = np.asarray(picture.convert("RGB"))
        except OSError:
            raise ImageError("This file is no picture.") from None
        found = [pixels[..., channel] > 127 for colour, channel in _CHANNELS.items() if colour in prompt]
        return np.any([*found, np.zeros(pixels.shape[:2], bool)], axis=0), 0.75

    return lambda questions: [[find(question, prompt) for prompt in question.prompts] for question in questions]

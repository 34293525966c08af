"""`ask(image, question)`: answers in words, which may hold masks."""

from dataclasses import dataclass

import numpy as np

from argenseg_model.images import load_image
from argenseg_model.processing import image_to_pixels, picture_to_probability, picture_to_uint8, stretch_contrast
from argenseg_model.prompting import build_question
from argenseg_model.segmentation import ImageLike

MAX_ANSWER_TOKENS = 256


@dataclass(frozen=True)
class ImageAnswer:
    """What a model said about an image, and the masks (H, W) bool that it drew while saying it, in their order."""

    text: str
    masks: tuple[np.ndarray, ...]


class AskingMixin:
    """Conversation half of `ARGenSeg`."""

    def ask(self, image: ImageLike, question: str, max_new_tokens: int = MAX_ANSWER_TOKENS) -> str:
        """The model's answer to a question about an image, in words. Errors are those of `segment`."""
        return self.answer(image, question, max_new_tokens).text

    def answer(self, image: ImageLike, question: str, max_new_tokens: int = MAX_ANSWER_TOKENS) -> ImageAnswer:
        """The same with the masks that the answer holds; the whole image is seen at once, also by a model of tiles."""
        self.check_tokenizer()
        config, picture = self.config, load_image(image)
        ids = build_question(self.tokenizer, question, config.system_message, config.num_image_tokens)
        pixels = image_to_pixels(stretch_contrast(picture, config.autocontrast), config)[None]
        generation = self.generate(pixels.to(self.device, self.dtype), ids, max_new_tokens)
        words = [i for i in generation.text_ids.tolist() if i < len(self.tokenizer)]
        masks = (picture_to_probability(drawn, picture.size) > 0.5 for drawn in picture_to_uint8(generation.pictures))
        return ImageAnswer(self.tokenizer.decode(words).strip(), tuple(masks))

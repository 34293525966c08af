"""Prompts: the question a model was trained on, as token ids, with the user's words made harmless."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from argenseg_model.errors import PromptError

if TYPE_CHECKING:
    from argenseg_model.tokenizer import Tokenizer

QUESTIONS = {
    "class": "<image>\n Please segment {} in this image.",
    "referring": (
        "<image>\n Given the following instructions: {}; please perform referring segmentation on this image."
    ),
    "reasoning": "<image>\n Please perform instance segmentation following the instructions below: {}.",
}
"""The release's wording of a question, by template."""

ANSWERS = {
    "class": "Sure, the segmentation result: ",
    "referring": "Sure, the segmentation result: ",
    "reasoning": "Sure, the segmentation results are: ",
}
"""What a trained model says before `<ge_start>`; forced, so that it is prefilled instead of decoded."""

MAX_PROMPT_CHARACTERS = 2000


def neutralise(text: str, special_tokens: Iterable[str]) -> str:
    """User text in which no special token's text is left: a space is put after the token's first character.

    What even so is one (a token of a single character, say) is removed.
    """
    special = sorted(filter(None, special_tokens), key=len, reverse=True)
    for token in special:
        text = text.replace(token, f"{token[0]} {token[1:]}")
    while found := [token for token in special if token in text]:
        text = text.replace(found[0], "")
    return text


def prompt_words(prompt: str) -> str:
    """The user's words in one line. Raises PromptError for what is no text, empty or too long."""
    if not isinstance(prompt, str):
        raise PromptError(f"a prompt is a text, not {prompt!r:.60}")
    # (half of a surrogate pair, as JSON can hold one, is no text that a tokenizer takes)
    words = " ".join(prompt.encode("utf-8", "replace").decode().split())
    if not words:
        raise PromptError("the prompt is empty: say what to segment, for example 'all nuclei'")
    if len(words) > MAX_PROMPT_CHARACTERS:
        raise PromptError(
            f"the prompt has {len(words)} characters; at most {MAX_PROMPT_CHARACTERS} are taken: say it shorter"
        )
    return words


def build_prompt(
    tokenizer: "Tokenizer", prompt: str, template: str, system_message: str, num_image_tokens: int
) -> list[int]:
    """Ids from `<s>` to the end of the forced preamble; `<ge_start>` follows.

    Args:
        prompt: the user's words, e.g. "all nuclei".
        template: "class", "referring" or "reasoning".
        system_message: text of the system turn; empty for none.
        num_image_tokens: `<IMG_CONTEXT>` tokens of the one image.

    Raises:
        PromptError: no text, an empty or too long one, or an unknown template.
    """
    if template not in QUESTIONS:
        raise PromptError(f"unknown template {template!r}: use one of {', '.join(QUESTIONS)}")
    question = QUESTIONS[template].format(neutralise(prompt_words(prompt), tokenizer.special_tokens))
    return _conversation(tokenizer, question, ANSWERS[template], system_message, num_image_tokens)


def build_question(tokenizer: "Tokenizer", question: str, system_message: str, num_image_tokens: int) -> list[int]:
    """Ids from `<s>` to where the answer begins, of a question in the user's own words about one image.

    Raises PromptError as `build_prompt` does.
    """
    words = neutralise(prompt_words(question), tokenizer.special_tokens)
    return _conversation(tokenizer, f"<image>\n{words}", "", system_message, num_image_tokens)


def _conversation(
    tokenizer: "Tokenizer", question: str, answer: str, system_message: str, num_image_tokens: int
) -> list[int]:
    image = "<img>" + "<IMG_CONTEXT>" * num_image_tokens + "</img>"
    system = f"<|im_start|>system\n{system_message}<|im_end|>\n" if system_message else ""
    return tokenizer.encode(
        f"{system}<|im_start|>user\n{question.replace('<image>', image, 1)}<|im_end|>\n<|im_start|>assistant\n{answer}"
    )

"""Prompts as text: cleaning, several in one attribute, and when two of them are the same question."""

import unicodedata
from collections.abc import Iterable

MAX_PROMPT_CHARACTERS = 500
SEPARATOR = ";"  # between several prompts: "every car; every van"


def clean_prompt(text: str) -> str:
    """One line without control characters, at most 500 characters."""
    visible = "".join(" " if unicodedata.category(character)[0] == "C" else character for character in text)
    return " ".join(visible.split())[:MAX_PROMPT_CHARACTERS].rstrip()


def split_prompts(text: str) -> tuple[str, ...]:
    """The prompts in a text, cleaned, each question once; empty ones are left out."""
    return distinct_prompts(map(clean_prompt, text.split(SEPARATOR)))


def distinct_prompts(prompts: Iterable[str]) -> tuple[str, ...]:
    """Those that are not empty, in their order, without those that ask what an earlier one asks."""
    distinct: dict[str, str] = {}
    for prompt in filter(None, prompts):
        distinct.setdefault(question_key(prompt), prompt)
    return tuple(distinct.values())


def question_key(prompt: str) -> str:
    """Equal for prompts that ask the same: case, forms of one character, and a full stop at the end do not count."""
    return unicodedata.normalize("NFKC", prompt).casefold().rstrip(" .!?") or prompt

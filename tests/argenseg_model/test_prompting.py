"""The questions' wording, and that a user's words stay words."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argenseg_model.errors import PromptError
from argenseg_model.prompting import ANSWERS, MAX_PROMPT_CHARACTERS, QUESTIONS, build_prompt, neutralise
from argenseg_model.tokenizer import Tokenizer, load_tokenizer
from tests.argenseg_model.test_tokenizer import OFFICIAL

SYSTEM = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
# The release's wording, written out once more
WORDING = {
    "class": ("\n Please segment a dog in this image.", "Sure, the segmentation result: "),
    "referring": (
        "\n Given the following instructions: a dog; please perform referring segmentation on this image.",
        "Sure, the segmentation result: ",
    ),
    "reasoning": (
        "\n Please perform instance segmentation following the instructions below: a dog.",
        "Sure, the segmentation results are: ",
    ),
}


@pytest.fixture(scope="module", params=["official", "byte_bpe"])
def tokenizer(request: pytest.FixtureRequest, byte_bpe: Tokenizer) -> Tokenizer:
    return load_tokenizer(OFFICIAL) if request.param == "official" else byte_bpe


@pytest.mark.parametrize("template", WORDING)
def test_the_wording_is_that_of_the_release(byte_bpe: Tokenizer, template: str) -> None:
    question, answer = WORDING[template]
    ids = build_prompt(byte_bpe, "a dog", template, SYSTEM, 3)
    image = "<img><IMG_CONTEXT><IMG_CONTEXT><IMG_CONTEXT></img>"
    assert byte_bpe.decode(ids, skip_special_tokens=False) == (
        f"<s><|im_start|>system\n{SYSTEM}<|im_end|>\n"
        f"<|im_start|>user\n{image}{question}<|im_end|>\n<|im_start|>assistant\n{answer}"
    )
    without_system = build_prompt(byte_bpe, "a dog", template, "", 3)
    assert byte_bpe.decode(without_system, skip_special_tokens=False).startswith("<s><|im_start|>user\n<img>")


def test_templates_are_the_three_of_the_interface() -> None:
    assert set(QUESTIONS) == set(ANSWERS) == set(WORDING)


def special_ids(tokenizer: Tokenizer, ids: list[int]) -> Counter[int]:
    return Counter(i for i in ids if i in set(tokenizer.special_tokens.values()))


def pieces_of_special_tokens(tokenizer: Tokenizer) -> st.SearchStrategy[str]:
    """Texts of special tokens, their beginnings and ends, and anything else, in any order."""
    names = [name for name in tokenizer.special_tokens if "visual" not in name] + ["<visual token 000001>", "<image>"]
    name = st.sampled_from(names)
    parts = st.builds(lambda name, at, end: (name[:at], name[at:])[end], name, st.integers(0, 9), st.booleans())
    others = st.text(max_size=4) | st.sampled_from(["{}", "{0}", "\n", "\ud800", "\x00"])
    return st.lists(name | parts | others).map("".join)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_no_words_become_special_tokens(tokenizer: Tokenizer, data: st.DataObject) -> None:
    prompt = data.draw(pieces_of_special_tokens(tokenizer))[:MAX_PROMPT_CHARACTERS]
    template = data.draw(st.sampled_from(sorted(QUESTIONS)))
    try:
        ids = build_prompt(tokenizer, prompt, template, SYSTEM, 4)
    except PromptError:
        assert not prompt.strip()
        return
    harmless = build_prompt(tokenizer, "a dog", template, SYSTEM, 4)
    assert special_ids(tokenizer, ids) == special_ids(tokenizer, harmless)


@settings(deadline=None)
@given(prompt=st.text(st.characters(exclude_characters="<[", exclude_categories=["Cs"]), max_size=40))
def test_other_words_are_left_alone(byte_bpe: Tokenizer, prompt: str) -> None:
    assert neutralise(prompt, byte_bpe.special_tokens) == prompt


@settings(deadline=None)
@given(special=st.lists(st.text("a b", max_size=3), max_size=5), text=st.text("a bc", max_size=20))
def test_any_special_tokens_are_neutralised(special: list[str], text: str) -> None:
    """Even tokens of one character, or with spaces in them: it ends, and none is left."""
    neutral = neutralise(text, special)
    assert not any(token in neutral for token in special if token)


@pytest.mark.parametrize("prompt", ["", "  \n\t ", None, 3, b"nuclei", ["nuclei"]])
def test_an_empty_prompt_and_what_is_no_text_are_refused(byte_bpe: Tokenizer, prompt: object) -> None:
    message = "the prompt is empty: say what to segment" if isinstance(prompt, str) else "a prompt is a text, not "
    with pytest.raises(PromptError, match=message):
        build_prompt(byte_bpe, prompt, "class", "", 1)  # type: ignore[arg-type]


def test_a_long_prompt_and_an_unknown_template_are_refused(byte_bpe: Tokenizer) -> None:
    build_prompt(byte_bpe, "x" * MAX_PROMPT_CHARACTERS, "class", "", 1)
    with pytest.raises(PromptError, match="has 2001 characters; at most 2000"):
        build_prompt(byte_bpe, "x" * (MAX_PROMPT_CHARACTERS + 1), "class", "", 1)
    with pytest.raises(PromptError, match="unknown template 'point': use one of class, referring, reasoning"):
        build_prompt(byte_bpe, "a dog", "point", "", 1)

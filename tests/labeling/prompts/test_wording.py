import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.prompts.wording import MAX_PROMPT_CHARACTERS, clean_prompt, distinct_prompts, question_key, split_prompts


@given(st.text())
def test_a_clean_prompt_is_one_short_printable_line(text: str) -> None:
    clean = clean_prompt(text)
    assert len(clean) <= MAX_PROMPT_CHARACTERS
    assert clean == clean_prompt(clean) == clean.strip()
    assert not any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in clean)
    clean.encode()


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("", ()),
        (" ; \x00;", ()),
        ("every car, also parked ones", ("every car, also parked ones",)),
        ("every car;every  van ; Every Car.; van", ("every car", "every van", "van")),
    ],
)
def test_a_semicolon_separates_prompts(text: str, prompts: tuple[str, ...]) -> None:
    assert split_prompts(text) == prompts


@pytest.mark.parametrize("other", ["every cell", "EVERY CELL", "Every cell.", "ｅvery cell", "every cell ?"])
def test_what_sounds_alike_is_one_question(other: str) -> None:
    assert distinct_prompts(["every cell", other, "every nucleus"]) == ("every cell", "every nucleus")


@given(st.lists(st.text(max_size=5)))
def test_distinct_prompts_keep_the_first_of_each_question_in_order(prompts: list[str]) -> None:
    distinct = distinct_prompts(prompts)
    keys = [question_key(prompt) for prompt in distinct]
    assert len(set(keys)) == len(keys) and set(keys) == {question_key(prompt) for prompt in prompts if prompt}
    assert [prompts.index(prompt) for prompt in distinct] == sorted(prompts.index(prompt) for prompt in distinct)

import pytest

from argenseg_model.known_names import KnownNames

NAMES = KnownNames(
    {"nuclei": ("nucleus", "nuclei", "cell"), "trees": ("tree", "trees"), "trunks": ("trunk", "tree trunk")},
    frozenset({"all", "the", "largest", "in", "left", "half"}),
)


@pytest.mark.parametrize(
    ("prompt", "names"),
    [("all nuclei", ("nuclei",)), ("The largest NUCLEUS.", ("nuclei",)), ("tree trunk", ("trunks",)),
     ("the tree, all nuclei", ("trees", "nuclei"))],
)  # fmt: skip
def test_a_prompt_of_taught_names_and_words_is_known(prompt, names):
    known = NAMES.look_up(prompt)
    assert (known.is_known, known.names, known.unknown, known.nearest) == (True, names, (), ())
    assert all(form in prompt.lower() for form in known.forms)


def test_a_word_that_was_not_taught_is_named_with_the_nearest_names():
    known = NAMES.look_up("all nucleii in the left half")
    assert (known.is_known, known.unknown, known.nearest[0]) == (False, ("nucleii",), "nuclei")
    assert str(known) == "the model was not taught 'nucleii'; it knows, for example, nuclei, trees, trunks"


@pytest.mark.parametrize("prompt", ["alle Zellkerne", "qwrtz", "所有细胞核", "all", "the dog left of the nuclei"])
def test_other_languages_nonsense_and_prompts_without_a_thing_are_not_known(prompt):
    assert not NAMES.look_up(prompt).is_known


def test_a_model_without_a_list_of_names_knows_everything():
    assert KnownNames({}, frozenset()).look_up("all dogs").is_known


def test_what_was_looked_up_before_is_told_at_once_and_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("argenseg_model.known_names._MOST_KEPT", 3)
    names = KnownNames({"dogs": ["dog", "dogs"]}, frozenset({"all"}))
    first = names.look_up("all dogz")
    assert names.look_up("all dogz") is first and not first.is_known
    for number in range(10):
        assert names.look_up(f"all {number}").unknown == (str(number),)
    assert len(names._looked_up) <= 3
    long = "dogs " * 100
    assert names.look_up(long).is_known and long not in names._looked_up

import numpy as np
import pytest

from argenseg_model.scenes.vocabulary import COLOURS, FOREIGN_OBJECTS, SHAPES
from recipes.starter.asking import PICTURE, ask, soft, some_of
from recipes.starter.cache import scene_view
from recipes.starter.corpus import prompt_corpus
from recipes.starter.names import NAMES, SETS, UNMARKED, surely_absent
from recipes.starter.nuclei import NUCLEI_PROMPTS
from recipes.starter.pictures import NUCLEI, Picture, microscope_images, of_split, photographs
from recipes.starter.views import SIDE, make_view


def field(sizes):
    """A dark picture with bright squares of these sides, one in each quarter: top left, top right, bottom left."""
    image, numbers = np.full((200, 200, 3), 20, np.uint8), np.zeros((200, 200), np.uint16)
    for number, (size, (x, y)) in enumerate(zip(sizes, ((30, 30), (130, 30), (30, 130)), strict=False), 1):
        numbers[y : y + size, x : x + size] = number
    image[numbers > 0] = 180
    return Picture(NUCLEI, "field", image, {"nucleus": numbers})


def test_a_view_keeps_picture_and_objects_together():
    """Cut, turned and exposed anew, nuclei stay brighter than what is around them, or darker where they are stained."""
    stained = 0
    for seed in range(60):
        image, view = make_view(np.random.default_rng(seed), field((40, 50, 30)))
        assert image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8
        inside = view.labels("nucleus") > 0
        if 0.02 < inside.mean() < 0.98:
            contrast = image[inside].mean() - image[~inside].mean()
            assert contrast < 0 if view.is_stained else contrast > 0
        stained += view.is_stained
    assert 8 < stained < 30


def test_words_choose_the_objects_that_they_name():
    _, view = make_view(np.random.default_rng(0), field((40, 60, 20)), is_plain=True)
    numbers = view.labels("nucleus")
    answers = {
        "the largest nucleus": numbers == 2,
        "the smallest nucleus": numbers == 3,
        "the rightmost nucleus": numbers == 2,
        "nuclei in the left half": (numbers == 1) | (numbers == 3),
        "nuclei in the bottom half": numbers == 3,
        "the two largest nuclei": (numbers == 1) | (numbers == 2),
        "all nuclei but the largest": (numbers == 1) | (numbers == 3),
    }
    seen = set()
    for seed in range(800):
        question = some_of(np.random.default_rng(seed), view, "nucleus")
        if (prompt := question.prompt) in answers:
            seen.add(prompt)
            assert np.array_equal(question.mask, soft(answers[prompt])), prompt
    assert seen == set(answers)


def test_what_is_absent_is_never_what_the_view_holds_or_may_hold():
    _, view = make_view(np.random.default_rng(0), field((40, 60, 20)), is_plain=True)
    absent = [q for seed in range(100) for q in ask(np.random.default_rng(seed), view, 4) if q.kind == "absent"]
    assert 60 < len(absent) < 180
    assert all(not q.mask.any() and "nucle" not in q.prompt.lower() for q in absent)


@pytest.mark.parametrize("set_name", SETS)
def test_no_set_is_asked_for_its_own_names_as_those_of_others(set_name):
    assert not set(surely_absent(set_name)) & set(SETS[set_name])
    assert surely_absent(set_name) and all(name in NAMES for name in (*SETS[set_name], *UNMARKED))


def test_scenes_are_asked_about_what_they_show():
    image, view = scene_view(np.random.default_rng(0))
    questions = ask(np.random.default_rng(0), view, 6)
    assert image.shape == (SIDE, SIDE, 3) and len(questions) == 6
    assert any(q.mask.any() for q in questions) and all(q.mask.shape == (PICTURE, PICTURE) for q in questions)


def test_of_some_scenes_half_of_the_questions_are_about_what_is_absent():
    views = [scene_view(np.random.default_rng(seed))[1] for seed in range(12)]
    asked = [q for seed, view in enumerate(views) for q in ask(np.random.default_rng(seed), view, 4)]
    assert 0.35 < np.mean([not q.mask.any() for q in asked]) < 0.65


def test_a_view_around_a_name_shows_it_and_one_of_tissue_is_darker_where_nuclei_are():
    shown = []
    for seed in range(30):
        image, view = make_view(np.random.default_rng(seed), field((40, 50, 30)), around="nucleus", look="tissue")
        shown.append("nucleus" in view.objects)
        inside = view.labels("nucleus") > 0 if shown[-1] else np.zeros((SIDE, SIDE), bool)
        if 0.02 < inside.mean() < 0.98:
            assert view.is_stained and image[inside].mean() < image[~inside].mean()
    assert sum(shown) >= 27


def test_a_tenth_of_the_training_pictures_is_kept_back_for_choosing_settings():
    split = {name: of_split(list(range(25)), name) for name in ("train", "validation", "test")}
    assert split["validation"] == [9, 19] and sorted(split["train"] + split["validation"]) == split["test"]


def test_pictures_hold_their_objects_apart(photos_dir, nuclei_dir):
    picture = list(photographs(photos_dir / "animal", "train", 0.001))[1]
    assert set(picture.objects) == {"deer", "turtle"} and picture.image.shape == (120, 160, 3)
    assert picture.image[picture.objects["deer"] > 0].mean() < picture.image[picture.objects["turtle"] > 0].mean()
    [nuclei] = microscope_images(nuclei_dir, "test", "fluorescence", 0.001)
    assert nuclei.objects["nucleus"].max() == 12 * 256  # 16 bits are read


def test_the_corpus_holds_every_word_and_repeats_itself():
    corpus = prompt_corpus(0, 500)
    assert corpus == prompt_corpus(0, 500) != prompt_corpus(1, 500)
    text = " ".join(corpus)
    for word in (*COLOURS, *SHAPES, *FOREIGN_OBJECTS, *NUCLEI_PROMPTS, *(n.wordings[0][1] for n in NAMES.values())):
        assert word in text
    assert all(corpus)

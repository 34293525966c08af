import json

import numpy as np
import pytest

from argenseg_model import ARGenSeg
from argenseg_model.chosen_objects import choice_of
from argenseg_model.known_names import KnownNames
from argenseg_model.score_calibration import KINDS, chance, curve_of, evidence, kind_of
from argenseg_model.starter import STARTER_DIR
from argenseg_model.tokenizer import Tokenizer
from tests.argenseg_model.conftest import small_model

KNOWN = KnownNames({"nuclei": ["nucleus", "nuclei"], "circles": ["circle", "circles"]},
                   frozenset({"all", "the", "find", "largest", "red", "left", "of", "in", "half"}))  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("all nuclei", "name"), ("Find the nucleus.", "name"), ("the largest nucleus", "choice"),
        ("nuclei in the left half", "choice"), ("all red circles", "described"), ("red", "unknown"),
        ("the circle left of the nucleus", "described"), ("all giraffes", "unknown"),
    ],
)  # fmt: skip
def test_a_prompt_is_of_the_kind_that_its_words_say(prompt, kind):
    known = KNOWN.look_up(prompt)
    choice = choice_of(prompt, known.forms[0]) if len(known.forms) == 1 else None
    assert kind_of(prompt, known, choice) == kind


def test_a_chance_grows_with_certainty_and_with_how_clearly_a_mask_is_drawn():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    faint, clear = (np.where(mask, np.float32(value), np.float32(0.02)) for value in (0.6, 0.95))
    curve = [-1.0, 0.5, 0.5]
    chances = [chance(curve, evidence(*given, mask)) for given in ((0.1, faint), (0.1, clear), (0.5, clear))]
    assert 0 < chances[0] < chances[1] < chances[2] < 1
    assert chance(curve, evidence(0.0, faint, mask)) > 0 and chance(curve, evidence(1.0, clear, mask)) < 1


def test_what_is_empty_has_a_curve_of_its_own():
    curves = {"name drawn": [1.0, 0, 0], "name empty": [-1.0, 0, 0]}
    assert curve_of(curves, "name", np.ones((2, 2), bool)) == [1.0, 0, 0]
    assert curve_of(curves, "name", np.zeros((2, 2), bool)) == [-1.0, 0, 0]
    assert curve_of(curves, "described", np.ones((2, 2), bool)) is None


def test_a_score_is_what_the_models_curves_make_of_its_certainty(byte_bpe: Tokenizer) -> None:
    names = {"nuclei": ["nucleus", "nuclei"]}
    image = np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)
    before = small_model(byte_bpe, known_names=names, known_words=["all"]).segment(image, ["all nuclei", "a dog"])[0]
    curves = {"name drawn": [0.3, 0.5, 0.5], "name empty": [0.2, 0.5, 0.5]}
    model = small_model(byte_bpe, known_names=names, known_words=["all"], score_curves=curves)
    nuclei, dog = model.segment(image, ["all nuclei", "a dog"])[0]
    curve = curves["name drawn" if nuclei.mask.any() else "name empty"]
    features = evidence(nuclei.certainty, nuclei.probability, nuclei.mask)
    assert nuclei.score == pytest.approx(chance(curve, features)) and nuclei.score != nuclei.certainty
    assert nuclei.certainty == before[0].score == before[0].certainty
    assert dog.score == dog.certainty  # no curve was fitted for unknown words


def test_kinds_of_prompts_may_have_a_least_certainty_of_their_own(byte_bpe: Tokenizer) -> None:
    names = {"nuclei": ["nucleus", "nuclei"]}
    image = np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)
    prompts = ["all nuclei", "a dog"]
    given = {"known_names": names, "known_words": ["all"]}
    drawn = small_model(byte_bpe, **given).segment(image, prompts)[0]
    strict = small_model(byte_bpe, **given, least_scores={"unknown": 1.0}).segment(image, prompts)[0]
    assert drawn[0].mask.any() and drawn[1].mask.any()
    assert np.array_equal(strict[0].mask, drawn[0].mask) and not strict[1].mask.any()


def test_the_shipped_model_says_what_its_scores_mean():
    """Every kind of prompt about what it knows has curves, for what was drawn; a sure nucleus is likely a good one."""
    config = json.loads((STARTER_DIR / "config.json").read_text())
    assert {f"{kind} drawn" for kind in KINDS if kind != "unknown"} <= set(config["score_curves"])
    model = ARGenSeg.from_pretrained("starter")
    image = np.zeros((128, 128, 3), np.uint8)
    image[40:80, 40:80] = 200
    result = model.segment(image, "all nuclei")[0][0]
    assert 0 < result.score < 1 and result.score != result.certainty

import numpy as np
import pytest

from argenseg_model.scenes import draw_scene
from argenseg_model.scenes.attributes import NAMED, SEEN, named, seen


@pytest.mark.parametrize("seed", range(20))
def test_every_pixel_of_an_object_shows_one_colour_one_shape_and_one_size(seed):
    scene = draw_scene(np.random.default_rng(seed), 64, 3)
    shown = seen(scene)
    assert shown.shape == (len(SEEN), 64, 64)
    objects = scene.union(scene.objects)
    assert np.array_equal(shown.sum(0), 3 * objects)
    for scene_object in scene.objects:
        assert shown[SEEN.index(scene_object.shape)][scene_object.mask].all()


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("all the red circles", {"red", "circle"}),
        ("Navy disc to the left of the rhombus.", {"blue", "circle", "left", "relation", "diamond"}),
        ("everything except the tiny donuts", {"except", "small", "ring"}),
        ("the biggest violet thing", {"largest", "purple"}),
        ("cell nuclei", {"nucleus"}),
        ("the uppermost star", {"top", "superlative", "star"}),
        ("every car", set()),
        ("scarlet ovals and lime crosses", {"red", "oval", "and", "green", "cross"}),
    ],
)
def test_what_a_prompt_names(prompt, expected):
    assert {name for name, there in zip(NAMED, named(prompt), strict=True) if there} == expected

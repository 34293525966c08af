import numpy as np
import pytest

from argenseg_model.scenes import LEVELS, draw_scene, scene_sample
from argenseg_model.scenes.vocabulary import COLOURS, SHAPES

COUNTS = {
    0: {1},
    1: {1, 2, 3, 4},
    2: {1, 2, 3, 4, 5},
    3: {1, 2, 3, 4, 5, 6},
}  # a full picture may hold fewer than wanted


@pytest.mark.parametrize("level", LEVELS)
def test_the_seed_determines_the_scene(level):
    first, again = (scene_sample(np.random.default_rng(7), level=level) for _ in range(2))
    other = scene_sample(np.random.default_rng(8), level=level)
    assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)
    assert first.prompt == again.prompt
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("level", LEVELS)
def test_a_scene_is_as_promised(level):
    for seed in range(60):
        scene = draw_scene(np.random.default_rng(seed), 128, level)
        assert scene.image.shape == (128, 128, 3) and scene.image.dtype == np.uint8
        assert len(scene.objects) in COUNTS[level]
        for scene_object in scene.objects:
            assert scene_object.shape in SHAPES and scene_object.shade in COLOURS[scene_object.colour]
            assert scene_object.mask.shape == (128, 128) and scene_object.mask.dtype == bool
            assert scene_object.area > 40


def test_no_pixel_belongs_to_two_objects():
    for seed in range(60):
        scene = draw_scene(np.random.default_rng(seed))
        assert np.sum([o.mask for o in scene.objects], axis=0).max() <= 1


def test_a_mask_lies_on_its_object():
    """The pixels inside a mask have the object's colour: what the mask calls red is red in the picture."""
    for seed in range(80):
        scene = draw_scene(np.random.default_rng(seed), level=1)
        for scene_object in scene.objects:
            colour = np.median(scene.image[scene_object.mask], axis=0)
            named = np.array(COLOURS[scene_object.colour][scene_object.shade])
            assert np.linalg.norm(colour - named) < 45, (seed, scene_object.shade, colour)


def test_a_mask_has_its_shape():
    """Area relative to the bounding box tells the shapes apart, roughly."""
    fill = {
        "circle": (0.74, 0.82),
        "ring": (0.4, 0.62),
        "star": (0.25, 0.5),
        "diamond": (0.4, 0.6),
        "square": (0.6, 1.0),
    }
    seen = set()
    for seed in range(300):
        scene_object = draw_scene(np.random.default_rng(seed), level=0).objects[0]
        rows, columns = np.nonzero(scene_object.mask)
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        low, high = fill.get(scene_object.shape, (0.2, 1.0))
        assert low <= scene_object.area / box <= high, (seed, scene_object.shape, scene_object.area / box)
        assert (
            abs(rows.mean() + 0.5 - scene_object.y * 128) < 4 and abs(columns.mean() + 0.5 - scene_object.x * 128) < 4
        )
        seen.add(scene_object.shape)
    assert seen == set(SHAPES)


def test_size_words_leave_a_gap():
    """Among objects of one shape, every large one is well over every small one."""
    areas: dict[tuple[str, str], list[int]] = {}
    for seed in range(250):
        for scene_object in draw_scene(np.random.default_rng(seed), level=0).objects:
            areas.setdefault((scene_object.shape, scene_object.size), []).append(scene_object.area)
    compared = [s for s in SHAPES if (s, "small") in areas and (s, "large") in areas]
    assert len(compared) > 5
    for shape in compared:
        assert min(areas[shape, "large"]) > 2 * max(areas[shape, "small"])


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="level"):
        draw_scene(np.random.default_rng(0), level=4)

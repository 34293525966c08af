"""What is kept of an image: another question gets the same answer with less work, and never another image's."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from argenseg_model import ARGenSeg, SegmentationResult
from argenseg_model.prefix_cache import PrefixCache, prefix_key
from argenseg_model.tokenizer import Tokenizer
from tests.argenseg_model.conftest import small_model
from tests.argenseg_model.test_generation import counted
from tests.argenseg_model.test_segmentation import PROMPTS, picture

IMAGE = picture(40, 70)
SCALES = 3


@pytest.fixture(scope="module", params=["squash", "tile"])
def model(request: pytest.FixtureRequest, byte_bpe: Tokenizer) -> ARGenSeg:
    return small_model(byte_bpe, image_mode=request.param, tile_overlap=8 if request.param == "tile" else 0)


@pytest.fixture
def keeping(model: ARGenSeg) -> Iterator[ARGenSeg]:
    model.prefix_cache = PrefixCache(2**20)
    yield model
    model.prefix_cache = PrefixCache()


def plain(model: ARGenSeg, image: np.ndarray, prompts: list[str], template: str = "class") -> list[SegmentationResult]:
    """The answers of the model when it keeps nothing."""
    cache, model.prefix_cache = model.prefix_cache, PrefixCache()
    (results,) = model.segment(image, prompts, template)
    model.prefix_cache = cache
    return results


def assert_identical(a: list[SegmentationResult], b: list[SegmentationResult]) -> None:
    for one, other in zip(a, b, strict=True):
        assert (one.prompt, one.score) == (other.prompt, pytest.approx(other.score, rel=1e-5))
        for name in ("tokens", "mask", "probability"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("template", ["class", "referring", "reasoning"])
def test_answers_are_the_same_with_and_without_it(keeping: ARGenSeg, template: str) -> None:
    for prompts in (PROMPTS[:1], PROMPTS[:1], PROMPTS[1:], PROMPTS, [], ["0 cells"], ["."]):
        assert_identical(keeping.segment(IMAGE, prompts, template)[0], plain(keeping, IMAGE, prompts, template))
    assert len({result.tokens.tobytes() for result in plain(keeping, IMAGE, PROMPTS, template)}) > 1  # they do differ


def test_another_prompt_takes_the_work_of_the_prompt_only(keeping: ARGenSeg) -> None:
    keeping.segment(IMAGE, PROMPTS)
    held = keeping.prefix_cache.bytes
    with counted(keeping) as calls:
        keeping.segment(IMAGE, "another")
    assert calls == {"llm": 1 + SCALES, "picture": 1}
    assert keeping.prefix_cache.bytes == held


def test_a_changed_image_is_another(keeping: ARGenSeg) -> None:
    keeping.segment(IMAGE, PROMPTS)
    changed = IMAGE.copy()
    changed[20, 35, 1] ^= 1
    with counted(keeping) as calls:
        (results,) = keeping.segment(changed, PROMPTS)
    assert calls["vision"] == 1
    assert_identical(results, plain(keeping, changed, PROMPTS))
    wide, high = Image.fromarray(IMAGE), Image.fromarray(IMAGE.reshape(70, 40, 3))
    assert wide.tobytes() == high.tobytes()
    assert len({prefix_key(wide, [1]), prefix_key(high, [1]), prefix_key(wide, [2]), prefix_key(wide, [1])}) == 3


def test_another_question_has_another_prefix(keeping: ARGenSeg) -> None:
    keeping.segment(IMAGE, PROMPTS)
    with counted(keeping) as calls:
        keeping.segment(IMAGE, PROMPTS, template="referring")
    assert calls["vision"] == 1


def test_nothing_is_kept_of_many_images_or_by_default(keeping: ARGenSeg, small: ARGenSeg) -> None:
    keeping.segment([IMAGE, picture(40, 70, 1)], PROMPTS)
    small.segment(IMAGE, PROMPTS)
    assert keeping.prefix_cache.bytes == small.prefix_cache.bytes == 0


def test_tiles_that_look_the_same_are_kept_once(keeping: ARGenSeg) -> None:
    blank = np.full((90, 70, 3), 7, np.uint8)
    (results,) = keeping.segment(blank, PROMPTS)
    one = keeping.prefix_cache.bytes
    keeping.segment(blank[:32, :32], PROMPTS)
    assert 0 < keeping.prefix_cache.bytes <= 2 * one  # squashed, the small one is another picture
    assert_identical(results, plain(keeping, blank, PROMPTS))


def test_of_an_image_that_is_too_large_some_tiles_are_kept(byte_bpe: Tokenizer) -> None:
    model = small_model(byte_bpe, image_mode="tile", tile_overlap=8)
    model.prefix_cache = PrefixCache(2**20)
    model.segment(picture(32, 32), "a dog")
    tile = model.prefix_cache.bytes
    model.prefix_cache.max_bytes = 4 * tile + 1
    for _ in range(3):
        (results,) = model.segment(IMAGE, PROMPTS)  # six tiles
        assert model.prefix_cache.bytes == 4 * tile
        assert_identical(results, plain(model, IMAGE, PROMPTS))
    seen: list[int] = []
    with model.vision_model.register_forward_hook(lambda *call: seen.append(len(call[2].last_hidden_state))):
        model.segment(IMAGE, PROMPTS)
    assert seen == [6 - 4]


def test_a_tokenizer_may_join_a_word_to_the_question(keeping: ARGenSeg, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = plain(keeping, IMAGE, PROMPTS)
    ids = keeping._prefix_ids("class")
    monkeypatch.setattr(keeping, "_prefix_ids", lambda _: [*ids[:-1], ids[-1] + 1])
    for _ in range(2):
        assert_identical(keeping.segment(IMAGE, PROMPTS)[0], expected)


def test_what_was_used_longest_ago_leaves_first() -> None:
    cache, hundred = PrefixCache(250), torch.zeros(100, dtype=torch.uint8)
    for key in "ab":
        cache.begin_call()
        cache.put(key, hundred)
    cache.begin_call()
    assert cache.get("a") is hundred
    cache.begin_call()
    cache.put("c", hundred)
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]
    assert cache.bytes == 200
    cache.put("d", hundred)  # "a" and "c" are this call's
    cache.begin_call()
    cache.put("too large", torch.zeros(251, dtype=torch.uint8))
    cache.put("c", hundred)  # is there
    assert cache.get("d") is cache.get("too large") is None
    assert cache.bytes == 200
    cache.clear()
    assert cache.bytes == 0 and cache.get("a") is None

"""The model process keeps what it computed of an image for the next prompt, as long as there is memory for it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from argenseg_model import ARGenSeg
from argenseg_model.prefix_cache import PrefixCache
from worker.gpu_worker import model_child
from worker.gpu_worker.model_child import Failure, ModelOptions, Question, Segmenter, load_argenseg


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.full((100, 120, 3), 40, np.uint8)
    pixels[30:60, 40:70] = 220
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


@pytest.fixture(autouse=True)
def no_other_caches() -> Iterator[None]:
    model_child._prefix_caches.clear()
    yield
    model_child._prefix_caches.clear()


@pytest.mark.parametrize(("cache_bytes", "looks"), [(None, 1), (0, 2)])
def test_a_typed_prompt_does_not_look_at_the_image_again(
    image: Path, cache_bytes: int | None, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    features = ARGenSeg.image_features
    segment = load_argenseg(ModelOptions("starter", "cpu", 10**6, prefix_cache_bytes=cache_bytes))
    monkeypatch.setattr(ARGenSeg, "image_features", lambda *args: seen.append(args) or features(*args))
    [[(opened, _)]], [[(typed, _)]] = (segment([Question(image, (prompt,))]) for prompt in ("all nuclei", "objects"))
    assert opened.shape == typed.shape == (100, 120)
    assert len(seen) == looks


def tight(room: int, cache: PrefixCache) -> Segmenter:
    """Runs out of memory, for real, when the cache and the questions (a byte each) take more than `room`; keeps a byte.

    A real one keeps what it has looked at before it runs out, too.
    """

    def segment(questions: Sequence[Question]) -> list[list[tuple[np.ndarray, float]]]:
        cache.begin_call()
        cache.put(questions[0].prompts, torch.zeros(1, dtype=torch.uint8))
        if cache.bytes + len(questions) > room:
            np.empty(2**60, np.uint8)
        return [[(np.ones((2, 2), bool), 0.5)] for _ in questions]

    return segment


def test_when_memory_runs_out_what_is_kept_goes_first(image: Path) -> None:
    cache = PrefixCache(10)
    model_child._prefix_caches.add(cache)
    segment = tight(3, cache)
    for prompt in ("a", "b"):
        assert model_child._answer(segment, [Question(image, (prompt,))])
    assert cache.bytes == 2
    answer = model_child._answer(segment, [Question(image, ("c",))])
    assert isinstance(answer, list) and answer[0][0].score == 0.5
    assert (cache.bytes, cache.max_bytes) == (0, 5)  # it could run out again


def test_what_is_kept_is_not_to_blame_for_questions_that_are_too_many(image: Path) -> None:
    cache = PrefixCache(10)
    model_child._prefix_caches.add(cache)
    segment = tight(3, cache)
    model_child._answer(segment, [Question(image, ("a",))])
    answer = model_child._answer(segment, [Question(image, (str(number),)) for number in range(4)])
    assert isinstance(answer, Failure) and answer.about == "memory"
    assert (cache.bytes, cache.max_bytes) == (0, 10)


def test_another_model_is_loaded_into_the_memory_of_what_was_kept() -> None:
    cache = PrefixCache(10)
    model_child._prefix_caches.add(cache)
    cache.put("a", torch.zeros(1))
    model_child._Models(ModelOptions("none", "cpu", 10**6, loader="tests.worker.segmenters:threshold")).load("none")
    assert (cache.bytes, cache.max_bytes) == (0, 10)

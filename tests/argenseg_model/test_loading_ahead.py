"""Images that are decoded while the model works: in order, few at a time, errors in their places."""

import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from argenseg_model import loading_ahead
from argenseg_model.errors import ImageError
from argenseg_model.images import load_image
from argenseg_model.loading_ahead import MAX_AHEAD, load_ahead


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    for number in range(12):
        Image.new("RGB", (10 + number, 10)).save(tmp_path / f"{number}.png")
    return [str(tmp_path / f"{number}.png") for number in range(12)]


def test_pictures_come_in_the_order_of_their_paths(paths: list[str]) -> None:
    assert [(path, picture().width) for path, picture in load_ahead(paths, load_image)] == [
        (path, 10 + number) for number, path in enumerate(paths)
    ]


def test_an_error_is_raised_where_its_picture_is_asked_for(paths: list[str]) -> None:
    Path(paths[3]).write_bytes(b"no image")
    failed = []
    for path, picture in load_ahead(paths, load_image):
        try:
            picture()
        except ImageError:
            failed.append(path)
    assert failed == [paths[3]]


def test_few_pictures_are_loaded_before_they_are_asked_for(paths: list[str]) -> None:
    loaded: list[str] = []

    def load(path: str) -> Image.Image:
        loaded.append(path)
        return load_image(path)

    for number, (_, picture) in enumerate(load_ahead(paths, load), 1):
        picture()
        time.sleep(0.01)
        assert len(loaded) <= number + MAX_AHEAD


def test_the_next_picture_is_decoded_while_one_is_at_work(paths: list[str]) -> None:
    second_is_there = threading.Event()

    def load(path: str) -> Image.Image:
        if path == paths[1]:
            second_is_there.set()
        return load_image(path)

    for _, picture in load_ahead(paths, load):
        picture()
        assert second_is_there.wait(10)


def test_large_pictures_wait_for_their_turn(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading_ahead, "MAX_PIXELS_AHEAD", 100)  # each has as many or more
    loaded: list[str] = []

    def load(path: str) -> Image.Image:
        loaded.append(path)
        return load_image(path)

    for number, (_, picture) in enumerate(load_ahead(paths, load), 1):
        picture()
        assert len(loaded) <= number + 1


def test_threads_end_when_nobody_asks_further(paths: list[str]) -> None:
    pictures = load_ahead(paths, load_image)
    next(pictures)
    pictures.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_no_paths_give_nothing() -> None:
    assert list(load_ahead([], load_image)) == []

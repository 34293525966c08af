"""What an answer waits for, and what it does not wait for."""

import threading
import time
from collections.abc import Iterator

import pytest

from backend.web.background import Background
from labeling.errors import StoreError
from tests.backend.web.recorded import eventually


@pytest.fixture
def background() -> Iterator[Background]:
    background = Background(threads=2)
    yield background
    background.close()


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    go_on = threading.Event()
    yield go_on
    go_on.set()


def test_a_result_or_none(background: Background, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> int:
        raise StoreError("The disk is full.")

    assert background.call(1, max, 3, 5) == 5
    assert background.call(1, fail) is None
    eventually(lambda: "fail is left" in caplog.text)
    assert "The disk is full." in caplog.text and "Traceback" not in caplog.text


def test_what_hangs_is_not_waited_for_and_holds_up_nothing_else(background: Background, go_on: threading.Event) -> None:
    """As when Redis swallows packets: the database is asked all the same."""
    began = time.monotonic()
    for _ in range(4):  # more than there are threads
        assert background.call(0.1, go_on.wait) is None
    assert background.call(1, max, 3, 5) == 5
    assert time.monotonic() - began < 1


def test_a_hang_holds_few_arguments(background: Background, go_on: threading.Event) -> None:
    """An event may be tens of megabytes, and a database may hang for an hour."""
    begun = []

    def keep(event: object) -> None:
        begun.append(event)
        go_on.wait()

    for number in range(5):
        assert background.call(0.05, keep, number) is None
    go_on.set()
    assert background.call(1, max, 3, 5) == 5
    time.sleep(0.1)
    assert begun == [0, 1]


def test_nothing_begins_after_the_end(background: Background) -> None:
    """What is asked then is answered: a webhook's event goes to the spool folder."""
    assert background.call(1, max, 3, 5) == 5
    background.close()
    assert background.call(1, max, 3, 5) is None

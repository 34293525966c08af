"""What pages show of others: kept for a while, never waited for long."""

import threading
import time

import pytest

from backend.web.kept import Kept
from labeling.errors import LabelStudioError
from tests.backend.web.recorded import eventually


def test_what_is_found_at_once_is_shown_and_kept() -> None:
    looks = []
    kept = Kept(lambda: looks.append(1) or len(looks), max_age_s=60, empty=0)
    assert [kept.get(wait_s=5) for _ in range(3)] == [1, 1, 1] and looks == [1]


def test_what_takes_long_is_not_waited_for_and_comes_later() -> None:
    gate = threading.Event()
    kept = Kept(lambda: gate.wait(20) and "found", max_age_s=0, empty="nothing yet")
    began = time.monotonic()
    assert kept.get(wait_s=0.05) == "nothing yet" and kept.get(wait_s=0.05) == "nothing yet"
    assert time.monotonic() - began < 5
    gate.set()
    eventually(lambda: kept.get() == "found")


def test_one_looks_at_a_time() -> None:
    gate, looks = threading.Event(), []

    def look() -> int:
        looks.append(1)
        gate.wait(20)
        return len(looks)

    kept = Kept(look, max_age_s=0, empty=0)
    for _ in range(5):
        kept.get(wait_s=0.01)
    assert looks == [1]
    gate.set()


def test_an_outage_leaves_what_was_known() -> None:
    answers = iter(["known"])

    def look() -> str:
        for answer in answers:
            return answer
        raise LabelStudioError("It is down.")

    kept = Kept(look, max_age_s=0, empty="nothing")
    assert [kept.get(wait_s=5) for _ in range(3)] == ["known"] * 3


def test_without_a_thread_what_was_known_is_shown_and_the_next_look_is_in_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Kept(lambda: "found", max_age_s=0, empty="nothing")

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert kept.get() == "nothing"
    assert kept.get(wait_s=5) == "found"

"""What is wrong all the time is said a few times a minute."""

import logging

import pytest

from labeling import log_repeats
from labeling.log_repeats import MOST, NoRepeats


def record(message: str, *args: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("worker", level, __file__, 1, message, args, None)


def test_warnings_of_one_kind_pass_ten_times_a_minute_and_others_beside_them() -> None:
    repeats = NoRepeats()
    passed = [repeats.filter(record("event %s is lost", number)) for number in range(10_000)]
    assert sum(passed) == MOST
    assert repeats.filter(record("something else"))
    assert all(repeats.filter(record("done", level=logging.INFO)) for _ in range(100))


def test_the_next_minute_says_how_many_were_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    repeats, now = NoRepeats(), [100.0]
    monkeypatch.setattr(log_repeats.time, "monotonic", lambda: now[0])
    for number in range(25):
        repeats.filter(record("event %s is lost", number))
    now[0] += 61
    again = record("event %s is lost", 99)
    assert repeats.filter(again)
    assert again.getMessage() == "event 99 is lost (15 more like this were not logged.)"

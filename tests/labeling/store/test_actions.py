"""The record of writing actions."""

from datetime import UTC, datetime, timedelta

from labeling.store import Store


def test_what_people_did_is_kept_with_time_name_and_reason_the_newest_first(store: Store) -> None:
    store.actions.add("exclude", "task 4, project 1", who="ada", reason="the image is blurred")
    store.actions.add("promote", "starter-1.1, project 1", who="10.0.0.7")
    newest, oldest = store.actions.latest(5)
    assert (newest.action, newest.subject, newest.who, newest.reason) == (
        "promote", "starter-1.1, project 1", "10.0.0.7", "",
    )  # fmt: skip
    assert (oldest.who, oldest.reason) == ("ada", "the image is blurred")
    assert datetime.now(UTC) - newest.done_at < timedelta(minutes=1)
    assert store.actions.latest(1) == [newest]


def test_a_name_of_any_length_is_kept_as_far_as_there_is_room(store: Store) -> None:
    store.actions.add("stop", "run 3", who="x" * 1000)
    assert len(store.actions.latest(1)[0].who) == 200

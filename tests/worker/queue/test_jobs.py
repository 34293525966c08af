import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from labeling.predictions import Prediction
from labeling.store import PredictionRequest, Store
from tests.worker.conftest import LABEL_STUDIO_URL
from worker.context import JobContext
from worker.queue import jobs, sending
from worker.queue.sending import LEASE_S, sending_key


class SlowLabelStudio:
    """Takes the first prediction only once `may_answer` is set."""

    url = LABEL_STUDIO_URL

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.is_sending, self.may_answer = threading.Event(), threading.Event()

    def list_predictions(self, task_id: int) -> list[dict[str, Any]]:
        return []

    def create_prediction(self, task_id: int, prediction: Prediction) -> int:
        self.sent.append(task_id)
        if len(self.sent) == 1:
            self.is_sending.set()
            assert self.may_answer.wait(30)
        return len(self.sent)


@pytest.fixture
def ready(store: Store, want: Callable[..., PredictionRequest]) -> int:
    wanted = want()
    store.predictions.finish(wanted.id, Prediction([], 0.5, wanted.model_version))
    return wanted.id


def test_two_publishers_of_one_row_send_it_once(context: JobContext, store: Store, ready: int) -> None:
    label_studio = SlowLabelStudio()
    context = replace(context, client=label_studio)  # type: ignore[arg-type]
    first = threading.Thread(target=jobs.publish, args=(context, ready))
    first.start()
    assert label_studio.is_sending.wait(30)
    assert 0 < context.connection.ttl(sending_key(ready)) <= LEASE_S  # should the first one be killed
    assert jobs.publish(context, ready) == "ready"
    label_studio.may_answer.set()
    first.join()
    assert len(label_studio.sent) == 1 and store.predictions.get(ready).status == "published"
    assert not context.connection.exists(sending_key(ready))


def test_a_slow_sender_keeps_its_place_and_a_dead_one_does_not(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "LEASE_S", 0.6)
    with sending.only_sender(context.connection, 1) as is_only:
        assert is_only
        for _ in range(4):
            time.sleep(0.4)
            with sending.only_sender(context.connection, 1) as is_second:
                assert not is_second
    context.connection.set(sending_key(1), "somebody who was killed", px=300)
    with sending.only_sender(context.connection, 1) as is_only:
        assert not is_only
    time.sleep(0.4)
    with sending.only_sender(context.connection, 1) as is_only:
        assert is_only


def test_a_redis_that_is_down_keeps_nothing_from_being_sent(
    context: JobContext, store: Store, ready: int, tmp_path: Path
) -> None:
    label_studio = SlowLabelStudio()
    label_studio.may_answer.set()
    nothing = Redis(unix_socket_path=str(tmp_path / "nothing.sock"))
    context = replace(context, client=label_studio, connection=nothing)  # type: ignore[arg-type]
    assert jobs.publish(context, ready) == "published"

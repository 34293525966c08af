"""Tasks that were imported while nobody listened are predicted as their webhook would have had them predicted."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from labeling.errors import LabelStudioError
from labeling.store import Project, Store
from tests.worker.conftest import LABEL_STUDIO_URL
from tests.worker.label_studio_double import BEGAN, CONFIG, LabelStudioDouble
from worker.context import JobContext
from worker.events.process import process_event
from worker.queue.queues import GPU, PREDICT, live_rows
from worker.reconcile import project_sync, tasks_to_predict
from worker.reconcile.sync_outcome import SyncOutcome

HOOK = {
    "url": "http://user:secret@backend:9090/webhook",
    "is_active": True,
    "send_payload": True,
    "send_for_all_actions": True,
    "actions": [],
    "created_at": (BEGAN + timedelta(minutes=1)).isoformat(),
}


@dataclass
class Importing(LabelStudioDouble):
    """Tasks 1 to 3 are older than the webhook; `imported` are younger ones."""

    hooks: list[dict[str, Any]] = field(default_factory=lambda: [HOOK])
    predicted: set[int] = field(default_factory=set)
    created: dict[int, datetime] = field(default_factory=dict)

    def import_tasks(self, *task_ids: int) -> dict[str, Any]:
        """They come, and the clock goes on; the webhook that tells of them."""
        now = self._now()
        self._changed |= dict.fromkeys(task_ids, now)
        self.created |= dict.fromkeys(task_ids, now)
        self._now()
        tasks = [{"id": task_id, "data": self._task(task_id)["data"]} for task_id in task_ids]
        return {"action": "TASKS_CREATED", "tasks": tasks, "project": self._project()}

    def list_webhooks(self, project_id: int) -> list[dict[str, Any]]:
        return self.hooks

    def get_project(self, project_id: int) -> dict[str, Any]:
        return {**self._project(), "model_version": ""}

    def _task(self, task_id: int) -> dict[str, Any]:
        at = self.created.get(task_id, BEGAN).isoformat()
        return {**super()._task(task_id), "created_at": at, "total_predictions": int(task_id in self.predicted)}


@pytest.fixture
def label_studio() -> Importing:
    return Importing()


@pytest.fixture
def listening(context: JobContext, store: Store, label_studio: Importing) -> JobContext:
    """What has read all that there was, and is down then."""
    settings = context.settings.model_copy(update={"model": str(context.settings.data_dir)})
    label_studio.url = LABEL_STUDIO_URL
    store.projects.upsert(LABEL_STUDIO_URL, 5, CONFIG)
    listening = replace(context, settings=settings, client=label_studio)  # type: ignore[arg-type]
    assert sync(listening) == SyncOutcome(tasks=3)
    label_studio._now()
    return listening


def project_of(context: JobContext) -> Project:
    project = context.store.projects.find(5, LABEL_STUDIO_URL)
    assert project is not None
    return project


def sync(context: JobContext) -> SyncOutcome:
    outcome = project_sync.sync_project(context, project_of(context))
    assert outcome is not None
    return outcome


def wished(context: JobContext) -> set[int]:
    return context.store.requests.requested_tasks(project_of(context), range(1, 100))


def test_tasks_that_were_imported_while_nobody_listened_are_predicted(
    listening: JobContext, label_studio: Importing
) -> None:
    label_studio.import_tasks(4, 5)
    assert sync(listening).new_tasks == 2
    assert wished(listening) == {4, 5}, "those from before the webhook are nobody's row"
    assert len(live_rows(listening.connection, GPU, PREDICT)) == 2
    assert sync(listening).new_tasks == 0


def test_a_later_webhook_does_not_hide_those_that_were_missed(listening: JobContext, label_studio: Importing) -> None:
    label_studio.import_tasks(4)
    reported = label_studio.import_tasks(5)
    process_event(
        listening, listening.store.events.record("TASKS_CREATED", reported, label_studio_url=LABEL_STUDIO_URL)
    )
    assert wished(listening) == {5}
    assert sync(listening).new_tasks == 1 and wished(listening) == {4, 5}


def test_what_has_no_need_of_a_prediction_gets_none(listening: JobContext, label_studio: Importing) -> None:
    """It holds one, is annotated, erased, blind, or came this moment: its webhook may be on its way."""
    label_studio.import_tasks(4, 5, 6, 7)
    label_studio.predicted.add(4)
    label_studio.create(5)
    listening.store.erasure.erase(project_of(listening), "task", 6, "asked for")
    label_studio._changed[8] = label_studio.created[8] = label_studio.server_time()
    assert sync(listening).new_tasks == 1 and wished(listening) == {7}
    label_studio.import_tasks(9)
    blind = replace(listening, settings=listening.settings.model_copy(update={"blind_share": 1.0}))
    assert sync(blind).new_tasks == 0 and wished(listening) == {7}


@pytest.mark.parametrize(
    "change",
    [
        {"is_active": False},
        {"send_payload": False},
        {"send_for_all_actions": False, "actions": ["ANNOTATION_CREATED"]},
        {"url": "http://elsewhere/hook"},
        {"created_at": (BEGAN + timedelta(days=9)).isoformat()},
    ],
)
def test_where_no_webhook_would_have_told_nothing_is_predicted(
    listening: JobContext, label_studio: Importing, change: dict[str, Any]
) -> None:
    label_studio.hooks = [HOOK | change]
    label_studio.import_tasks(4)
    assert sync(listening).new_tasks == 0 and wished(listening) == set()


def test_webhooks_that_may_not_be_read_keep_no_annotation_from_being_read(
    listening: JobContext, label_studio: Importing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(project_id: int) -> list[dict[str, Any]]:
        raise LabelStudioError("Label Studio answered 403", status=403)

    monkeypatch.setattr(label_studio, "list_webhooks", refuse)
    label_studio.import_tasks(4)
    label_studio.create(1)
    assert sync(listening).changed == 1 and wished(listening) == set()


def test_a_large_import_is_put_to_work_in_several_syncs(
    listening: JobContext, label_studio: Importing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_to_predict, "_AT_MOST", 4)
    monkeypatch.setattr(project_sync, "OVERLAP", timedelta(0))
    label_studio.import_tasks(*range(4, 14))
    assert [sync(listening).new_tasks for _ in range(4)] == [5, 4, 1, 0]  # in pages of two, the first with task 3
    assert wished(listening) == set(range(4, 14))


def test_what_was_there_before_we_knew_the_project_is_not_predicted(
    listening: JobContext, label_studio: Importing
) -> None:
    """The older webhook is of another tool, and its address ends as ours does."""
    years_ago = datetime.fromisoformat("2020-01-01T00:00:00Z")
    label_studio.hooks = [HOOK | {"url": "https://ci.test/webhook", "created_at": years_ago.isoformat()}]
    label_studio.import_tasks(4, 5)
    label_studio.created |= dict.fromkeys((1, 2, 3, 4), years_ago + timedelta(days=1))
    assert sync(listening).new_tasks == 1 and wished(listening) == {5}


def test_a_label_config_that_cannot_be_used_is_not_told_at_each_sync(
    listening: JobContext, label_studio: Importing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def classify(project_id: int) -> dict[str, Any]:
        return {"id": project_id, "label_config": "<View/>", "model_version": ""}

    label_studio.import_tasks(4)
    with monkeypatch.context() as patch:
        patch.setattr(label_studio, "get_project", classify)
        assert sync(listening).new_tasks == 0
    outcome = project_sync.sync_project(listening, project_of(listening), everything=True)
    assert outcome is not None and outcome.new_tasks == 1 and wished(listening) == {4}

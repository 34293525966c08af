"""What follows from an event: new tasks are requested, label configs remembered, and nonsense does no harm."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from labeling.errors import StoreError
from labeling.logs import note_what_it_is_about
from labeling.settings import Settings
from labeling.store import RunOptions, Store
from tests.worker.conftest import label_config
from worker.context import JobContext
from worker.events import process
from worker.events.process import process_event
from worker.projects.requests import ProjectRequests
from worker.queue.connection import connect
from worker.queue.queues import GPU, PREDICT, live_rows

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">'
    '<Label value="red"/></BrushLabels></View>'
)


@pytest.fixture
def nobody(tmp_path: Path) -> "Redis":
    """No Redis at all: requests are rows, whatever becomes of their jobs."""
    return connect(Settings(redis_url=f"unix://{tmp_path}/nobody.sock"))


@pytest.fixture
def plain(tmp_path: Path) -> Settings:
    (tmp_path / "model").mkdir()
    return Settings(data_dir=tmp_path / "data", model=str(tmp_path / "model"), label_studio_url=None)


@pytest.fixture
def kept(plain: Settings) -> Any:
    with Store.open(plain.database_url, plain.blob_url) as store:
        yield store


@pytest.fixture
def follow(plain: Settings, kept: Store, nobody: "Redis") -> Callable[[str, dict[str, Any]], int]:
    return lambda action, payload: process_event(
        JobContext(plain, kept, None, nobody), kept.events.record(action, payload)
    )


def test_new_tasks_are_requested_some_at_a_time(follow: Callable[..., int], plain: Settings, kept: Store) -> None:
    tasks = [{"id": number, "data": {"image": f"{number}.png"} if number % 2 else {}} for number in range(1, 451)]
    assert follow("TASKS_CREATED", {"project": {"id": 3, "label_config": CONFIG}, "tasks": tasks}) == 0
    assert kept.progress.counts(3) == {"requested": 225, "failed": 225}
    assert kept.projects.find(3, plain.installation_url) is not None


def test_the_log_names_the_event_and_its_task(follow: Callable[..., int], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    caplog.handler.addFilter(note_what_it_is_about)
    project = {"id": 3, "label_config": CONFIG}
    annotation = {"id": 5, "result": [], "updated_at": "2026-11-29T10:00:00Z", "completed_by": 1}
    follow("ANNOTATION_CREATED", {"project": project, "task": {"id": 12, "data": {}}, "annotation": annotation})
    abouts = [record.about for record in caplog.records if record.name == "worker.events.process"]
    assert abouts and all(about == {"event": 1, "project": 3, "task": 12} for about in abouts)


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("TASKS_CREATED", {}),
        ("TASKS_CREATED", {"tasks": [1], "project": {"id": 1, "label_config": CONFIG}}),
        ("TASKS_CREATED", {"tasks": [], "project": {"id": 1, "label_config": "<View/>"}}),
        ("PROJECT_UPDATED", {"project": {"id": 2**63, "label_config": CONFIG}}),
        ("ANNOTATION_CREATED", {"project": {"id": 1, "label_config": CONFIG}}),
    ],
)
def test_nothing_is_requested_by_nonsense_or_an_annotation(
    action: str, payload: dict[str, Any], follow: Callable[..., int], kept: Store
) -> None:
    assert follow(action, payload) == 0
    assert kept.progress.counts() == {}
    assert (kept.projects.find(1) is not None) == (action == "ANNOTATION_CREATED")  # it has corrections to keep


def make_model(store: Store, folder: Path, name: str) -> str:
    """A fine-tuned version that is active by default."""
    folder.mkdir()
    (folder / "config.json").write_text(f'{{"model_name": "{name}"}}')
    store.models.add(name, str(folder), "base")
    store.models.set_active(name)
    return ProjectRequests(Settings(), store, 3, CONFIG).model_version


def created(number: int, shown: str, config: str = CONFIG) -> dict[str, Any]:
    project = {"id": 3, "label_config": config, "model_version": shown}
    return {"project": project, "tasks": [{"id": number, "data": {"image": "a.png"}}]}


def test_new_tasks_of_a_pinned_project_get_the_version_that_is_seen(
    follow: Callable[..., int], plain: Settings, kept: Store, tmp_path: Path
) -> None:
    old = make_model(kept, tmp_path / "tuned", "tuned-1")
    base = ProjectRequests(plain, kept, 3, CONFIG, plain.model).model_version
    new = make_model(kept, tmp_path / "tuned again", "tuned-2")

    def version_of_task(number: int, shown: str, config: str = CONFIG) -> set[str]:
        follow("TASKS_CREATED", created(number, shown, config))
        found = [request for row in kept.requests.stale(-1) if (request := kept.predictions.get(row)).task_id == number]
        return {request.model_version for request in found}

    assert [version_of_task(*asked) for asked in [(1, old), (2, base), (3, "ARGenSeg")]] == [{old}, {base}, {new}]
    project = kept.projects.find(3)
    assert project is not None and project.shown_version == "ARGenSeg"
    follow("PROJECT_UPDATED", {"project": created(0, old)["project"]})
    assert ProjectRequests(plain, kept, 3, CONFIG, as_pinned=True).model_version == old  # as when a task is opened
    assert ProjectRequests(plain, kept, 3, CONFIG).model_version == new

    kept.project_runs.begin(project, new, RunOptions())
    assert version_of_task(4, old) == {old, new}, "the run may end with a pin on the new one"
    kept.project_runs.end(project, "finished")

    assert version_of_task(5, old, CONFIG.replace("red", "blue")) not in ({old}, {new}), "the old prompts are gone"
    kept.models.delete("tuned-1")
    assert version_of_task(6, old) == {new}, "the old weights are gone"


def test_an_event_of_new_tasks_makes_them_wanted(context: JobContext, store: Store) -> None:
    project = {"id": 5, "label_config": label_config("cell")}
    tasks = [{"id": number, "data": {"image": "/data/upload/1.png"}} for number in (1, 2)]
    event_id = store.events.record("TASKS_CREATED", {"action": "TASKS_CREATED", "project": project, "tasks": tasks})
    settings = context.settings.model_copy(update={"model": str(context.settings.data_dir)})
    process_event(replace(context, settings=settings), event_id)
    assert store.progress.counts() == {"requested": 2}
    assert len(live_rows(context.connection, GPU, PREDICT)) == 2
    assert store.events.get(event_id).processed_at is not None


def test_an_event_that_is_refused_for_good_keeps_no_other_from_being_processed(
    context: JobContext, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_id = store.events.record("TASKS_CREATED", {"action": "TASKS_CREATED"})

    def refuse(*_: Any) -> None:
        raise StoreError("The database takes no such number.")

    monkeypatch.setattr(process, "FOLLOWERS", {"TASKS_CREATED": refuse})
    assert process_event(context, event_id) == 0
    assert store.events.unprocessed(0) == []


def test_an_event_that_ends_its_process_is_set_aside_after_three_attempts(
    plain: Settings, kept: Store, nobody: "Redis"
) -> None:
    """As one does whose payload takes all memory: it is killed before anybody can say why."""
    context = JobContext(plain, kept, None, nobody)
    event_id = kept.events.record("SOMETHING", {})
    for _ in range(3):
        kept.events.begin(event_id)
        assert kept.events.unprocessed(0) == [event_id]
    assert process_event(context, event_id) == 0
    process_event(context, event_id)  # by a job that was queued before
    assert "begun 3 times and never ended" in (kept.events.get(event_id).error or "")
    assert kept.events.unprocessed(0) == []


def test_an_outage_of_the_store_is_no_attempt(
    plain: Settings, kept: Store, nobody: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    context = JobContext(plain, kept, None, nobody)
    event_id = kept.events.record("SOMETHING", {})

    def fail(*_: Any) -> None:
        raise StoreError("The database is locked.", is_transient=True)

    with monkeypatch.context() as patch:
        patch.setattr(process, "record_corrections", fail)
        patch.setattr(type(kept.events), "_take_off", fail)  # the store is still away when the attempt is to be undone
        for _ in range(5):
            with pytest.raises(StoreError):
                process_event(context, event_id)
        patch.undo()
        patch.setattr(process, "record_corrections", fail)
        for _ in range(10):
            with pytest.raises(StoreError):
                process_event(context, event_id)
    process_event(context, event_id)
    event = kept.events.get(event_id)
    assert event.processed_at is not None and event.error is None

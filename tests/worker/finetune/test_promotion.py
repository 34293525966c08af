"""Promotion with a Label Studio: open tasks are predicted first, then the pin moves; rollback moves it back."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from labeling.errors import LabelConfigError, LabelStudioError
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.messages import Task
from labeling.predictions import Prediction
from labeling.settings import Settings
from labeling.store import Project, Store
from tests.worker.conftest import LABEL_STUDIO_URL, bright_square, label_config
from worker.context import JobContext
from worker.finetune import open_tasks, promotion
from worker.projects.open_project import OpenProject
from worker.projects.requests import ProjectRequests


class LabelStudio:
    """A project with three open tasks; what our worker would do happens when somebody waits.

    `tasks`: by number the versions that each holds. `completed` ones are not open any more. `shown` is pinned.
    """

    page_size = 2

    def __init__(self, context: JobContext, project: Project) -> None:
        self.context, self.project = context, project
        self.tasks: dict[int, list[str]] = {number: [] for number in range(1, 4)}
        self.completed: set[int] = set()
        self.shown = ""
        self.said: list[str] = []

    def call(self, method: str, path: str, *, what: str, params: dict[str, Any]) -> Any:
        """A page of tasks, filtered as Label Studio's Data Manager does."""
        assert (method, path, params["project"]) == ("GET", "/api/tasks/", 5)
        filters = json.loads(params["query"])["filters"]["items"]
        found = [number for number in self.tasks if all(self._passes(number, each) for each in filters)]
        tasks = [{"id": number, "data": {"image": bright_square()}} for number in found[: self.page_size]]
        return {"tasks": tasks, "total": len(found)}

    task_pages = LabelStudioClient.task_pages
    _errors = LabelStudioClient._errors

    def _passes(self, number: int, condition: dict[str, Any]) -> bool:
        value, held = condition["value"], self.tasks[number]
        match condition["filter"].rpartition(":")[2], condition["operator"]:
            case "id", "greater":
                return bool(number > value)
            case "completed_at", "empty":
                return value == "true" and number not in self.completed
            case "predictions_model_versions", "contains":
                return value[0] in held
            case "predictions_model_versions", "not_contains":
                return value[0] not in held
            case "total_predictions", "greater_or_equal":
                return len(held) >= value
        raise AssertionError(condition)

    def prediction_counts(self, number: int) -> dict[str, int]:
        return dict(Counter(version for held in self.tasks.values() for version in held))

    def list_ml_backends(self, number: int) -> list[dict[str, Any]]:
        return [{"title": "live"}]

    def change_project(self, number: int, **fields: Any) -> None:
        self.shown = fields["model_version"]
        self.said.append(f"shows {self.shown.partition(' · ')[0]}")

    def work(self) -> None:
        """Compute and publish one wanted prediction."""
        store = self.context.store
        waiting = store.requests.stale(0)
        if waiting:
            wanted = store.requests.begin(waiting[0])
            store.predictions.finish(wanted.id, Prediction([], None, wanted.model_version))
            store.predictions.mark_published(wanted.id, 100 + wanted.id)
            self.tasks[wanted.task_id].append(wanted.model_version)
            live = store.models.active(self.project)
            self.said.append(f"predicted while {live.name if live else 'the base'} was live")

    def work_off(self) -> None:
        """Compute and publish all that is wanted."""
        while self.context.store.progress.counts().get("requested"):
            self.work()

    def fail(self) -> None:
        """The worker gives up one wanted prediction."""
        for waiting in self.context.store.requests.stale(0)[:1]:
            self.context.store.predictions.fail(waiting, "out of memory")

    def import_task(self, settings: Settings, model: str | None = None) -> int:
        """A new task, which is wanted of a version as TASKS_CREATED does."""
        number = max(self.tasks) + 1
        self.tasks[number] = []
        requests = ProjectRequests(settings, self.context.store, 5, label_config("bright"), model)
        list(requests.request_all([Task(id=number, data={"image": bright_square()})]))
        return number


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"label_studio_api_key": SecretStr("x")})


@pytest.fixture
def label_studio(context: JobContext, settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> LabelStudio:
    server = LabelStudio(context, store.projects.upsert(LABEL_STUDIO_URL, 5, label_config("bright")))

    @contextmanager
    def open_project(settings: Settings, number: int) -> Iterator[OpenProject]:
        requests = ProjectRequests(settings, store, number, label_config("bright"))
        yield OpenProject(store, server, context.connection, requests, "t", 3, server.shown)  # type: ignore[arg-type]

    monkeypatch.setattr(promotion, "open_project", open_project)
    monkeypatch.setattr(promotion, "TICK_S", 0.01)
    monkeypatch.setattr(open_tasks, "TICK_S", 0.01)
    return server


@pytest.fixture
def add(store: Store, tmp_path: Path) -> Callable[[str], None]:
    def add(name: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_name": name}))
        store.models.add(name, str(tmp_path / name), "starter")

    return add


def test_open_tasks_first_then_the_pin_and_back(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None]
) -> None:
    add("starter-1.1"), add("starter-1.2")
    promotion.promote(settings, store, "starter-1.1", label_studio.project, on_tick=label_studio.work)
    promotion.promote(settings, store, "starter-1.2", label_studio.project, on_tick=label_studio.work)
    assert label_studio.said == [
        *["predicted while the base was live"] * 3, "shows starter-1.1",
        *["predicted while starter-1.1 was live"] * 3, "shows starter-1.2",
    ]  # fmt: skip
    assert store.project_runs.find_open(label_studio.project) is None
    version, unseen = promotion.roll_back(settings, store, label_studio.project)
    assert (version.name, unseen) == ("starter-1.1", [])
    assert label_studio.said[8:] == ["shows starter-1.1"]  # at once: every open task holds its masks still


def test_without_a_worker_it_goes_live_and_the_pin_stays(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(promotion, "_PATIENCE_S", 0.1)
    add("starter-1.1")
    promotion.promote(settings, store, "starter-1.1", label_studio.project)
    assert store.models.active(label_studio.project).name == "starter-1.1"
    assert label_studio.said == []


def test_what_ends_the_wait_leaves_the_old_version_live(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None]
) -> None:
    add("starter-1.1")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        promotion.promote(settings, store, "starter-1.1", label_studio.project, on_tick=interrupt)
    assert store.models.active(label_studio.project) is None


def test_the_default_serves_all_projects_without_a_version_of_their_own(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    add("starter-1.1"), add("starter-1.2")
    own, gone = (store.projects.upsert(LABEL_STUDIO_URL, number, label_config("bright")) for number in (6, 7))
    store.projects.upsert("http://another-label-studio", 8, label_config("bright"))
    store.models.set_active("starter-1.1", own)
    of_double, opened = promotion.open_project, []

    def open_project(settings: Settings, number: int) -> Any:
        opened.append(number)
        if number == gone.project_id:
            raise LabelStudioError("Project 7 could not be read: Label Studio answered 404.", status=404)
        return of_double(settings, number)

    monkeypatch.setattr(promotion, "open_project", open_project)
    assert promotion.promote(settings, store, "starter-1.2", None, on_tick=label_studio.work) == []  # 7 is gone
    assert label_studio.said == [*["predicted while the base was live"] * 3, "shows starter-1.2"]
    assert set(opened) == {5, 7} and store.project_runs.find_open(label_studio.project) is None
    assert [each.project_id for each in promotion.served_projects(settings, store, None)] == [5, 7]
    promotion.roll_back(settings, store, None, on_tick=label_studio.work)
    assert store.models.active() is None


def test_a_project_of_another_label_studio_is_not_opened_here(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None]
) -> None:
    """Its number means another project here."""
    add("starter-1.1")
    other = store.projects.upsert("http://another-label-studio", 5, label_config("bright"))
    promotion.promote(settings, store, "starter-1.1", other, on_tick=label_studio.work)
    assert label_studio.said == [] and store.models.active(other).name == "starter-1.1"
    promotion.roll_back(settings, store, other, on_tick=label_studio.work)
    assert label_studio.said == [] and promotion.served_projects(settings, store, other) == []


def test_what_one_project_forbids_is_said_and_keeps_no_other_one(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Project 4, a twin of project 5, comes first; its pin may not be moved, which another time cannot help."""
    add("starter-1.1")
    twin, pinned = store.projects.upsert(LABEL_STUDIO_URL, 4, label_config("bright")), []
    monkeypatch.setattr(store.models, "projects_on_default", lambda: [twin, label_studio.project])
    of_double = promotion.open_project

    @contextmanager
    def open_project(settings: Settings, number: int) -> Iterator[OpenProject]:
        with of_double(settings, 5) as found:
            if number == 4:
                yield OpenProject(store, Forbidding(), found.connection,  # type: ignore[arg-type]
                                  ProjectRequests(settings, store, 4, label_config("bright")), "t", 0, "")  # fmt: skip
            else:
                yield found

    class Forbidding:
        def task_pages(self, *_: Any, **__: Any) -> Iterator[Any]:
            return iter([])

        def list_ml_backends(self, number: int) -> list[dict[str, Any]]:
            pinned.append(number)
            raise LabelStudioError("Its backends could not be read: Label Studio answered 403.", status=403)

    monkeypatch.setattr(promotion, "open_project", open_project)
    (unseen,) = promotion.promote(settings, store, "starter-1.1", None, on_tick=label_studio.work)
    assert unseen.startswith("Project 4: ") and "answered 403. To try again: argenseg models promote" in unseen
    assert label_studio.said[-1] == "shows starter-1.1"
    _, (unseen,) = promotion.roll_back(settings, store, None, on_tick=label_studio.work)
    assert unseen.startswith("Project 4: ") and "answered 403. To try again: argenseg models promote base" in unseen
    assert store.models.active() is None and pinned == [4, 4] and label_studio.shown.startswith("starter-3 ")


def test_a_project_whose_tasks_may_not_be_read_keeps_no_other_one(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    add("starter-1.1")
    twin = store.projects.upsert(LABEL_STUDIO_URL, 4, label_config("bright"))
    monkeypatch.setattr(store.models, "projects_on_default", lambda: [twin, label_studio.project])
    of_double = promotion.open_project

    class Forbidding:
        def task_pages(self, *_: Any, **__: Any) -> Iterator[Any]:
            raise LabelStudioError("The tasks of project 4 could not be read: 403.", status=403)

        def list_ml_backends(self, number: int) -> list[dict[str, Any]]:
            return []

    @contextmanager
    def open_project(settings: Settings, number: int) -> Iterator[OpenProject]:
        with of_double(settings, 5) as found:
            requests = ProjectRequests(settings, store, number, label_config("bright"))
            client = Forbidding() if number == 4 else found.client
            yield OpenProject(store, client, found.connection, requests, "t", 3, found.shown)  # type: ignore[arg-type]

    monkeypatch.setattr(promotion, "open_project", open_project)
    (unseen,) = promotion.promote(settings, store, "starter-1.1", None, on_tick=label_studio.work)
    assert store.models.active().name == "starter-1.1" and label_studio.said[-1] == "shows starter-1.1"
    assert "Project 4 is left out: The tasks of project 4" in caplog.text and unseen.startswith("Project 4: ")
    assert store.project_runs.find_open(twin) is None
    _, unseen = promotion.roll_back(settings, store, None, on_tick=label_studio.work)
    assert unseen == ["Project 4 is left out: The tasks of project 4 could not be read: 403."]
    assert store.models.active() is None and label_studio.shown.startswith("starter-3 ")


def test_a_project_that_cannot_be_opened_is_named(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    add("starter-1.1")
    store.projects.upsert(LABEL_STUDIO_URL, 6, label_config("bright"))
    of_double = promotion.open_project

    def open_project(settings: Settings, number: int) -> Any:
        if number == 6:
            raise LabelConfigError("The label config has no image.")
        return of_double(settings, number)

    monkeypatch.setattr(promotion, "open_project", open_project)
    left_out = ["Project 6 is left out: The label config has no image."]
    assert promotion.promote(settings, store, "starter-1.1", None, on_tick=label_studio.work) == left_out
    assert promotion.roll_back(settings, store, None, on_tick=label_studio.work) == (None, left_out)


def test_what_its_only_project_forbids_ends_a_promotion(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    add("starter-1.1")

    def forbid(number: int, **_: Any) -> None:
        raise LabelStudioError("Label Studio answered 403.", status=403)

    monkeypatch.setattr(label_studio, "change_project", forbid)
    with pytest.raises(LabelStudioError, match="403"):
        promotion.promote(settings, store, "starter-1.1", label_studio.project, on_tick=label_studio.work)


def masks_of(label_studio: LabelStudio, name: str) -> list[int]:
    """The tasks that hold a prediction of a model."""
    return [number for number, held in label_studio.tasks.items() if any(each.startswith(name) for each in held)]


@pytest.fixture
def pinned(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> LabelStudio:  # fmt: skip
    """The project shows starter-1.1, whose masks all its tasks hold; starter-1.2 is there. Patience is short."""
    add("starter-1.1"), add("starter-1.2")
    promotion.promote(settings, store, "starter-1.1", label_studio.project, on_tick=label_studio.work)
    assert label_studio.said[-1] == "shows starter-1.1"
    label_studio.said.clear()
    for name in ("_PATIENCE_S", "_LAST_PATIENCE_S"):
        monkeypatch.setattr(promotion, name, 0.1)
    return label_studio


def while_waiting(label_studio: LabelStudio, *actions: Callable[[], None]) -> Callable[[], None]:
    """One after the other, each as soon as something is wanted; then nothing more happens."""
    steps = iter(actions)

    def tick() -> None:
        if label_studio.context.store.progress.counts().get("requested"):
            next(steps, lambda: None)()

    return tick


def test_who_goes_back_meanwhile_sees_no_other_version_appear(
    settings: Settings, store: Store, pinned: LabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody rolls back in the moment before the pin would be moved."""
    count = pinned.prediction_counts

    def go_back(number: int) -> dict[str, int]:
        if store.models.active(pinned.project).name == "starter-1.2":
            store.models.withdraw_active(pinned.project)
        return count(number)

    monkeypatch.setattr(pinned, "prediction_counts", go_back)
    (unseen,) = promotion.promote(settings, store, "starter-1.2", pinned.project, on_tick=pinned.work)
    assert "starter-1.1 ·" in unseen and "is active by now" in unseen and pinned.shown.startswith("starter-1.1")


def test_the_pin_stays_while_a_task_would_lose_its_masks(settings: Settings, store: Store, pinned: LabelStudio) -> None:
    """The worker ends after one task: the others hold masks of the shown version only."""
    (unseen,) = promotion.promote(
        settings, store, "starter-1.2", pinned.project, on_tick=while_waiting(pinned, pinned.work)
    )
    assert store.models.active(pinned.project).name == "starter-1.2"
    assert pinned.shown.startswith("starter-1.1") and len(masks_of(pinned, "starter-1.2")) == 1
    assert "2 open tasks have masks, but none of starter-1.2" in unseen and "(0 of them failed)" in unseen
    assert "argenseg models promote starter-1.2 --project 5" in unseen
    assert promotion.promote(settings, store, "starter-1.2", pinned.project, on_tick=pinned.work) == []
    assert pinned.shown.startswith("starter-1.2")


def test_a_task_that_failed_lacks_its_masks_and_is_tried_again(
    settings: Settings, store: Store, pinned: LabelStudio
) -> None:
    tick = while_waiting(pinned, pinned.work, pinned.work, pinned.fail)
    (unseen,) = promotion.promote(settings, store, "starter-1.2", pinned.project, on_tick=tick)
    assert "1 open tasks" in unseen and "(1 of them failed)" in unseen and pinned.shown.startswith("starter-1.1")
    assert promotion.promote(settings, store, "starter-1.2", pinned.project, on_tick=pinned.work) == []
    assert pinned.shown.startswith("starter-1.2")


def test_tasks_that_show_no_masks_do_not_keep_the_pin(settings: Settings, store: Store, pinned: LabelStudio) -> None:
    """They hold none, or another version's, or are completed."""
    del pinned.tasks[2], pinned.tasks[3]
    pinned.tasks |= {4: [], 5: ["imported"], 6: [pinned.shown]}
    pinned.completed.add(6)
    tick = while_waiting(pinned, pinned.work, pinned.fail, pinned.fail)
    assert promotion.promote(settings, store, "starter-1.2", pinned.project, on_tick=tick) == []
    assert pinned.shown.startswith("starter-1.2") and masks_of(pinned, "starter-1.2") == [1]


def test_where_a_backend_says_what_is_seen_any_masks_count(
    settings: Settings, store: Store, pinned: LabelStudio
) -> None:
    pinned.shown = "live"
    (unseen,) = promotion.promote(
        settings, store, "starter-1.2", pinned.project, on_tick=while_waiting(pinned, pinned.work)
    )
    assert "2 open tasks" in unseen and "there what they saw" in unseen and pinned.shown == "live"


def test_a_task_is_open_until_it_is_completed(settings: Settings, store: Store, pinned: LabelStudio) -> None:
    """With an overlap of two, it may hold an annotation: Label Studio says what is completed."""
    pinned.completed.add(3)
    promotion.promote(settings, store, "starter-1.2", pinned.project, on_tick=pinned.work)
    assert masks_of(pinned, "starter-1.2") == [1, 2] and pinned.shown.startswith("starter-1.2")


def test_a_steady_feed_of_tasks_does_not_hold_it_up(
    settings: Settings, store: Store, pinned: LabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotion, "_PATIENCE_S", 60.0)
    model, ticks = store.models.get("starter-1.2").folder, iter(range(30))

    def work_and_import() -> None:
        next(ticks)  # StopIteration: it never ends
        pinned.work(), pinned.import_task(settings, model)

    promotion.promote(settings, store, "starter-1.2", pinned.project, on_tick=work_and_import)
    assert pinned.shown.startswith("starter-1.2")


def test_a_stop_takes_back_what_was_wanted_and_nothing_else(
    settings: Settings, store: Store, pinned: LabelStudio
) -> None:
    pinned.import_task(settings)  # of the active version

    def stop() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        promotion.promote(settings, store, "starter-1.2", pinned.project, on_tick=stop)
    assert store.project_runs.find_open(pinned.project) is None
    wanted = {
        version.partition(" ")[0]: counts for version, counts in store.progress.version_counts(pinned.project).items()
    }
    assert wanted["starter-1.1"]["requested"] == 1 and "requested" not in wanted.get("starter-1.2", {})


def test_a_rollback_predicts_first_what_came_since(settings: Settings, store: Store, pinned: LabelStudio) -> None:
    promotion.promote(settings, store, "starter-1.2", pinned.project, on_tick=pinned.work)
    new = pinned.import_task(settings)
    pinned.work_off()
    pinned.said.clear()
    promotion.roll_back(settings, store, pinned.project, on_tick=pinned.work)
    assert pinned.said == ["predicted while starter-1.1 was live", "shows starter-1.1"]
    assert new in masks_of(pinned, "starter-1.1") and store.project_runs.find_open(pinned.project) is None


def test_a_rollback_without_a_worker_ends_and_hides_nothing(
    settings: Settings, store: Store, pinned: LabelStudio, caplog: pytest.LogCaptureFixture
) -> None:
    promotion.promote(settings, store, "starter-1.2", pinned.project, on_tick=pinned.work)
    pinned.import_task(settings)
    pinned.work_off()
    version, (unseen,) = promotion.roll_back(settings, store, pinned.project)
    assert version.name == "starter-1.1" and unseen in caplog.text
    assert pinned.shown.startswith("starter-1.2")
    assert "argenseg models promote starter-1.1 --project 5" in caplog.text


def test_an_outage_leaves_no_project_out(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    add("starter-1.1")

    def open_project(settings: Settings, number: int) -> Any:
        raise LabelStudioError("Label Studio answered 502.", status=502, is_transient=True)

    monkeypatch.setattr(promotion, "open_project", open_project)
    with pytest.raises(LabelStudioError):
        promotion.promote(settings, store, "starter-1.1", None)
    assert store.models.active() is None

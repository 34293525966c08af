"""Promotion with a Label Studio: open tasks are predicted first, then the pin moves; rollback moves it back."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from labeling.errors import LabelStudioError
from labeling.predictions import Prediction
from labeling.settings import Settings
from labeling.store import Project, Store
from tests.worker.conftest import LABEL_STUDIO_URL, bright_square, label_config
from worker.finetune import promotion
from worker.jobs import JobContext
from worker.projects.open_project import OpenProject
from worker.wishes import Wishes


class LabelStudio:
    """A project with three open tasks; what our worker would do happens when somebody waits."""

    def __init__(self, context: JobContext, project: Project) -> None:
        self.context, self.project = context, project
        self.held: dict[str, int] = {}
        self.said: list[str] = []

    def task_pages(self, number: int, *, lacking_version: str, only_unlabeled: bool, **_: Any) -> Iterator[Any]:
        assert (number, only_unlabeled) == (5, True)
        yield SimpleNamespace(tasks=[{"id": i, "data": {"image": bright_square()}} for i in range(3)], remaining=3)

    def prediction_counts(self, number: int) -> dict[str, int]:
        return self.held

    def change_project(self, number: int, **fields: Any) -> None:
        self.said.append(f"shows {fields['model_version'].partition(' · ')[0]}")

    def work(self) -> None:
        """Compute and publish one wanted prediction."""
        store = self.context.store
        waiting = store.stale_predictions(0)
        if waiting:
            wanted = store.begin_prediction(waiting[0])
            store.finish_prediction(wanted.id, Prediction([], None, wanted.model_version))
            store.mark_published(wanted.id, 100 + wanted.id)
            self.held[wanted.model_version] = self.held.get(wanted.model_version, 0) + 1
            live = store.live_model(self.project)
            self.said.append(f"predicted while {live.name if live else 'the base'} was live")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"label_studio_api_key": SecretStr("x")})


@pytest.fixture
def label_studio(context: JobContext, settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> LabelStudio:
    server = LabelStudio(context, store.upsert_project(LABEL_STUDIO_URL, 5, label_config("bright")))

    @contextmanager
    def open_project(settings: Settings, number: int) -> Iterator[OpenProject]:
        wishes = Wishes(settings, store, number, label_config("bright"))
        yield OpenProject(store, server, context.connection, wishes, "t", 3, "")  # type: ignore[arg-type]

    monkeypatch.setattr(promotion, "open_project", open_project)
    monkeypatch.setattr(promotion, "_TICK_S", 0.01)
    return server


@pytest.fixture
def add(store: Store, tmp_path: Path) -> Callable[[str], None]:
    def add(name: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_name": name}))
        store.add_model(name, str(tmp_path / name), "starter")

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
    assert store.find_open_run(label_studio.project) is None
    assert promotion.roll_back(settings, store, label_studio.project).name == "starter-1.1"
    assert label_studio.said[-1] == "shows starter-1.1"


def test_without_a_worker_it_goes_live_and_the_pin_stays(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(promotion, "_PATIENCE_S", 0.1)
    add("starter-1.1")
    promotion.promote(settings, store, "starter-1.1", label_studio.project)
    assert store.live_model(label_studio.project).name == "starter-1.1"
    assert label_studio.said == []


def test_what_ends_the_wait_leaves_the_old_version_live(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None]
) -> None:
    add("starter-1.1")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        promotion.promote(settings, store, "starter-1.1", label_studio.project, on_tick=interrupt)
    assert store.live_model(label_studio.project) is None


def test_the_default_serves_all_projects_without_a_version_of_their_own(
    settings: Settings, store: Store, label_studio: LabelStudio, add: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    add("starter-1.1"), add("starter-1.2")
    own, gone = (store.upsert_project(LABEL_STUDIO_URL, number, label_config("bright")) for number in (6, 7))
    store.upsert_project("http://another-label-studio", 8, label_config("bright"))
    store.set_live_model("starter-1.1", own)
    of_double, opened = promotion.open_project, []

    def open_project(settings: Settings, number: int) -> Any:
        opened.append(number)
        if number == gone.project_id:
            raise LabelStudioError("Project 7 could not be read: Label Studio answered 404.", status=404)
        return of_double(settings, number)

    monkeypatch.setattr(promotion, "open_project", open_project)
    promotion.promote(settings, store, "starter-1.2", None, on_tick=label_studio.work)
    assert label_studio.said == [*["predicted while the base was live"] * 3, "shows starter-1.2"]
    assert set(opened) == {5, 7} and store.find_open_run(label_studio.project) is None
    assert [each.project_id for each in promotion.served_projects(settings, store, None)] == [5, 7]
    promotion.roll_back(settings, store, None)
    assert store.live_model() is None

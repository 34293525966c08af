"""Let a model version serve a project: its open tasks are predicted first, then what annotators see is moved."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from labeling.errors import LabelConfigError, LabelStudioError
from labeling.settings import Settings
from labeling.store.model_records import ModelVersion
from labeling.store.operations_records import RunOptions
from labeling.store.records import Project
from labeling.store.store import Store
from worker.projects.open_project import OpenProject, open_project
from worker.projects.predict import look, want_missing
from worker.projects.versions import pin
from worker.wishes import Wishes, label_studio_url

logger = logging.getLogger(__name__)

_TICK_S = 2.0
_PATIENCE_S = 1800.0  # without any progress, as when no worker runs


def promote(
    settings: Settings,
    store: Store,
    name: str | None,
    project: Project | None,
    *,
    on_tick: Callable[[], None] = lambda: None,
) -> None:
    """Make a version (None: the model of the settings) live for a project, or for all that have none of their own.

    A project's open tasks are predicted with it first, beside what the version before it does; then new wishes are for
    it, and then annotators see it. Where Label Studio is not known, or nothing moves for half an hour, it goes live all
    the same and open tasks follow as workers get to them. `on_tick` is called while it waits; what it raises ends it.
    StoreError, LabelStudioError and LabelConfigError as these parts fail; of several projects, those are left out.
    """
    version = None if name is None else store.get_model(name)
    served = served_projects(settings, store, project)
    for each in served:
        with _opened(settings, each, version, may_fail=project is None) as target:
            if target is not None:
                _predict_open_tasks(target, on_tick)
    store.set_live_model(name, project)
    for each in served:
        with _opened(settings, each, version, may_fail=project is None) as target:
            if target is not None:
                _show(target)
                target.store.end_runs(target.project, "finished")  # till now, new tasks were predicted with it too


def roll_back(settings: Settings, store: Store, project: Project | None) -> ModelVersion | None:
    """Go back to what served before; annotators see its predictions, which are there still, at once. Returns it."""
    version = store.withdraw_live_model(project)
    for each in served_projects(settings, store, project):
        with _opened(settings, each, version, may_fail=project is None) as target:
            if target is not None:
                _show(target)
    return version


def served_projects(settings: Settings, store: Store, project: Project | None) -> list[Project]:
    """This project, or all that the default serves; none where Label Studio cannot be asked."""
    if settings.label_studio_url is None or settings.label_studio_api_key is None:
        return []
    if project is not None:
        return [project]
    return [each for each in store.projects_on_default() if each.label_studio_url == label_studio_url(settings)]


@contextmanager
def _opened(
    settings: Settings, project: Project, version: ModelVersion | None, *, may_fail: bool
) -> Iterator[OpenProject | None]:
    """The project with the version to come; None, and a warning, for one that may fail and cannot be opened."""
    with ExitStack() as stack:
        try:
            target = _with_model(settings, stack.enter_context(open_project(settings, project.project_id)), version)
        except (LabelStudioError, LabelConfigError) as error:
            if not may_fail:
                raise
            logger.warning("Project %d is left out: %s", project.project_id, error)
            target = None
        yield target


def _with_model(settings: Settings, found: OpenProject, version: ModelVersion | None) -> OpenProject:
    model = settings.model if version is None else version.folder
    label_config = found.project.label_config
    return replace(found, wishes=Wishes(settings, found.store, found.number, label_config, model=model))


def _predict_open_tasks(project: OpenProject, on_tick: Callable[[], None]) -> None:
    run = project.store.begin_run(project.project, project.version, RunOptions(only_unlabeled=True))
    for _ in want_missing(project, run):
        on_tick()
    left, since = look(project).under_way, time.monotonic()
    while left and time.monotonic() - since < _PATIENCE_S:
        on_tick()
        time.sleep(_TICK_S)
        now = look(project).under_way
        left, since = now, since if now == left else time.monotonic()
    if left:
        logger.warning("%d open tasks wait for their masks of %s: no worker gets on.", left, project.version)


def _show(project: OpenProject) -> None:
    if project.client.prediction_counts(project.number).get(project.version):
        pin(project, project.version)
    else:
        logger.warning(
            "Label Studio holds no prediction of %s yet, so annotators go on seeing others.", project.version
        )

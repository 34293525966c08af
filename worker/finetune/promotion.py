"""Let a model version serve a project: its open tasks are predicted first, then what annotators see is moved."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from labeling.errors import LabelConfigError, LabelStudioError
from labeling.settings import Settings
from labeling.store import ModelVersion, Project, Store
from labeling.versions import model_version
from worker.finetune.open_tasks import TICK_S, open_tasks, predicted, under_way, wait
from worker.projects.active_model import active_model
from worker.projects.open_project import OpenProject, open_project
from worker.projects.pinning import pin, pinned_version
from worker.projects.requests import ProjectRequests

logger = logging.getLogger(__name__)

_PATIENCE_S = 1800.0  # without any progress, as when no worker runs
_LOOKS = 3  # for tasks that would lose their masks: some came meanwhile, or are just being sent
_LAST_PATIENCE_S = 60.0  # between these


def promote(
    settings: Settings,
    store: Store,
    name: str | None,
    project: Project | None,
    *,
    on_tick: Callable[[], None] = lambda: None,
) -> list[str]:
    """Make a version (None: the model of the settings) active for a project, or for all that have none of their own.

    Returns a sentence for each project whose annotators go on seeing what they saw: they would lose masks, or the
    project, one of several, could not be opened. `on_tick` is called while it waits; what it raises ends it, and what
    was not computed by then is taken back. StoreError, LabelStudioError, LabelConfigError as these parts fail.
    """
    # Open tasks are predicted first, then new requests are for it, then annotators see it. Where Label Studio is not
    # known, or nothing moves for half an hour, it is active all the same, and open tasks follow as workers get to them.
    version = None if name is None else store.models.get(name)
    again = promote_command(name, project)
    served, unseen = served_projects(settings, store, project), list[str]()
    with ExitStack() as runs:
        for each in served:
            with _opened(settings, each, version, may_fail=project is None) as target:  # what fails is said below
                if target is not None:
                    runs.enter_context(predicted(store, target, on_tick, _PATIENCE_S))
        store.models.set_active(name, project)
        with _going_on_by(again):
            for each in served:
                with _opened(settings, each, version, may_fail=project is None, left_out=unseen) as target:
                    if target is not None:
                        unseen += _try_to_show(settings, target, on_tick, again, may_fail=project is None)
    return unseen


def roll_back(
    settings: Settings, store: Store, project: Project | None, *, on_tick: Callable[[], None] = lambda: None
) -> tuple[ModelVersion | None, list[str]]:
    """Go back to what was active before, and return it. New requests are for it at once; annotators see its
    predictions, which are there still, as soon as open tasks that came since have some too. Errors, `on_tick` and the
    sentences that are returned too as for `promote`.
    """
    version, unseen = store.models.withdraw_active(project), list[str]()
    again = promote_command(None if version is None else version.name, project)
    with _going_on_by(again):
        for each in served_projects(settings, store, project):
            with _opened(settings, each, version, may_fail=project is None, left_out=unseen) as target:
                if target is not None:
                    with predicted(store, target, on_tick, _PATIENCE_S):
                        unseen += _try_to_show(settings, target, on_tick, again, may_fail=project is None)
    return version, unseen


def served_projects(settings: Settings, store: Store, project: Project | None) -> list[Project]:
    """This project, or all that use the default; none where Label Studio cannot be asked, and none of another one:
    there, the number means another project.
    """
    if settings.label_studio_url is None or settings.label_studio_api_key is None:
        return []
    meant = store.models.projects_on_default() if project is None else [project]
    return [each for each in meant if each.label_studio_url == settings.installation_url]


def promote_command(name: str | None, project: Project | None) -> str:
    """What a person types for `promote`."""
    option = "" if project is None else f" --project {project.project_id}"
    return f"argenseg models promote {'base' if name is None else name}{option}"


@contextmanager
def _opened(
    settings: Settings,
    project: Project,
    version: ModelVersion | None,
    *,
    may_fail: bool,
    left_out: list[str] | None = None,
) -> Iterator[OpenProject | None]:
    """The project with the version to come. One that may fail is left out, with a warning, and a sentence in `left_out`
    unless it is gone, where what is done with it is refused for good; it is None where it cannot even be opened.
    """
    with ExitStack() as stack, _left_out(project, may_fail, left_out):
        target = None
        with _left_out(project, may_fail, left_out):
            target = _with_model(settings, stack.enter_context(open_project(settings, project.project_id)), version)
        yield target


@contextmanager
def _left_out(project: Project, may_fail: bool, left_out: list[str] | None) -> Iterator[None]:
    try:
        yield
    except (LabelStudioError, LabelConfigError) as error:
        if not may_fail or error.is_transient:
            raise
        sentence = f"Project {project.project_id} is left out: {error}"
        logger.warning("%s", sentence)
        is_gone = isinstance(error, LabelStudioError) and error.status == 404  # nobody sees anything there
        if left_out is not None and not is_gone:
            left_out.append(sentence)


def _with_model(settings: Settings, found: OpenProject, version: ModelVersion | None) -> OpenProject:
    model = settings.model if version is None else version.folder
    label_config = found.project.label_config
    return replace(found, requests=ProjectRequests(settings, found.store, found.number, label_config, model=model))


@contextmanager
def _going_on_by(command: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        logger.warning("New work has the other version, but what annotators see is not moved. To go on: %s", command)
        raise


def _try_to_show(
    settings: Settings, project: OpenProject, on_tick: Callable[[], None], again: str, *, may_fail: bool
) -> list[str]:
    """`_show`; where one project may fail, what Label Studio refuses for good is a reason like others."""
    try:
        sentence = _show(settings, project, on_tick, again)
    except LabelStudioError as error:
        if not may_fail or error.is_transient:
            raise
        sentence = f"Project {project.number}: annotators go on seeing what they saw: {error} To try again: {again}"
        logger.warning("%s", sentence)
    return [] if sentence is None else [sentence]


def _show(settings: Settings, project: OpenProject, on_tick: Callable[[], None], again: str) -> str | None:
    """Let annotators see the version, unless open tasks would lose their masks by that; then a sentence says so.

    It is tried again by nobody but the next promotion, or `again`, the command for it.
    """
    shown = pinned_version(project)
    lacking = _lacking(project, shown)
    for _ in range(_LOOKS - 1):
        if lacking:
            on_tick()
            time.sleep(TICK_S)  # what answered an opened task is stored by Label Studio a moment later
            wait(project, under_way(project, lacking), on_tick, _LAST_PATIENCE_S)
            lacking = _lacking(project, shown)
    if not project.client.prediction_counts(project.number).get(project.version):
        reason = f"Label Studio holds no prediction of {project.version} yet"
    elif lacking:
        failed = len(
            lacking & {each.task_id for each in project.store.progress.failed_tasks(project.project, project.version)}
        )
        reason = f"{len(lacking)} open tasks have masks, but none of {project.version} ({failed} of them failed)"
    elif (active := _active_version(settings, project)) != project.version:  # somebody was faster, or went back
        reason = f"{active} is active by now, not {project.version}"
    else:
        pin(project, project.version)
        return None
    seen = f"{shown} there" if shown else "there what they saw"
    sentence = f"Project {project.number}: {reason}, so annotators go on seeing {seen}. To try again: {again}"
    logger.warning("%s", sentence)
    return sentence


def _active_version(settings: Settings, project: OpenProject) -> str:
    return model_version(active_model(settings, project.store, project.project), project.requests.config)


def _lacking(project: OpenProject, shown: str) -> set[int]:
    """The open tasks that would lose their masks."""
    return {task.id for tasks in open_tasks(project, lacking=project.version, holding=shown) for task in tasks}

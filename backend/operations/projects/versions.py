"""Which versions of the predictions there are, and the removal of our replaced ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby

from labeling.errors import LabelStudioError
from labeling.store import SENT_STATUSES, AnsweredPrediction, SentPrediction
from worker.projects.open_project import OpenProject
from worker.projects.pinning import shown_version


@dataclass(frozen=True)
class Version:
    """A model version in one project. `held` counts Label Studio's predictions of it, `ours` those that we sent.

    `is_current`: tasks are predicted with it now. `is_shown`: annotators see its predictions.
    """

    name: str
    held: int
    ours: int
    under_way: int
    failed: int
    is_current: bool
    is_shown: bool


def list_versions(project: OpenProject) -> list[Version]:
    """All versions that Label Studio or our store knows, the current one first, then ours from new to old."""
    held = project.client.prediction_counts(project.number)
    ours = project.store.progress.version_counts(project.project)
    shown = shown_version(project)
    live = {str(backend["title"]) for backend in project.client.list_ml_backends(project.number)}
    names = [name for name in dict.fromkeys([project.version, *ours, *held]) if name and name not in live]
    return [
        Version(
            name=name,
            held=held.get(name, 0),
            ours=sum(ours.get(name, {}).get(status, 0) for status in SENT_STATUSES),
            under_way=sum(ours.get(name, {}).get(status, 0) for status in ("requested", "ready")),
            failed=ours.get(name, {}).get("failed", 0),
            is_current=name == project.version,
            is_shown=name == shown,
        )
        for name in names
    ]


def prunable(project: OpenProject) -> list[SentPrediction]:
    """Predictions that we sent and that neither annotators see nor a task would miss: a newer one is there."""
    kept = sorted({project.version, project.shown, shown_version(project)} - {""})
    answers = project.store.predictions.superseded_answers(project.project, kept)
    by_task = groupby(answers, key=lambda answer: answer.task_id)
    numbered = (_with_numbers(project, task, list(of_task), kept) for task, of_task in by_task)
    return [*project.store.predictions.superseded(project.project, kept), *chain.from_iterable(numbered)]


def _with_numbers(
    project: OpenProject, task: int, answers: list[AnsweredPrediction], kept: list[str]
) -> Iterator[SentPrediction]:
    """What Label Studio holds of a task's answers: it never reported their numbers, but regions keep their ids.

    Nothing where it holds none of the versions that replace them: it may never have stored that answer. Nor where the
    task is gone.
    """
    try:
        held = sorted(project.client.list_predictions(task), key=lambda held: int(held["id"]))
    except LabelStudioError as error:
        if error.status not in (400, 404):  # 400: no valid choice of task
            raise
        return
    if not any(each["model_version"] in kept for each in held):
        return
    for answer in answers:
        same = (each for each in held if each["model_version"] == answer.model_version and each["result"])
        for each in same:
            region = project.store.predictions.find_region(project.project, task, str(each["result"][0].get("id")))
            if region is not None and region.prediction_id == answer.id:
                yield SentPrediction(answer.id, task, answer.model_version, int(each["id"]))
                break


def second_copies(project: OpenProject) -> list[int]:
    """Label Studio's numbers of predictions of ours that it stored twice, as when two pages opened a task at once.

    Copies have the same version and the same region ids; the first one of each is not among them.
    """
    found = []
    for page in project.client.task_pages(project.number, min_predictions=2):
        for task in page.tasks:
            seen = set()
            for held in sorted(project.client.list_predictions(task["id"]), key=lambda held: int(held["id"])):
                regions = tuple(str(region.get("id")) for region in held["result"] or [])
                if (held["model_version"], regions) not in seen:
                    seen.add((held["model_version"], regions))
                elif regions and project.store.predictions.find_region(project.project, task["id"], regions[0]):
                    found.append(int(held["id"]))
    return found


def prune(project: OpenProject, predictions: list[SentPrediction]) -> Iterator[bool]:
    """Delete these predictions in Label Studio; for each, whether it was deleted.

    One that is not what we sent (another task, another version: the database was replaced) is left alone.
    """
    for ours in predictions:
        try:
            held = project.client.get_prediction(ours.label_studio_id)
            is_ours = (held.get("task"), held.get("model_version")) == (ours.task_id, ours.model_version)
            if is_ours:
                project.client.delete_prediction(ours.label_studio_id)
        except LabelStudioError as error:
            if error.status != 404:
                raise
            is_ours = False  # it is gone already
        project.store.predictions.mark_pruned(ours.id)
        yield is_ours


def prune_copies(project: OpenProject, copies: list[int]) -> Iterator[bool]:
    """Delete these `second_copies`; for each, whether it was deleted here: somebody may have been faster."""
    for copy in copies:
        try:
            project.client.delete_prediction(copy)
        except LabelStudioError as error:
            if error.status != 404:
                raise
            yield False
        else:
            yield True

"""/prompts: wordings of a label tried on its annotated tasks by the GPU worker, and compared with pictures."""

from dataclasses import dataclass

from flask import Blueprint, Response, abort, flash, redirect, request
from werkzeug import Response as WerkzeugResponse

from backend.operations.prompt_trial import (
    LONGEST,
    MOST_TASKS,
    MOST_WORDINGS,
    TrialReport,
    has_worker,
    queue_trial,
    request_trial,
    seconds_per_question,
    summarize,
)
from backend.web.forms import takes_form
from backend.web.pages import show
from backend.web.pages.choices import task_address
from backend.web.pages.layout import link
from backend.web.people import who_asks
from backend.web.services import Services
from labeling.corrections.intervals import FEWEST
from labeling.errors import LabelConfigError, StoreError
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.wording import SEPARATOR
from labeling.store import Project, PromptTrial, Store, TrialTask
from labeling.trials.measures import WordingResult
from labeling.trials.wordings import promptable_labels
from labeling.versions import weights_name

_LARGEST = 2**31 - 1
_REDIS_S = 2.0
_SHOWN_TASKS = 12
BADGES = {"requested": "info", "running": "info", "done": "good", "failed": "bad", "cancelled": "warn"}


@dataclass(frozen=True)
class LabelChoice:
    """A label that wordings can be tried for; `value` names it in the form."""

    value: str
    project: Project
    label: str | None
    now: str


@dataclass(frozen=True)
class ShownTask:
    """A task of a trial with the IoU of each wording; None where the label is not in it."""

    task: TrialTask
    address: str
    ious: tuple[float | None, ...]

    @property
    def spread(self) -> float:
        """How much the wordings differ in it."""
        known = [each for each in self.ious if each is not None]
        found = [float(each["is_found"]) for each in self.task.measures]
        return max(known) - min(known) if known else max(found, default=0.0) - min(found, default=0.0)


def make_blueprint(services: Services) -> Blueprint:
    """The routes /prompts, /prompts/N and /prompts/N/cancel."""
    pages = Blueprint("prompts", __name__, template_folder="templates")
    settings, store = services.settings, services.store

    @pages.get("/prompts")
    def page() -> Response:
        trials = store.trials.newest()
        return show(
            "prompts.html",
            live_s=5 if any(each.is_open for each in trials) else 30,
            trials=[(each, _best(store, each)) for each in trials],
            labels=list_labels(services),
            chosen=request.args.get("label", ""),
            has_worker=services.background.call(_REDIS_S, has_worker, services.connection),
            badges=BADGES,
            most_tasks=MOST_TASKS,
            most_wordings=MOST_WORDINGS,
            longest=LONGEST,
        )

    @pages.post("/prompts")
    @takes_form
    def try_wordings() -> WerkzeugResponse:
        value = request.form.get("label", "")
        choice = next((each for each in list_labels(services) if each.value == value), None)
        if choice is None:
            abort(404, "There is no such label any more. Load the page anew.")
        texts = [line for line in request.form.get("wordings", "").splitlines() if line.strip()]
        limit = request.form.get("tasks", "")
        try:
            asked = request_trial(
                settings,
                store,
                queue,
                choice.project,
                choice.label,
                texts,
                limit=int(limit) if limit.isdecimal() and len(limit) < 6 else 0,
                who=who_asks() or "not signed in",
            )
        except LabelConfigError as error:
            flash(str(error), "bad")
            return redirect(link("prompts.page", label=value), 303)
        return redirect(link("prompts.trial", number=asked.id), 303)

    @pages.get(f"/prompts/<int(max={_LARGEST}):number>")
    def trial(number: int) -> Response:
        asked = _find(number)
        tasks = store.trials.tasks(number)
        report = summarize(asked, tasks)
        shown = sorted(
            (_shown(asked, each) for each in tasks if each.is_tried and each.problem is None),
            key=lambda each: -each.spread,
        )
        every = request.args.get("tasks") == "all"
        return show(
            "prompt_trial.html",
            live_s=2 if asked.is_open else None,
            trial=asked,
            model=weights_name(asked.model)[0],
            results=rank(report),
            seconds=seconds_per_question(report.tried, report.results),
            problems=[each for each in report.tried if each.problem is not None],
            tasks=shown if every else shown[:_SHOWN_TASKS],
            more=0 if every else len(shown) - _SHOWN_TASKS,
            badges=BADGES,
            fewest=FEWEST,
            separator=SEPARATOR,
        )

    @pages.post(f"/prompts/<int(max={_LARGEST}):number>/cancel")
    @takes_form
    def cancel(number: int) -> WerkzeugResponse:
        _find(number)
        if store.trials.cancel(number):
            store.actions.add("cancel", f"trial {number} of prompts", who=who_asks() or "not signed in")
            flash(f"Trial {number} was cancelled. What was found stays.", "good")
        else:
            flash(f"Trial {number} had ended by then.", "bad")
        return redirect(link("prompts.trial", number=number), 303)

    def queue(number: int) -> None:
        services.background.call(_REDIS_S, queue_trial, services.connection, number)

    def _find(number: int) -> PromptTrial:
        try:
            return store.trials.get(number)
        except StoreError as error:
            if error.is_transient:
                raise
            abort(404, str(error))

    return pages


def list_labels(services: Services) -> list[LabelChoice]:
    """The labels of all projects of our Label Studio, in their order."""
    url = services.settings.label_studio_url
    found = []
    for project in services.store.projects.all() if url is None else services.store.projects.of_address(url):
        try:
            labels = promptable_labels(parse_label_config(project.label_config))
        except LabelConfigError:  # the overview says what is wrong with it
            continue
        for place, (_, label) in enumerate(labels):
            now = f"{SEPARATOR} ".join(label.prompts)
            found.append(LabelChoice(f"{project.id}-{place}", project, label.label, now))
    return found


def rank(report: TrialReport) -> list[tuple[int, WordingResult]]:
    """The wordings with their places in the trial, the best first: by IoU, then by fewest false alarms."""
    places = enumerate(report.results)
    return sorted(places, key=lambda pair: (-(pair[1].iou or 0.0), sum(pair[1].false_alarms), pair[0]))


def _best(store: Store, trial: PromptTrial) -> WordingResult | None:
    """The best wording so far, of a trial that was tried on something."""
    if not trial.done:
        return None
    found = rank(summarize(trial, store.trials.tasks(trial.id)))[0][1]
    return found if found.ious else None


def _shown(trial: PromptTrial, task: TrialTask) -> ShownTask:
    address = task_address(trial.project, task.task_id)
    return ShownTask(task, address, tuple(each["iou"] for each in task.measures))

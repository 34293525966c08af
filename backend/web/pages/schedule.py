"""/schedule: when each project is fine-tuned next, what is under way, starting and stopping; the runs so far."""

from dataclasses import dataclass

from flask import Blueprint, Response, abort, flash, redirect, request
from werkzeug import Response as WerkzeugResponse

from backend.operations.training import change_schedule, request_run, tell_schedule
from backend.operations.turns import look_at_turns
from backend.web.forms import takes_form
from backend.web.pages import show
from backend.web.pages.layout import link
from backend.web.people import who_asks
from backend.web.services import Services
from labeling.errors import LabelingError
from labeling.settings import Settings
from labeling.store import FinetuneRun, Project
from labeling.store.base import utc_now
from worker.errors import WorkerError
from worker.finetune.progress import run_folder, tell_learnt_from, tell_progress, tell_verdict
from worker.queue.heartbeats import SCHEDULER, is_alive

_REDIS_S = 2.0
_RUNS = 30
BADGES = {"requested": "info", "running": "info", "promoted": "good", "refused": "warn", "failed": "bad", "stopped": ""}


@dataclass(frozen=True)
class ShownRun:
    """A run as a row of the page, in words."""

    run: FinetuneRun
    has_report: bool
    state: str
    learnt_from: str | None
    reasons: tuple[str, ...]


def make_blueprint(services: Services) -> Blueprint:
    """The routes /schedule, /schedule/start, /schedule/stop and /schedule/change; all but the first write."""
    pages = Blueprint("schedule", __name__, template_folder="templates")
    settings, store = services.settings, services.store

    @pages.get("/schedule")
    def page() -> Response:
        turns = look_at_turns(settings, store, utc_now())
        runs = [show_run(settings, run) for run in store.finetunes.newest(_RUNS)]
        is_open = any(each.run.ended_at is None for each in runs)
        return show(
            "schedule.html",
            live_s=5 if is_open else 30,
            turns=turns,
            runs=runs,
            runs_of={each.run.id: each for each in runs},
            tell=tell_schedule,
            has_scheduler=services.background.call(_REDIS_S, is_alive, services.connection, SCHEDULER),
            badges=BADGES,
            actions={each.subject: each for each in reversed(store.actions.latest(100))},
        )

    @pages.post("/schedule/start")
    @takes_form
    def start() -> WerkzeugResponse:
        project = _project()
        try:
            asked = request_run(settings, store, project)
        except (LabelingError, WorkerError) as error:
            _raise_outage(error)
            return _say(str(error), "bad")
        if asked.was_open:
            return _say(f"Run {asked.run.id} of {project.name} is open already.", "bad")
        store.actions.add(
            "start", f"run {asked.run.id}, project {project.project_id}", who=who_asks() or "not signed in"
        )
        return _say(f"Run {asked.run.id} of {project.name} was requested: a scheduler takes it.", "good")

    @pages.post("/schedule/stop")
    @takes_form
    def stop() -> WerkzeugResponse:
        project = _project()
        count = store.finetunes.stop(project)
        if not count:
            return _say(f"Nothing is under way for {project.name}.", "bad")
        store.actions.add("stop", f"runs of project {project.project_id}", who=who_asks() or "not signed in")
        return _say(f"The run of {project.name} was asked to stop; its checkpoint stays.", "good")

    @pages.post("/schedule/change")
    @takes_form
    def change() -> WerkzeugResponse:
        project = _project()
        if request.form.get("default") == "yes":
            store.finetunes.set_schedule(project, None)
            said = "goes by the default again"
        else:
            every = request.form.get("every", "").strip()
            if every and not (every.isdecimal() and len(every) < 8):
                return _say("Give a number of corrections, or nothing.", "bad")
            cron = request.form.get("cron", "").strip()[:200]
            try:
                schedule = change_schedule(settings, store, project, cron=cron, every=int(every or 0))
            except LabelingError as error:
                _raise_outage(error)
                return _say(str(error), "bad")
            said = tell_schedule(schedule)
        store.actions.add("schedule", f"project {project.project_id}: {said}", who=who_asks() or "not signed in")
        return _say(f"{project.name}: {said}.", "good")

    def _project() -> Project:
        row_id = request.form.get("project", "")
        found = store.projects.get(int(row_id)) if row_id.isdecimal() and len(row_id) < 10 else None
        if found is None:
            abort(404, "There is no such project.")
        return found

    return pages


def show_run(settings: Settings, run: FinetuneRun) -> ShownRun:
    """A run in words."""
    return ShownRun(
        run,
        (run_folder(settings, run) / "report.html").is_file(),
        tell_progress(settings, run),
        tell_learnt_from(run),
        tuple(tell_verdict(run)),
    )


def _say(text: str, kind: str) -> WerkzeugResponse:
    flash(text, kind)
    return redirect(link("schedule.page"), 303)


def _raise_outage(error: Exception) -> None:
    if getattr(error, "is_transient", False):
        raise error

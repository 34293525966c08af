"""GET /status, the overview: how far each project is, who works, and what needs attention; failed tasks tried again."""

import logging
from dataclasses import dataclass
from datetime import timedelta

from flask import Blueprint, Response, abort, flash, redirect, request
from werkzeug import Response as WerkzeugResponse

from backend.operations.attention import find_problems
from backend.operations.doctor.findings import Finding
from backend.operations.overview import ProjectOverview, look_at_projects, read_titles
from backend.operations.projects.predict import retry_failed
from backend.web.forms import takes_form
from backend.web.kept import Kept
from backend.web.pages import show
from backend.web.pages.choices import project_address, task_address
from backend.web.pages.layout import link
from backend.web.people import who_asks
from backend.web.services import Services
from labeling.errors import LabelingError
from labeling.settings import Settings
from labeling.store import EventFailure, Project
from labeling.versions import weights_name
from worker.errors import WorkerError
from worker.projects.open_project import open_project
from worker.queue.connection import Connection
from worker.queue.queues import GPU, queued_jobs
from worker.queue.worker_list import WorkerSeen, list_workers

logger = logging.getLogger(__name__)

_REDIS_S = 2.0
_RETRY_S = 3.0
_PROBLEMS_EVERY_S, _TITLES_EVERY_S = 30.0, 60.0
_EVENTS, _LATELY = 10, timedelta(days=1)


@dataclass(frozen=True)
class Overview:
    """Everything at one moment. `workers` and `queued` are None while Redis does not answer.

    `set_aside`: the last day's events of which nothing came. `problems` is None until the first look has ended.
    """

    model: str
    workers: list[WorkerSeen] | None
    queued: int | None
    set_aside: list[EventFailure]
    problems: list[Finding] | None
    projects: list[ProjectOverview]

    @property
    def is_changing(self) -> bool:
        """Whether a look in a few seconds shows something else."""
        return self.problems is None or any(project.under_way for project in self.projects)


def make_blueprint(services: Services) -> Blueprint:
    """The routes /status and /status/retry."""
    pages = Blueprint("status", __name__, template_folder="templates")
    settings, store = services.settings, services.store

    def find_problems_now() -> list[Finding]:
        return find_problems(settings)

    def read_titles_now() -> None:
        read_titles(settings, store)

    problems: Kept[list[Finding] | None] = Kept(find_problems_now, _PROBLEMS_EVERY_S, None)
    titles: Kept[None] = Kept(read_titles_now, _TITLES_EVERY_S, None)

    @pages.get("/status")
    def page() -> Response:
        titles.get()
        workers, queued = services.background.call(_REDIS_S, _queue, services.connection) or (None, None)
        seen = Overview(
            model=weights_name(settings.model)[0],
            workers=workers,
            queued=queued,
            set_aside=store.events.failures(_LATELY)[:_EVENTS],
            problems=problems.get(),
            projects=look_at_projects(settings, store),
        )
        return show(
            "status.html",
            live_s=5 if seen.is_changing else 20,
            seen=seen,
            project_address=project_address,
            task_address=task_address,
            blind_share=settings.blind_share,
        )

    @pages.post("/status/retry")
    @takes_form
    def retry() -> WerkzeugResponse:
        row_id = request.form.get("project", "")
        project = store.projects.get(int(row_id)) if row_id.isdecimal() and len(row_id) < 10 else None
        if project is None:
            abort(404, "There is no such project.")
        if project.label_studio_url != settings.installation_url.rstrip("/"):
            abort(400, "This project is of another Label Studio than the one that LABEL_STUDIO_URL names.")
        logger.info("%s asks for the failed tasks of project %d again.", who_asks() or "Somebody", project.project_id)
        outcome = services.background.call(_RETRY_S, _try_again, settings, project)
        flash(*_tell(project, outcome))
        return redirect(link("status.page"), 303)

    return pages


def _queue(connection: "Connection") -> tuple[list[WorkerSeen], int]:
    return list_workers(connection, GPU), queued_jobs(connection, GPU)


def _try_again(settings: Settings, project: Project) -> tuple[int, int] | str:
    """How many tasks are asked for again, and how many are gone; or why that could not be done."""
    try:
        with open_project(settings, project.project_id) as opened:
            return retry_failed(opened)
    except (LabelingError, WorkerError) as error:
        return str(error)


def _tell(project: Project, outcome: tuple[int, int] | str | None) -> tuple[str, str]:
    """A notice and its kind."""
    if outcome is None:
        return f"{project.name}: the failed tasks are being asked for again.", "good"
    if isinstance(outcome, str):
        return f"{project.name}: the failed tasks were not asked for again. {outcome}", "bad"
    asked, gone = outcome
    more = f" {gone} {'is' if gone == 1 else 'are'} gone from Label Studio." if gone else ""
    return f"{project.name}: {asked} task{'s' if asked != 1 else ''} asked for again.{more}", "good"

"""GET /status: is anything wrong, how far each project is, and what failed, with reasons."""

from dataclasses import dataclass
from datetime import timedelta

from flask import Blueprint, Response

from backend.operations.projects.predict import reasons
from backend.operations.projects.progress import duration
from backend.web.pages import show
from backend.web.services import Services
from labeling.credentials import without_credentials
from labeling.errors import LabelConfigError
from labeling.prompts.label_config import parse_label_config
from labeling.store import EventFailure, Project, Store
from labeling.store.base import utc_now
from labeling.versions import weights_name, weights_of
from worker.queue.connection import Connection
from worker.queue.queues import GPU, live_workers, queued_jobs

_REDIS_S = 2.0
_VERSIONS, _REASONS = 5, 10  # shown of a project
_LATELY = timedelta(days=1)  # what annotators asked for and did not get


@dataclass(frozen=True)
class VersionLine:
    """How many predictions of a version are where. `sent`: Label Studio got them."""

    name: str
    requested: int
    ready: int
    sent: int
    failed: int


@dataclass(frozen=True)
class ProjectStatus:
    """A project. `problem`: why it cannot be predicted, in words that say what to change. Newest version first.

    `failures`, `delays` and `unanswered`: reasons with their tasks; what is delayed is tried again by itself, and
    `unanswered` is what annotators lately asked for on the page.
    """

    number: int
    url: str
    shown: str | None
    problem: str | None
    notes: tuple[str, ...]
    versions: tuple[VersionLine, ...]
    failures: tuple[tuple[str, list[int]], ...]
    delays: tuple[tuple[str, list[int]], ...]
    unanswered: tuple[tuple[str, list[int]], ...]
    time_left: str | None

    @property
    def under_way(self) -> int:
        """Tasks that wait to be computed, or to be sent."""
        return sum(version.requested + version.ready for version in self.versions)

    @property
    def share_done(self) -> int:
        """Per cent of the versions that are under way."""
        under_way = [version for version in self.versions if version.requested + version.ready]
        done = sum(version.sent + version.failed for version in under_way)
        return 100 * done // max(1, done + self.under_way)


@dataclass(frozen=True)
class Status:
    """Everything at one moment. `workers` and `queued` are None while Redis does not answer.

    `set_aside`: the last day's events of which nothing came.
    """

    model: str
    workers: int | None
    queued: int | None
    set_aside: tuple[EventFailure, ...]
    projects: tuple[ProjectStatus, ...]

    @property
    def is_changing(self) -> bool:
        """Whether a look in a few seconds shows something else."""
        return any(project.under_way for project in self.projects)


def make_blueprint(services: Services) -> Blueprint:
    """The route /status."""
    pages = Blueprint("status", __name__, template_folder="templates")

    @pages.get("/status")
    def page() -> Response:
        found = look(services)
        return show("status.html", status=found, live_s=5 if found.is_changing else 20)

    return pages


def look(services: Services) -> Status:
    """The status of now. StoreError if the store does not answer."""
    store = services.store
    workers, queued = services.background.call(_REDIS_S, _queue, services.connection) or (None, None)
    projects = tuple(_project(store, project) for project in store.projects.all())
    set_aside = tuple(store.events.failures(_LATELY)[:_REASONS])
    return Status(weights_name(services.settings.model)[0], workers, queued, set_aside, projects)


def _queue(connection: "Connection") -> tuple[int, int]:
    return live_workers(connection, GPU), queued_jobs(connection, GPU)


def _project(store: Store, project: Project) -> ProjectStatus:
    problem: str | None = None
    notes: tuple[str, ...] = ()
    try:
        notes = parse_label_config(project.label_config).notes
    except LabelConfigError as error:
        problem = str(error)
    counts = store.progress.version_counts(project)
    versions = tuple(_version(name, of_status) for name, of_status in counts.items())[:_VERSIONS]
    failed = store.progress.failed_tasks(project, versions[0].name) if versions and versions[0].failed else []
    return ProjectStatus(
        number=project.project_id,
        url=f"{without_credentials(project.label_studio_url)}/projects/{project.project_id}/data",
        shown=project.shown_version,
        problem=problem,
        notes=notes,
        versions=versions,
        failures=tuple(reasons(failed)[:_REASONS]),
        delays=tuple(reasons(store.progress.delayed_tasks(project))[:_REASONS]),
        unanswered=tuple(reasons(store.progress.failed_answers(project, utc_now() - _LATELY)[:_REASONS])),
        time_left=_time_left(store, project, versions),
    )


def _version(name: str, counts: dict[str, int]) -> VersionLine:
    sent = counts.get("published", 0) + counts.get("delivered", 0)
    return VersionLine(name, counts.get("requested", 0), counts.get("ready", 0), sent, counts.get("failed", 0))


def _time_left(store: Store, project: Project, versions: tuple[VersionLine, ...]) -> str | None:
    """For what is requested, at the pace at which this model last worked; None where that is not known."""
    seconds = 0.0
    for version in versions:
        if version.requested:
            pace = store.progress.pace(weights=weights_of(version.name), project=project)
            if pace is None:
                return None
            seconds += pace.seconds_per_task * version.requested
    return duration(seconds) if seconds else None

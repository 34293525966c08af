"""How far each project is, what failed and why, and which versions there are: what the overview shows."""

from dataclasses import dataclass
from datetime import timedelta

from backend.operations.projects.predict import reasons
from backend.operations.projects.progress import duration
from labeling.errors import LabelConfigError
from labeling.label_studio.client import LabelStudioClient
from labeling.prompts.known import known_names, unknown_notes
from labeling.prompts.label_config import LabelConfig, parse_label_config
from labeling.settings import Settings
from labeling.store import Pace, Project, Store
from labeling.store.base import utc_now
from labeling.versions import model_version, weights_of
from worker.projects.active_model import active_model

_VERSIONS, _REASONS = 5, 10  # shown of a project
_LATELY = timedelta(days=1)  # what annotators asked for and did not get

Reasons = tuple[tuple[str, list[int]], ...]


@dataclass(frozen=True)
class VersionLine:
    """How many predictions of a version are where. `sent`: Label Studio got them."""

    name: str
    requested: int
    ready: int
    sent: int
    failed: int


@dataclass(frozen=True)
class ProjectOverview:
    """A project. `problem`: why it cannot be predicted, in words that say what to change. Newest version first.

    `masked` of `tasks` hold masks of `current`, the version that tasks are predicted with now. `failures`, `delays` and
    `unanswered`: reasons with their tasks; what is delayed is tried again by itself, and `unanswered` is what
    annotators lately asked for on the page.
    """

    project: Project
    current: str | None
    problem: str | None
    notes: tuple[str, ...]
    masked: int
    tasks: int
    versions: tuple[VersionLine, ...]
    failed: int
    failures: Reasons
    delays: Reasons
    unanswered: Reasons
    pace: Pace | None

    @property
    def under_way(self) -> int:
        """Tasks that wait to be computed, or to be sent."""
        return sum(version.requested + version.ready for version in self.versions)

    @property
    def time_left(self) -> str | None:
        """For what is requested, at the pace at which this model last worked; None where that is not known."""
        requested = sum(version.requested for version in self.versions if version.name == self.current)
        return duration(self.pace.seconds_per_task * requested) if self.pace and requested else None

    @property
    def rate(self) -> str | None:
        """Such as "24 tasks a minute"."""
        if self.pace is None or self.pace.seconds_per_task <= 0:
            return None
        a_minute = 60 / self.pace.seconds_per_task
        return f"{a_minute:.0f} tasks a minute" if a_minute >= 2 else f"{60 * a_minute:.0f} tasks an hour"


def look_at_projects(settings: Settings, store: Store) -> list[ProjectOverview]:
    """All projects. StoreError if the store does not answer."""
    return [_look(settings, store, project) for project in store.projects.all()]


def read_titles(settings: Settings, store: Store) -> None:
    """Ask Label Studio for the titles and sizes of its projects, and remember them. LabelStudioError, StoreError."""
    client = LabelStudioClient.from_settings(settings)
    if client is None:
        return
    try:
        for project in store.projects.of_address(settings.installation_url):
            said = client.get_project(project.project_id)
            store.projects.describe(project, str(said.get("title") or ""), int(said.get("task_number") or 0))
    finally:
        client.close()


def _look(settings: Settings, store: Store, project: Project) -> ProjectOverview:
    config, problem = _config(project)
    counts = store.progress.version_counts(project)
    versions = tuple(_version(name, of_status) for name, of_status in counts.items())
    model = active_model(settings, store, project)
    current = model_version(model, config) if config else None
    shown = current if current in counts else next(iter(counts), current)
    known = next((version for version in versions if version.name == shown), None)
    failed = store.progress.failed_tasks(project, known.name) if known and known.failed else []
    masked = store.gallery.masked_tasks(project, shown) if shown else 0
    seen = known.requested + known.ready + known.sent + known.failed if known else 0
    return ProjectOverview(
        project=project,
        current=shown,
        problem=problem,
        notes=(*config.notes, *unknown_notes(known_names(settings, model), config)) if config else (),
        masked=masked,
        tasks=max(seen if project.task_count is None else project.task_count, masked),
        versions=versions[:_VERSIONS],
        failed=len(failed),
        failures=tuple(reasons(failed)[:_REASONS]),
        delays=tuple(reasons(store.progress.delayed_tasks(project))[:_REASONS]),
        unanswered=tuple(reasons(store.progress.failed_answers(project, utc_now() - _LATELY)[:_REASONS])),
        pace=store.progress.pace(weights=weights_of(shown), project=project) if shown else None,
    )


def _config(project: Project) -> tuple[LabelConfig | None, str | None]:
    try:
        return parse_label_config(project.label_config), None
    except LabelConfigError as error:
        return None, str(error)


def _version(name: str, counts: dict[str, int]) -> VersionLine:
    sent = counts.get("published", 0) + counts.get("delivered", 0)
    return VersionLine(name, counts.get("requested", 0), counts.get("ready", 0), sent, counts.get("failed", 0))

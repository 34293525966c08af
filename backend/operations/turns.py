"""When each project is fine-tuned next: by the clock, and by how many corrections of those needed are there."""

from dataclasses import dataclass
from datetime import datetime

from croniter import CroniterError, croniter

from backend.operations.training import default_schedule
from labeling.settings import Settings
from labeling.store import FinetuneRun, FinetuneSchedule, Project, Store


@dataclass(frozen=True)
class Turn:
    """A project's schedule and how far its next run is.

    `next_at` is the next time by the clock (UTC), if it goes by that; a run then begins only where something was
    corrected. `corrections` came since the newest run (`newest`), and `open_run` is one that is not done.
    """

    project: Project
    schedule: FinetuneSchedule
    is_own: bool
    next_at: datetime | None
    corrections: int
    newest: FinetuneRun | None

    @property
    def open_run(self) -> FinetuneRun | None:
        """The project's run that is requested or running."""
        return self.newest if self.newest is not None and self.newest.ended_at is None else None

    @property
    def is_scheduled(self) -> bool:
        """Whether a run ever begins by itself."""
        return self.schedule.cron is not None or self.schedule.corrections is not None


def look_at_turns(settings: Settings, store: Store, now: datetime) -> list[Turn]:
    """Of all projects of our Label Studio; where none is set, of all."""
    default, url = default_schedule(settings), settings.label_studio_url
    turns = []
    for project in store.projects.all() if url is None else store.projects.of_address(url):
        own = store.finetunes.find_schedule(project)
        newest = next(iter(store.finetunes.newest(1, project=project)), None)
        schedule = own or default
        corrections = store.corrections.count(project, since=None if newest is None else newest.created_at)
        turns.append(Turn(project, schedule, own is not None, _next(schedule.cron, now), corrections, newest))
    return turns


def _next(cron: str | None, now: datetime) -> datetime | None:
    if cron is None:
        return None
    try:
        found: datetime = croniter(cron, now).get_next(datetime)
    except CroniterError:  # of the settings, which the scheduler refuses
        return None
    return found

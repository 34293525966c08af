"""Everything the demo runs, from the start to the masks in Label Studio."""

import shlex
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from backend.console.demo.check import check_demo, check_training_project
from backend.console.demo.label_studio import LabelStudioServer
from backend.console.demo.pictures import missing_packages
from backend.console.demo.sample_project import NUCLEI, SampleProject, photographs
from backend.console.demo.training_news import TrainingNews
from backend.console.demo.training_project import TISSUE, place_tissue, submit_holdout
from backend.console.demo.welcome import open_browser, welcome
from backend.console.supervisor.embedded_redis import data_folder_lock
from backend.console.supervisor.processes import Command, Supervisor
from backend.console.supervisor.up import is_ready, start_services
from backend.operations.running import announced
from labeling.extras import install_command
from labeling.private_files import keep_private
from labeling.settings import Settings, environment_of
from labeling.store import Store
from worker.errors import SupervisorError

START_S = 600.0  # Label Studio's first start (migrations) takes 50 s on two cores; a warm one 6 s
_COUNT_EVERY_S = 0.5
ALL_THERE = "All masks are there"


def run_demo(
    server: LabelStudioServer, settings: Settings, console: Console, *, check: bool, browser: bool = False
) -> bool:
    """Start Label Studio beside all that `argenseg up` starts, pre-annotate the sample projects, then stay until
    Ctrl-C. Where to look is said as soon as the first mask is there; with `browser`, it is opened.

    With `check` it is verified instead of staying. Everything is stopped at the end, whatever happened. Returns False
    when Ctrl-C or SIGTERM came before the masks were there. Raises SupervisorError, LabelingError, or CheckFailed.
    """
    log_file = server.data_dir.parent / "logs" / "demo.log"
    keep_private(settings.data_dir)
    services = Supervisor(log_file, echo=False, log_format=settings.log_format)
    samples = [NUCLEI, TISSUE, *photographs()]
    with (
        data_folder_lock(settings) as lock,
        announced(settings),
        ThreadPoolExecutor(1) as drawing,
        services.supervising() as supervisor,
    ):
        clock = _Clock(console)
        waiting = "" if server.has_database else " (it makes its database first: a minute)"
        clock.say(f"Starting Label Studio{waiting} and the model. Log: {log_file}")
        supervisor.start(Command("studio", server.command, server.environment(), restarts=False))
        start_services(supervisor, settings, lock)
        for sample in samples:
            drawing.submit(sample.images)  # meanwhile; they are kept
        if not _wait(supervisor, log_file, lambda: is_ready(settings)):
            return False
        clock.say("The model is warm.")
        if not _wait(supervisor, log_file, server.is_up):
            return False
        clock.say("Label Studio answers. Making the sample project.")
        answered = time.monotonic()
        projects = [SampleProject(server.url, server.token(), sample) for sample in samples]
        nuclei, tissue, *_ = projects
        with Store.open(settings.database_url, settings.blob_url) as store:
            nuclei.connect_backend(settings.public_backend_url, settings)
            nuclei.import_images(only_first=True)
            if not _predict(supervisor, nuclei, store, console):
                return False
            clock.say(
                f"The first mask is there, {time.monotonic() - answered:.0f} s after Label Studio's first answer."
            )
            nuclei.create_view()
            if not check:
                console.print(welcome(server, nuclei, settings), soft_wrap=True)
                if browser:
                    open_browser(f"{server.url}/projects/{nuclei.id}/data", console)
            place_tissue(store)
            write_environment(settings)
            for project in projects:
                project.connect_backend(settings.public_backend_url, settings)
                project.import_images()
                project.create_view()
            versions = []
            for project in projects:
                if (version := _predict(supervisor, project, store, console)) is None:
                    return False
                versions.append(version)
                clock.say(
                    f"{project.predicted(version)} masks: {server.url}/projects/{project.id}/data "
                    f"{project.sample.title}"
                )
            submit_holdout(tissue, versions[1])
            if check:
                check_demo(nuclei, versions[0], store.corrections.of_project, console)
                check_training_project(tissue, store, settings.gate_min_images, console)
                return True
            if missing := missing_packages():
                clock.say(
                    f"Without the real pictures of {', '.join(missing)}: {install_command('demo')} brings"
                    " them, for a demo in another --data-dir."
                )
            clock.say(f"{ALL_THERE}.")
            news = TrainingNews(settings, store, console)
            supervisor.run_until(news.tell)
        console.print("Stopping. Everything you did is kept for the next start.")
    return True


class _Clock:
    """Says what happens, with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console, self._started = console, time.monotonic()

    def say(self, text: str) -> None:
        self._console.print(f"{time.monotonic() - self._started:4.0f} s  {text}", markup=False, soft_wrap=True)


def _wait(supervisor: Supervisor, log_file: Path, is_done: Callable[[], bool]) -> bool:
    """Until it is done: True; False if Ctrl-C came first. SupervisorError if it takes too long."""
    if supervisor.run_until(is_done, START_S):
        return True
    if supervisor.stop_requested:
        return False
    raise SupervisorError(f"Label Studio or the model was not ready after {START_S:.0f} s; see {log_file}.")


def write_environment(settings: Settings) -> None:
    """Write what a shell reads (". argenseg.env") so that commands work on this demo. Its owner's only: the token."""
    file = settings.data_dir.parent / "argenseg.env"
    file.touch(mode=0o600)
    variables = environment_of(settings).items()
    file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables if value))


def _predict(supervisor: Supervisor, project: SampleProject, store: Store, console: Console) -> str | None:
    """Ask for the masks of all tasks, as "Retrieve Predictions" does, wait for them, and pin their version.

    Returns that version, or None if Ctrl-C came first. Tasks that hold its masks already are left as they are.
    """
    project.retrieve_predictions()
    version, wanted, next_count = project.model_version(), project.task_count(), 0.0

    def is_finished() -> bool:
        nonlocal next_count
        if time.monotonic() < next_count:
            return False
        next_count = time.monotonic() + _COUNT_EVERY_S
        counts = store.progress.counts(project.id)
        return not counts.get("requested") and not counts.get("ready")

    with console.status(f"Drawing {wanted} masks of {project.sample.title!r}"):
        if not supervisor.run_until(is_finished):
            return None
    if failed := store.progress.counts(project.id).get("failed"):
        console.print(f"[yellow]{failed} of the predictions failed; the log says why.")
    if project.predicted(version):
        project.pin(version)
    return version

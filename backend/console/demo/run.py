"""Everything the demo runs, from the start to the masks in Label Studio."""

import shlex
import time
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backend.console.demo.check import check_demo, check_training_project
from backend.console.demo.label_studio import PASSWORD, USER, LabelStudioServer
from backend.console.demo.pictures import missing_packages
from backend.console.demo.sample_project import NUCLEI, SampleProject, photographs
from backend.console.demo.training_news import TrainingNews
from backend.console.demo.training_project import TISSUE, place_tissue, submit_holdout
from backend.console.supervisor.embedded_redis import data_folder_lock
from backend.console.supervisor.processes import Command, Supervisor
from backend.console.supervisor.up import is_ready, start_services
from backend.operations.running import announced
from labeling.extras import install_command
from labeling.settings import Settings, environment_of
from labeling.store import Store
from worker.errors import SupervisorError

START_S = 600.0  # Label Studio's first start (migrations) takes 50 s on two cores; a warm one 6 s
_COUNT_EVERY_S = 0.5


def run_demo(server: LabelStudioServer, settings: Settings, console: Console, *, check: bool) -> bool:
    """Start Label Studio beside all that `argenseg up` starts, pre-annotate the sample project, then stay until Ctrl-C.

    With `check` it is verified instead of staying. Everything is stopped at the end, whatever happened. Returns False
    when Ctrl-C or SIGTERM came before the masks were there. Raises SupervisorError, LabelingError, or CheckFailed.
    """
    log_file = server.data_dir.parent / "logs" / "demo.log"
    started = time.monotonic()
    with (
        data_folder_lock(settings) as lock,
        announced(settings),
        Supervisor(log_file, echo=False).supervising() as supervisor,
    ):
        console.print(f"Starting Label Studio and the model (the first start takes a minute). Log: {log_file}")
        supervisor.start(Command("studio", server.command, server.environment(), restarts=False))
        start_services(supervisor, settings, lock)
        if not supervisor.run_until(lambda: server.is_up() and is_ready(settings), START_S):
            if supervisor.stop_requested:
                return False
            raise SupervisorError(f"Label Studio or the model was not ready after {START_S:.0f} s; see {log_file}.")
        samples = [each for each in (NUCLEI, TISSUE, photographs()) if each is not None]
        projects = [SampleProject(server.url, server.token(), sample) for sample in samples]
        nuclei, tissue, *_ = projects
        with Store.open(settings.database_url, settings.blob_url) as store:
            place_tissue(store)
            for project in projects:
                project.import_images()
                project.create_view()
                project.connect_backend(settings.public_backend_url, settings)
            versions = []
            for project in projects:
                if (version := predict_all(supervisor, project, store, console)) is None:
                    return False
                versions.append(version)
            submit_holdout(tissue, versions[1])
            if check:
                check_demo(nuclei, versions[0], store.corrections.of_project, console)
                check_training_project(tissue, store, settings.gate_min_images, console)
                return True
            supervisor.say(f"ready after {time.monotonic() - started:.0f} s")
            write_environment(settings)
            if missing := missing_packages():
                console.print(
                    f"Without the real pictures of {', '.join(missing)}: {install_command('demo')} brings"
                    " them, for a demo in another --data-dir.",
                    markup=False,
                )
            console.print(_welcome(server, projects, settings))
            news = TrainingNews(settings, store, console)
            supervisor.run_until(news.tell)
        console.print("Stopping. Everything you did is kept for the next start.")
    return True


def write_environment(settings: Settings) -> None:
    """Write what a shell reads (". argenseg.env") so that commands work on this demo. Its owner's only: the token."""
    file = _environment_file(settings)
    file.touch(mode=0o600)
    variables = environment_of(settings).items()
    file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables if value))


def predict_all(supervisor: Supervisor, project: SampleProject, store: Store, console: Console) -> str | None:
    """Ask for the masks of all tasks, as "Retrieve Predictions" does, show their arrival, and pin their version.

    Returns that version, or None if Ctrl-C came first. Tasks that hold its masks already are left as they are.
    """
    project.retrieve_predictions()
    version = project.model_version()
    bar = Progress(
        TextColumn(f"Pre-annotating {project.sample.title!r}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        refresh_per_second=4,
    )
    next_count = 0.0
    with bar:
        shown = bar.add_task("", total=project.task_count())

        def is_finished() -> bool:
            nonlocal next_count
            if time.monotonic() < next_count:
                return False
            next_count = time.monotonic() + _COUNT_EVERY_S
            counts = store.progress.counts(project.id)
            bar.update(shown, completed=project.predicted(version))
            return not counts.get("requested") and not counts.get("ready")

        if not supervisor.run_until(is_finished):
            return None
    if failed := store.progress.counts(project.id).get("failed"):
        console.print(f"[yellow]{failed} of the predictions failed; the log says why.")
    if project.predicted(version):
        project.pin(version)
    return version


def _welcome(server: LabelStudioServer, projects: list[SampleProject], settings: Settings) -> Panel:
    nuclei, tissue, *others = projects
    photographs = [f"[bold]{server.url}/projects/{each.id}/data[/bold]   {each.sample.title}\n\n" for each in others]
    return Panel(
        f"user [bold]{USER}[/bold]   password [bold]{PASSWORD}[/bold]\n\n"
        f"[bold]{server.url}/projects/{nuclei.id}/data[/bold]   masks are there\n"
        "Open a task: its mask is there. Choose it under Regions, paint or erase, submit: your correction is stored.\n"
        "Switch on Auto-Annotation, type what to segment under the image, press Add, accept the suggestion.\n"
        "Import an image of your own: its mask arrives a moment later (open the task, or reload its page).\n\n"
        f"[bold]{server.url}/projects/{tissue.id}/data[/bold]   teach it tissue marked brown, which it never saw\n"
        "1. Put the masks of the first four tasks right (label Nucleus, brush or eraser), submit them. Tasks with a\n"
        "   star are done: they are the holdout, on which models are measured and from which none learns.\n"
        "2. Settings, Model, the dots beside ARGenSeg, Start Training. It takes some minutes; how far it is, and then\n"
        f"   the verdict and its report: here, and on [bold]{settings.local_backend_url}/finetune[/bold]\n"
        "3. A version that is surely better is active at once: open another task. One that is not changes nothing.\n"
        f"   To go back, in a shell that read {_environment_file(settings)} (. FILE):\n"
        f"   [bold]argenseg models rollback --project {tissue.id}[/bold]\n\n"
        f"{''.join(photographs)}"
        "Ctrl-C stops everything and keeps your work.",
        title="Label Studio with masks drawn by ARGenSeg",
        expand=False,
    )


def _environment_file(settings: Settings) -> Path:
    return settings.data_dir.parent / "argenseg.env"

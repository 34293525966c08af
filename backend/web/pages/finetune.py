"""GET /finetune: the fine-tune runs and how far they are; GET /finetune/N: a run's report."""

from dataclasses import dataclass

from flask import Blueprint, Response, abort

from backend.web.pages import show, show_html
from backend.web.services import Services
from labeling.errors import StoreError
from labeling.store import FinetuneRun
from worker.finetune.progress import run_folder, tell_learnt_from, tell_progress, tell_verdict

_LARGEST = 2**31 - 1  # of a run's number, as databases keep it


@dataclass(frozen=True)
class RunLine:
    """A run as a row of the page. `project` is None for one of all projects, `learnt_from` where there is no report."""

    number: int
    has_report: bool
    project: int | None
    candidate: str | None
    state: str
    learnt_from: str | None
    reasons: tuple[str, ...]


def make_blueprint(services: Services) -> Blueprint:
    """The routes /finetune and /finetune/N."""
    pages = Blueprint("finetune", __name__, template_folder="templates")

    @pages.get("/finetune")
    def page() -> Response:
        listed = services.store.finetunes.newest()
        is_open = any(run.status in ("requested", "running") for run in listed)
        return show("finetune.html", runs=[_line(services, run) for run in listed], live_s=5 if is_open else None)

    @pages.get(f"/finetune/<int(max={_LARGEST}):number>")
    def report(number: int) -> Response:
        try:
            run = services.store.finetunes.get(number)
        except StoreError as error:
            if error.is_transient:
                raise
            abort(404, f"There is no fine-tune run {number}.")
        file = run_folder(services.settings, run) / "report.html"
        if not file.is_file():
            abort(404, f"Run {number} has no report on this machine: {tell_progress(services.settings, run)}.")
        return show_html(file.read_text())

    return pages


def _line(services: Services, run: FinetuneRun) -> RunLine:
    return RunLine(
        number=run.id,
        has_report=(run_folder(services.settings, run) / "report.html").is_file(),
        project=None if run.project is None else run.project.project_id,
        candidate=run.candidate,
        state=tell_progress(services.settings, run),
        learnt_from=tell_learnt_from(run),
        reasons=tuple(tell_verdict(run)),
    )

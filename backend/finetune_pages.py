"""GET /finetune: the fine-tune runs and how far they are; GET /finetune/N: a run's report. Read-only."""

from html import escape

from flask import Blueprint, Response, abort

from backend.services import Services
from labeling.errors import StoreError
from labeling.store.model_records import FinetuneRun
from worker.finetune.progress import run_folder, tell_progress, tell_verdict

_REFRESH_S = 5
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: left;
vertical-align: top }
"""
_HEAD = '<!doctype html><html lang="en"><meta charset="utf-8">'
_HEADERS = {"Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}


def make_blueprint(services: Services) -> Blueprint:
    """The routes /finetune and /finetune/N."""
    pages = Blueprint("finetune", __name__)

    @pages.get("/finetune")
    def runs() -> Response:
        listed = services.store.list_finetunes()
        is_open = any(run.status in ("wanted", "running") for run in listed)
        refresh = f'<meta http-equiv="refresh" content="{_REFRESH_S}">' * is_open
        rows = "".join(_row(services, run) for run in listed)
        table = f"<table><tr><th>run<th>project<th>makes<th>state<th>why{rows}</table>" if rows else "<p>None yet.</p>"
        return _page(f"{_HEAD}{refresh}<title>Fine-tuning</title><style>{_STYLE}</style><h1>Fine-tuning</h1>{table}")

    @pages.get("/finetune/<int:number>")
    def report(number: int) -> Response:
        try:
            run = services.store.get_finetune(number)
        except StoreError as error:
            if error.is_transient:
                raise
            abort(404, f"There is no fine-tune run {number}.")
        file = run_folder(services.settings, run) / "report.html"
        if not file.is_file():
            abort(404, f"Run {number} has no report on this machine: {tell_progress(services.settings, run)}.")
        return _page(file.read_text())

    return pages


def _row(services: Services, run: FinetuneRun) -> str:
    has_report = (run_folder(services.settings, run) / "report.html").is_file()
    number = f'<a href="/finetune/{run.id}">{run.id}: report</a>' if has_report else str(run.id)
    project = "all" if run.project is None else str(run.project.project_id)
    reasons = "<br>".join(map(escape, tell_verdict(run)))
    state = escape(tell_progress(services.settings, run))
    return f"<tr><td>{number}<td>{project}<td>{escape(run.candidate or '–')}<td>{state}<td>{reasons}"


def _page(html: str) -> Response:
    return Response(html, mimetype="text/html", headers=_HEADERS)

"""GET /finetune/N: a training run's report, and its pictures; /finetune, where the runs were, leads to the schedule."""

import re
from pathlib import Path

from flask import Blueprint, Response, abort, redirect, send_file
from werkzeug import Response as WerkzeugResponse

from backend.web.pages import show_html
from backend.web.pages.layout import link
from backend.web.services import Services
from labeling.errors import StoreError
from worker.finetune.progress import run_folder, tell_progress

_LARGEST = 2**31 - 1  # of a run's number, as databases keep it
_PICTURE = re.compile(r"\d{1,9}-(truth|answer)\.jpg")


def make_blueprint(services: Services) -> Blueprint:
    """The routes /finetune, /finetune/N and /finetune/N/SIDE/PICTURE."""
    pages = Blueprint("finetune", __name__, template_folder="templates")

    @pages.get("/finetune")
    def runs() -> WerkzeugResponse:
        return redirect(link("schedule.page"), 301)

    @pages.get(f"/finetune/<int(max={_LARGEST}):number>")
    def report(number: int) -> Response:
        folder, state = _folder(number)
        file = folder / "report.html"
        if not file.is_file():
            abort(404, f"Run {number} has no report on this machine: {state}.")
        return show_html(file.read_text())

    @pages.get(f"/finetune/<int(max={_LARGEST}):number>/<any(live,candidate):side>/<name>")
    def picture(number: int, side: str, name: str) -> Response:
        folder, _ = _folder(number)
        file = folder / side / "pictures" / name
        if not _PICTURE.fullmatch(name) or not file.is_file():
            abort(404, "There is no such picture on this machine (any more).")
        answer = send_file(file.absolute(), mimetype="image/jpeg")
        answer.headers["Cache-Control"] = "private, max-age=3600"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return answer

    def _folder(number: int) -> tuple[Path, str]:
        try:
            run = services.store.finetunes.get(number)
        except StoreError as error:
            if error.is_transient:
                raise
            abort(404, f"There is no fine-tune run {number}.")
        return run_folder(services.settings, run), tell_progress(services.settings, run)

    return pages

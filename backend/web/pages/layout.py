"""What all pages share: the navigation, addresses that work behind any proxy, static files, and short notices."""

import hashlib
import secrets
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, abort, current_app, request, send_from_directory, url_for

STATIC = Path(__file__).parent / "static"

NAVIGATION = (
    ("Overview", "status.page"),
    ("Masks", "masks.page"),
    ("Corrections", "corrections.page"),
    ("Quality", "quality.page"),
    ("Models", "models.page"),
    ("Schedule", "schedule.page"),
    ("Prompts", "prompts.page"),
)
"""Titles and endpoints in their order; those that this application does not have are not shown."""

_A_YEAR = "private, max-age=31536000, immutable"


def set_up(app: Flask) -> None:
    """Give this application's templates `link`, `static` and `navigation`, and its views `flask.flash`.

    A notice travels in a signed cookie: it is lost, and nothing else, when the backend starts again.
    """
    app.secret_key = secrets.token_bytes(32)
    app.config.update(SESSION_COOKIE_NAME="argenseg", SESSION_COOKIE_SAMESITE="Strict")
    app.jinja_env.globals.update(link=link, static=static, navigation=navigation)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.register_blueprint(_make_blueprint())


def link(endpoint: str, **values: Any) -> str:
    """The address of a view, relative to the page that is asked for: it works under any path that a proxy adds."""
    return "../" * (request.path.count("/") - 1) + (url_for(endpoint, **values).lstrip("/") or "./")


def static(name: str) -> str:
    """The address of a file of `static/`; another content has another address."""
    return link("static.file", digest=_digest(name), name=name)


def navigation() -> list[tuple[str, str, bool]]:
    """Title, address and whether it is shown just now, of each page that exists."""
    here = request.blueprint
    return [
        (title, link(endpoint), endpoint.partition(".")[0] == here)
        for title, endpoint in NAVIGATION
        if endpoint in current_app.view_functions
    ]


def _make_blueprint() -> Blueprint:
    files = Blueprint("static", __name__, template_folder="templates")

    @files.get("/static/<digest>/<name>")
    def file(digest: str, name: str) -> Response:
        if name not in _names() or digest != _digest(name):
            abort(404, "There is no such file.")
        answer = send_from_directory(STATIC, name)
        answer.headers["Cache-Control"] = _A_YEAR
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer

    return files


@cache
def _names() -> frozenset[str]:
    return frozenset(each.name for each in STATIC.iterdir() if each.is_file())


@cache
def _digest(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]

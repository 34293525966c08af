"""Forms of our own pages: a token that no other page can read shows that the form is ours.

    @pages.post("/finetune/start")
    @takes_form
    def start() -> Response: ...

    <form method="post" action="/finetune/start">{{ csrf_field() }} ...</form>

A script of ours sends `csrf_token()` as the header X-CSRF-Token instead, with a form's body. One token serves one
process: who opened a page before a restart is asked to load it again.
"""

import hmac
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, current_app, request
from markupsafe import Markup
from werkzeug.exceptions import Forbidden

FIELD, HEADER = "csrf_token", "X-CSRF-Token"

V = TypeVar("V", bound=Callable[..., Any])


def takes_form(view: V) -> V:
    """Mark a view that takes a form of our pages, with its token; all others that write take JSON only."""
    view.takes_form = True  # type: ignore[attr-defined]
    return view


def is_form_view(view: Callable[..., Any]) -> bool:
    """Whether it was marked."""
    return bool(getattr(view, "takes_form", False))


def offer_tokens(app: Flask) -> None:
    """Give the templates of this application `csrf_token()` and `csrf_field()`."""
    token = app.config["CSRF_TOKEN"] = secrets.token_urlsafe()
    field = Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, token)
    app.jinja_env.globals.update(csrf_token=lambda: token, csrf_field=lambda: field)


def check_token() -> None:
    """Forbidden for a request without the token."""
    given = request.headers.get(HEADER) or request.form.get(FIELD, "")
    if not hmac.compare_digest(given.encode(), current_app.config["CSRF_TOKEN"].encode()):
        raise Forbidden("This page is from before the backend was started again. Load it anew, then try once more.")

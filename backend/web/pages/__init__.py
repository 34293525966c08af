"""What people see of the backend in a browser. Read-only: nothing here changes anything."""

from typing import Any

from flask import Response, render_template, request

_HEADERS = {"Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}


def asks_for_html() -> bool:
    """Whether a browser asks; programs take anything, and get JSON."""
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def show(template: str, **values: Any) -> Response:
    """A page of `templates/`, which Jinja escapes."""
    return show_html(render_template(template, **values))


def show_html(html: str) -> Response:
    """A whole page, without scripts or anything from elsewhere."""
    return Response(html, mimetype="text/html", headers=_HEADERS)

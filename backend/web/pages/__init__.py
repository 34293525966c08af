"""What people see of the backend in a browser: pages of `templates/` in one layout, and the files of `static/`.

A page is a blueprint whose GET view is named `page`, so that the layout's navigation finds it; what writes is a form
(`backend.web.forms`). Scripts and styles come from `static/` only: the content policy forbids them inside a page.
"""

from typing import Any

from flask import Response, render_template, request

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_DOCUMENT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


def asks_for_html() -> bool:
    """Whether a browser asks; programs take anything, and get JSON."""
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def show(template: str, *, live_s: int | None = None, **values: Any) -> Response:
    """A page of `templates/`, which Jinja escapes. With `live_s` it brings itself up to date every so many seconds."""
    return _html(render_template(template, live_s=live_s, **values), _POLICY)


def show_html(html: str) -> Response:
    """A whole document with its styles in it, such as a report; without scripts or anything from elsewhere."""
    return _html(html, _DOCUMENT_POLICY)


def _html(html: str, policy: str) -> Response:
    headers = _HEADERS | {"Content-Security-Policy": policy, "Cache-Control": "private, no-cache"}
    return Response(html, mimetype="text/html", headers=headers)

"""Who may call, and with what: the rules that keep pages of other sites from reading or writing here.

A browser sends requests for any page that asks. Which of them are not ours it tells by Host, Origin and Sec-Fetch-Site;
and without asking first it sends no application/json. Programs, such as Label Studio, send no Origin.
"""

import logging
from urllib.parse import urlsplit

from flask import Flask, current_app, request
from werkzeug.exceptions import Forbidden, MisdirectedRequest, UnsupportedMediaType

from backend.operations.hosts import host_and_port, how_to_allow, is_allowed_host
from backend.web import forms, health, metrics
from labeling.settings import Settings

logger = logging.getLogger(__name__)

ANY_HOST = health.OPEN_PATHS | {metrics.PATH}  # asked by what watches over us, under names that nobody gave us
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


def guard(app: Flask, settings: Settings) -> None:
    """Have every request of this application pass the rules before its view is called."""
    app.before_request(lambda: _check(settings))
    forms.offer_tokens(app)


def _check(settings: Settings) -> None:
    if request.path not in ANY_HOST:
        _check_host(settings)
    if request.method not in _READS:
        _check_origin(settings)
        _check_body()


def _check_host(settings: Settings) -> None:
    host = request.environ.get("HTTP_HOST")
    if host is None or is_allowed_host(host, settings):  # every browser names one
        return
    hint = how_to_allow(host[:255], settings)
    logger.warning("A request of %s for the host %.255r was refused. %s", request.remote_addr, host, hint)
    raise MisdirectedRequest(f"This backend is not called by that name. {hint}")


def _check_origin(settings: Settings) -> None:
    origin = request.headers.get("Origin")
    is_foreign = request.headers.get("Sec-Fetch-Site", "").lower() == "cross-site"
    if is_foreign or (origin is not None and not _is_ours(origin, settings)):
        logger.warning("A page of %.255r, opened at %s, was refused.", origin, request.remote_addr)
        raise Forbidden("Pages of other sites may not write here.")


def _is_ours(origin: str, settings: Settings) -> bool:
    scheme, _, address = origin.partition("://")
    if scheme not in ("http", "https"):  # also "null"
        return False
    theirs = host_and_port(address, scheme)
    public = urlsplit(settings.backend_url or "")
    ours = {host_and_port(request.environ.get("HTTP_HOST", ""), scheme)}
    ours.add(host_and_port(public.netloc.rpartition("@")[2], public.scheme))
    return theirs is not None and theirs in ours


def _check_body() -> None:
    if request.url_rule is None:  # 404 and 405 come by themselves
        return
    view = current_app.view_functions[request.url_rule.endpoint]
    if not forms.is_form_view(view):
        if request.mimetype != "application/json":
            raise UnsupportedMediaType("Send the body as JSON, with the header Content-Type: application/json.")
    elif request.mimetype not in _FORMS:
        raise UnsupportedMediaType("This takes a form of our own pages only.")
    else:
        forms.check_token()

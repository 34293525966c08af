"""The web application: Label Studio's protocol and webhooks, behind optional basic authentication."""

import hmac
import logging

from flask import Flask, Response, jsonify, redirect, request
from werkzeug import Response as WerkzeugResponse
from werkzeug.exceptions import HTTPException, MethodNotAllowed, Unauthorized

from backend.web import health, metrics, openapi, protocol, statistics_api, webhooks
from backend.web.background import Background
from backend.web.callers import guard
from backend.web.pages import (
    asks_for_html,
    corrections,
    finetune,
    layout,
    masks,
    models,
    pictures,
    prompts,
    quality,
    schedule,
    show,
    status,
)
from backend.web.services import Services, WaitingRoom
from labeling.errors import LabelingError
from labeling.settings import Settings
from labeling.store import Store
from labeling.versions import weights_name
from worker.queue.connection import Connection

logger = logging.getLogger(__name__)


def create_app(settings: Settings, store: Store, connection: "Connection") -> Flask:
    """The WSGI application. It opens and closes nothing: the store and the connection belong to the caller."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.url_map.strict_slashes = False  # /webhook/ is /webhook
    services = Services(settings, store, connection, Background(), WaitingRoom(settings.threads), store.identity())
    app.extensions["argenseg"] = services
    layout.set_up(app)
    app.register_blueprint(health.make_blueprint(services))
    app.register_blueprint(metrics.make_blueprint(services))
    app.register_blueprint(protocol.make_blueprint(services))
    app.register_blueprint(webhooks.make_blueprint(services))
    app.register_blueprint(statistics_api.make_blueprint(services))
    app.register_blueprint(openapi.make_blueprint())
    app.register_blueprint(status.make_blueprint(services))
    app.register_blueprint(masks.make_blueprint(services))
    app.register_blueprint(corrections.make_blueprint(services))
    app.register_blueprint(pictures.make_blueprint(services))
    app.register_blueprint(finetune.make_blueprint(services))
    app.register_blueprint(quality.make_blueprint(services))
    app.register_blueprint(models.make_blueprint(services))
    app.register_blueprint(schedule.make_blueprint(services))
    app.register_blueprint(prompts.make_blueprint(services))
    app.register_error_handler(HTTPException, _say_error)
    app.register_error_handler(LabelingError, _say_outage)
    app.register_error_handler(Exception, _say_bug)
    if settings.basic_auth_user or settings.basic_auth_pass:
        app.before_request(lambda: _check_basic_auth(settings))
    guard(app, settings)

    @app.get("/")
    def overview() -> Response | WerkzeugResponse:
        if asks_for_html():
            return redirect(layout.link("status.page"))
        name, share = weights_name(settings.model)[0], settings.blind_share
        return jsonify(status="UP", model=name, blind_share=share, predictions=store.progress.counts())

    return app


def _check_basic_auth(settings: Settings) -> None:
    """All but what is asked whether we live.

    Label Studio sends no credentials on webhooks, unless the backend is connected as `http://user:password@host:9090`.
    """
    if request.path in health.OPEN_PATHS:
        return
    user = settings.basic_auth_user or ""
    password = settings.basic_auth_pass.get_secret_value() if settings.basic_auth_pass else ""
    given = request.authorization
    given_user, given_password = (given.username or "", given.password or "") if given else ("", "")
    user_fits = hmac.compare_digest(user.encode(), given_user.encode())
    password_fits = hmac.compare_digest(password.encode(), given_password.encode())
    if given is None or not (user_fits and password_fits):
        raise Unauthorized("This needs the user and password of BASIC_AUTH_USER and BASIC_AUTH_PASS.")


def _say(text: str | None, status: int) -> Response:
    """What went wrong, as a page for browsers and as JSON for programs."""
    answer = show("error.html", error=text, status=status) if asks_for_html() else jsonify(error=text)
    answer.status_code = status
    return answer


def _say_error(error: HTTPException) -> Response:
    answer = _say(error.description, error.code or 500)
    if error.code == 401:
        answer.headers["WWW-Authenticate"] = 'Basic realm="argenseg"'
    if isinstance(error, MethodNotAllowed):
        answer.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return answer


def _say_outage(error: LabelingError) -> Response:
    logger.warning("A request failed: %s", error)
    return _say(str(error), 503)


def _say_bug(error: Exception) -> Response:
    logger.error("A request failed.", exc_info=error)
    return _say("This is a bug of argenseg; its log has the details.", 500)

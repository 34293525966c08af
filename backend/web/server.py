"""Serve the web application: one process, so that the places to wait are counted once, with several threads."""

import logging
import socket

from backend.operations.listening import inherited_socket, open_socket
from backend.web.app import create_app
from backend.web.http_server import HttpServer
from labeling.settings import Settings
from labeling.store.store import Store
from labeling.versions import weights_name
from worker.queue.connection import connect

logger = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Answer requests until SIGTERM or SIGINT. SupervisorError if the address is taken."""
    listening = inherited_socket() or open_socket(settings)
    _say_what_is_missing(settings)
    with listening, Store.open(settings.database_url, settings.blob_url) as store:
        _serve(settings, store, listening)


def _serve(settings: Settings, store: Store, listening: socket.socket) -> None:
    logger.info("The model is %s.", weights_name(settings.model)[0])  # hashed now, so that /setup is instant
    app = create_app(settings, store, connect(settings))
    server = HttpServer(app, listening, threads=settings.threads, max_body=settings.max_body_bytes)
    logger.info("Listening at %s:%s.", *listening.getsockname()[:2])
    try:
        server.serve()
    finally:  # what has not begun is dropped
        app.extensions["argenseg"].background.close()


def _say_what_is_missing(settings: Settings) -> None:
    if settings.is_open_to_all:
        logger.warning(
            "ANYBODY who reaches port %d of this machine can read what is labeled and write corrections: set "
            "BASIC_AUTH_USER and BASIC_AUTH_PASS, or HOST=127.0.0.1.",
            settings.port,
        )
    if settings.label_studio_url is None or settings.label_studio_api_key is None:
        logger.warning(
            "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY are not both set: masks are shown only where somebody waits for "
            "them, and cannot be pushed."
        )

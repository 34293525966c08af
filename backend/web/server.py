"""Serve the web application with gunicorn: one process, several threads."""

import logging
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from backend.web.app import create_app
from labeling.settings import Settings
from labeling.store import Store
from labeling.versions import weights_name
from worker.queue.connection import connect

logger = logging.getLogger(__name__)

_STOP_S = 5  # what is being answered when a stop is asked for gets this long
_HANG_S = 120  # a process whose main loop says nothing for so long is replaced


def _drop_background_work(_: Arbiter, process: Worker) -> None:
    """Python would end only after all of it, however long Redis hangs; the sweeper finds what it was for."""
    if isinstance(process.wsgi, Flask):
        process.wsgi.extensions["argenseg"].background.close()


class PlainLogger(Logger):  # type: ignore[misc]  # gunicorn is untyped
    """gunicorn's messages go where all the others go."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class BackendServer(BaseApplication):  # type: ignore[misc]
    """One process, so that the places to wait are counted once; its threads, connections and files are made in it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        options: dict[str, Any] = {
            "bind": f"{host}:{settings.port}",
            "worker_class": "gthread",
            "workers": 1,
            "threads": settings.threads,
            "preload_app": False,
            "timeout": _HANG_S,
            "graceful_timeout": _STOP_S,
            "accesslog": None,
            "logger_class": PlainLogger,
            "loglevel": settings.log_level.lower(),
            "control_socket_disable": True,
            "worker_exit": _drop_background_work,
            "proc_name": "argenseg-backend",
        }
        for name, value in options.items():
            if name in self.cfg.settings:  # control_socket_disable is new in gunicorn 25.1
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """Called in the serving process, after the fork."""
        settings = self._settings
        store = Store.open(settings.database_url, settings.blob_url)
        logger.info("The model is %s.", weights_name(settings.model)[0])  # hashed now, so that /setup is instant
        return create_app(settings, store, connect(settings))


def serve(settings: Settings) -> None:
    """Answer requests until SIGTERM or SIGINT."""
    if settings.label_studio_url is None or settings.label_studio_api_key is None:
        logger.warning(
            "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY are not both set: masks are shown only where somebody waits for "
            "them, and cannot be pushed."
        )
    BackendServer(settings).run()

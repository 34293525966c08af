"""The log of a process: a line a message on standard output, as text or as JSON, with what it is about, no secrets."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TextIO

from labeling.credentials import hide_secrets
from labeling.log_repeats import NoRepeats

if TYPE_CHECKING:
    from labeling.settings import Settings

LogFormat = Literal["text", "json"]

STAMPED_BY_PARENT = "ARGENSEG_LOG_STAMPED"
"""Set in the environment of a process whose parent writes the time before each of its lines of text."""

_TALKATIVE = ("alembic", "httpx")  # they report every connection and request
_about: ContextVar[Mapping[str, int]] = ContextVar("log_about", default=MappingProxyType({}))


def configure_logs(settings: "Settings", *, level: str | None = None) -> None:
    """Log from `level` on, by default that of the settings. A process calls it once, before it logs."""
    start_log(sys.stdout, level or settings.log_level, settings.log_format, settings.secrets())
    if settings.log_level != "DEBUG":
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)


def start_log(stream: TextIO, level: str, log_format: LogFormat, secrets: Sequence[str] = ()) -> None:
    """The same without settings, as for the model process; `secrets` become *** wherever they are logged."""
    handler = logging.StreamHandler(stream)
    handler.addFilter(note_what_it_is_about)
    handler.addFilter(NoRepeats())
    handler.setFormatter(JsonLines(secrets) if log_format == "json" else TextLines(secrets))
    logging.basicConfig(level=level, handlers=[handler])


@contextmanager
def log_about(**ids: int | None) -> Iterator[None]:
    """Until the end of the block, what this thread logs names these ids: project, task, prediction, event, run.

    A pool's thread has its own: hand it `contextvars.copy_context().run`. None names nothing.
    """
    token = _about.set({**_about.get(), **{name: number for name, number in ids.items() if number is not None}})
    try:
        yield
    finally:
        _about.reset(token)


def note_what_it_is_about(record: logging.LogRecord) -> bool:
    """A logging filter that passes all records: it gives each the ids of `log_about` as `record.about`."""
    record.about = dict(_about.get())
    return True


class TextLines(logging.Formatter):
    """2026-11-29 15:40:01 INFO worker.sweeper [project 3 task 12]: the message. Local time."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        stamp = "" if os.environ.get(STAMPED_BY_PARENT) else "%(asctime)s "
        super().__init__(f"{stamp}%(levelname)s %(name)s%(where)s: %(message)s", "%Y-%m-%d %H:%M:%S")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        about = getattr(record, "about", {})
        record.where = f" [{' '.join(f'{name} {number}' for name, number in about.items())}]" if about else ""
        return _writable(hide_secrets(super().format(record), self._secrets))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Further lines of a message are set in: what others wrote must not look like a line of ours."""
        return "\n    ".join(super().formatMessage(record).splitlines())


class JsonLines(logging.Formatter):
    """An object a line: time (UTC), level, logger, message, the ids of `log_about`, and traceback if there is one."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "level": record.levelname,
            "logger": record.name,
            "message": hide_secrets(record.getMessage(), self._secrets),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            fields["traceback"] = hide_secrets(self.formatException(record.exc_info), self._secrets)
        return json_line(fields, at=record.created)


def json_line(fields: Mapping[str, object], *, at: float) -> str:
    """One line of JSON with the time first; `at` is in seconds since 1970."""
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return _writable(json.dumps({"time": time, **fields}, ensure_ascii=False))


def of_process(line: str, process: str, *, at: float) -> str:
    """A child's line as JSON that names the process; what is no JSON, as of Redis, becomes a message of that time."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict) and "time" in fields:
        return _writable(json.dumps({**fields, "process": fields.get("process", process)}, ensure_ascii=False))
    return json_line({"level": "INFO", "message": line, "process": process}, at=at)


def _writable(line: str) -> str:
    """With halves of surrogate pairs, which no file takes, as JSON writes them."""
    return line.encode("utf-8", "backslashreplace").decode()

"""One JSON POST to NOTIFY_URL when a run ends, an outage lasts, or corrections are refused; once each, tried again.

The sweeper watches and never waits: sending has a thread of its own. Redis remembers what was told, for all copies of
the sweeper; while it does not answer each copy knows only what it told itself.
"""

import logging
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from labeling.credentials import hide_secrets
from labeling.errors import StoreError
from labeling.label_studio.addresses import environment_proxy
from labeling.label_studio.connections import make_transport, time_limit
from labeling.store import FinetuneRun
from worker.context import JobContext
from worker.events.spool import probe, spool_folder
from worker.finetune.progress import tell_verdict
from worker.queue.heartbeats import tell_once

logger = logging.getLogger(__name__)

WATCH_S = 30.0
LASTS_S = 600.0  # what is over sooner needs nobody
RETRY_INTERVALS_S = (1.0, 5.0, 30.0, 120.0, 600.0)
_TIMEOUT_S = 10.0
_RECENT = timedelta(hours=1)  # runs that ended before we were watching are no news
_MOST_WAITING = 100
_FORGOTTEN_S = 86400 * 7


@dataclass(frozen=True)
class Notice:
    """What happened: `kind` is for programs, `text` for people (chats show the field of this name)."""

    key: str
    kind: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """The body."""
        return {"kind": self.kind, "text": self.text, "at": datetime.now(UTC).isoformat(timespec="seconds")}


@dataclass
class Notifier:
    """Sends notices from a thread. What cannot be sent after all tries is logged and let go."""

    url: str
    intervals_s: tuple[float, ...] = RETRY_INTERVALS_S
    _waiting: "queue.Queue[Notice]" = field(default_factory=lambda: queue.Queue(_MOST_WAITING))

    def __post_init__(self) -> None:
        threading.Thread(target=self._send_all, name="notices", daemon=True).start()

    def send(self, notice: Notice) -> None:
        """Never waits."""
        try:
            self._waiting.put_nowait(notice)
        except queue.Full:
            logger.warning("a notice is dropped, too many wait: %s", notice.text)

    def _send_all(self) -> None:
        while True:
            notice = self._waiting.get()
            for wait_s in (*self.intervals_s, None):
                if (fault := self._post(notice)) is None:
                    break
                if wait_s is None:
                    logger.warning("NOTIFY_URL did not take a notice (%s): %s", fault, notice.text)
                else:
                    time.sleep(wait_s)

    def _post(self, notice: Notice) -> str | None:
        """Why it was not taken; None if it was. No redirect is followed: it would name another host."""
        try:
            transport = make_transport(environment_proxy(httpx.URL(self.url)))
            with (
                time_limit(_TIMEOUT_S),
                httpx.Client(transport=transport, timeout=_TIMEOUT_S, trust_env=False) as http,
                http.stream("POST", self.url, json=notice.to_json()) as answer,  # its body may be endless
            ):
                return None if answer.is_success else str(answer.status_code)
        except Exception as error:  # noqa: BLE001 (such as a proxy whose address is none)
            return type(error).__name__  # its text may hold the address, which may hold a secret


@dataclass
class Watch:
    """Looks now and then for what somebody should know. Call `tick` often."""

    context: JobContext
    notifier: Notifier
    _since: dict[str, float] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _next: float = float("-inf")

    @classmethod
    def of(cls, context: JobContext) -> "Watch | None":
        """None where NOTIFY_URL is not set."""
        url = context.settings.notify_url
        return None if url is None else cls(context, Notifier(url.get_secret_value()))

    def tick(self) -> None:
        """Whatever fails here is no reason for the sweeper to stop."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + WATCH_S
        for look in (self._refusals, self._news):
            try:
                for notice in look():
                    self._tell(notice)
            except Exception:
                logger.exception("what somebody should know cannot be told just now")

    def _tell(self, notice: Notice) -> None:
        if notice.key in self._told:
            return
        self._told.add(notice.key)
        if tell_once(self.context.connection, notice.key, _FORGOTTEN_S):
            text = hide_secrets(notice.text, self.context.settings.secrets())
            self.notifier.send(replace(notice, text=text))

    def _news(self) -> Iterator[Notice]:
        try:
            for run in self.context.store.finetunes.newest():
                if run.ended_at is not None and datetime.now(UTC) - run.ended_at < _RECENT:
                    yield _of_run(run)
            delayed = [each for project in self.context.store.projects.all()
                       for each in self.context.store.progress.delayed_tasks(project)]  # fmt: skip
        except StoreError:
            return  # the refusals tell of that
        reason = delayed[0].reason if delayed else ""
        yield from self._lasting(
            "outage", bool(delayed), f"{len(delayed)} tasks wait for an outage to end: {reason}", LASTS_S
        )

    def _refusals(self) -> Iterator[Notice]:
        try:
            self.context.store.events.require_writable()
            fault = ""
        except StoreError as error:
            fault = "" if probe(spool_folder(self.context.settings)) else str(error)
        yield from self._lasting("corrections_refused", bool(fault), f"Corrections are being refused: {fault}", 0.0)

    def _lasting(self, kind: str, holds: bool, text: str, lasts_s: float) -> Iterator[Notice]:
        """A notice as soon as it has held for so long; when it is over it may come again."""
        if not holds:
            self._since.pop(kind, None)
            self._told = {key for key in self._told if not key.startswith(f"{kind}:")}
            return
        since = self._since.setdefault(kind, time.monotonic())
        if time.monotonic() - since >= lasts_s and not any(key.startswith(f"{kind}:") for key in self._told):
            hour = datetime.now(UTC).strftime("%Y-%m-%dT%H")  # several sweepers tell it once an hour at most
            yield Notice(f"{kind}:{hour}", kind, text)


def _of_run(run: FinetuneRun) -> Notice:
    whose = "all projects" if run.project is None else f"project {run.project.project_id}"
    said = " ".join(tell_verdict(run)) or run.error or ""
    return Notice(f"run:{run.id}", "run_ended", f"Fine-tune run {run.id} of {whose}: {run.status}. {said}".rstrip())

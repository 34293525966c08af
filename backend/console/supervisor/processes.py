"""Runs child processes side by side: one readable log, restarts with back-off, an ordered stop, no orphans.

Children are started from the main thread and in sessions of their own. So the kernel kills them when the supervisor
dies (see `worker.parent_death`), and Ctrl-C reaches the supervisor alone, which stops what others need last.
"""

import logging
import logging.handlers
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from backend.operations.listening import INHERITED
from labeling.logs import STAMPED_BY_PARENT, LogFormat, of_process
from worker.errors import SupervisorError
from worker.parent_death import launch_command

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
_LIVED_S = 60.0  # a child that lived this long begins again with the first delay
_TICK_S = 0.2


@dataclass(frozen=True)
class Command:
    """A child process. `name` labels its lines in the log.

    `stop_signal` asks it to end; after `stop_timeout_s` it is killed. `death_signal` is what the kernel sends it when
    the supervisor itself was killed. `environment` is the whole one, None the supervisor's own. A child that
    `outlives_others` is stopped when all others have ended. `listening` is a socket for the child, which stays open
    until the child is stopped for good: connections wait in it while the child is started again.
    """

    name: str
    argv: list[str]
    environment: Mapping[str, str] | None = None
    folder: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10.0
    death_signal: signal.Signals = signal.SIGKILL
    inherited_descriptors: tuple[int, ...] = ()
    restarts: bool = True
    outlives_others: bool = False
    listening: socket.socket | None = None


class _Child:
    process: subprocess.Popen[bytes]
    copier: threading.Thread
    waiter: threading.Thread

    def __init__(self, command: Command) -> None:
        self.command = command
        self.delay_s = _FIRST_DELAY_S
        self.restart_at: float | None = None
        self.started_at = 0.0

    def spawn(self) -> subprocess.Popen[bytes]:
        command = self.command
        environment = {
            **(os.environ if command.environment is None else command.environment),
            "PYTHONUNBUFFERED": "1",
            STAMPED_BY_PARENT: "1",
        }
        descriptors = command.inherited_descriptors
        if command.listening is not None:
            environment[INHERITED] = str(command.listening.fileno())
            descriptors += (command.listening.fileno(),)
        self.restart_at = None
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            launch_command(command.argv, command.death_signal),
            env=environment,
            cwd=command.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=descriptors,
        )
        return self.process

    def next_delay(self) -> float:
        if time.monotonic() - self.started_at > _LIVED_S:
            self.delay_s = _FIRST_DELAY_S
        delay, self.delay_s = self.delay_s, min(2 * self.delay_s, _LONGEST_DELAY_S)
        return delay


class Supervisor:
    """Start children with `start`, then stay in `run_until`; leaving `supervising()` stops them."""

    def __init__(self, log_file: Path, *, echo: bool = True, log_format: LogFormat = "text") -> None:
        """The log goes to `log_file` and, with `echo`, to the terminal."""
        self._log = _open_log(log_file, _JsonOfChild() if log_format == "json" else _TextOfChild(), echo=echo)
        self._children: dict[str, _Child] = {}
        self._exited: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
        self._stop_requested = False

    @contextmanager
    def supervising(self) -> Iterator["Supervisor"]:
        """Take SIGINT and SIGTERM as the request to stop, and stop every child at the end, whatever happened."""
        previous = {number: signal.signal(number, self._request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            self.stop_all()
            for number, handler in previous.items():
                signal.signal(number, handler)

    @property
    def stop_requested(self) -> bool:
        """Whether Ctrl-C or SIGTERM came."""
        return self._stop_requested

    def say(self, text: str) -> None:
        """A line of the supervisor's own in the log."""
        self._log.info(text, extra={"child": "argenseg"})

    def start(self, command: Command) -> None:
        """Start a child; it is started again when it ends, later each time, unless its command says otherwise."""
        child = self._children[command.name] = _Child(command)
        self._spawn(child)

    def is_running(self, name: str) -> bool:
        """Whether this child was started and lives right now."""
        return name in self._children and self._children[name].process.poll() is None

    def run_until(self, is_done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Keep the children running until `is_done()`: True; or until a stop is requested or time runs out: False.

        SupervisorError if a child ends that cannot be helped by starting it again: it said so (os.EX_CONFIG), or its
        command does.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._stop_requested:
            if is_done():
                return True
            if deadline is not None and time.monotonic() > deadline:
                return False
            self._handle_exit()
            self._restart_due()
        return False

    def stop(self, name: str) -> None:
        """Stop one child and forget it: ask, wait, kill."""
        self._stop_together([self._children[name]])

    def stop_all(self) -> None:
        """Stop every child, all at once, and then those that outlive others."""
        children = list(self._children.values())
        self._stop_together([child for child in children if not child.command.outlives_others])
        self._stop_together([child for child in children if child.command.outlives_others])

    def _stop_together(self, children: list[_Child]) -> None:
        asked = time.monotonic()
        for child in children:
            del self._children[child.command.name]
            child.process.send_signal(child.command.stop_signal)  # does nothing to one that has ended
        for child in children:
            child.waiter.join(max(0.0, asked + child.command.stop_timeout_s - time.monotonic()))
            if child.waiter.is_alive():
                self.say(f"{child.command.name} did not stop in {child.command.stop_timeout_s:g} s and is killed")
                child.process.kill()
                child.waiter.join()
            child.copier.join(1.0)  # its last lines; a grandchild may hold the pipe open
            if child.command.listening is not None:
                child.command.listening.close()

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop_requested = True
        self._exited.put(None)  # SimpleQueue.put may be called in a signal handler

    def _spawn(self, child: _Child) -> None:
        process, name = child.spawn(), child.command.name

        def copy_lines() -> None:
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    self._log.info(line.decode(errors="replace").rstrip(), extra={"child": name})

        def wait() -> None:
            code = process.wait()
            with suppress(ProcessLookupError, PermissionError):  # what it started and left behind
                os.killpg(process.pid, signal.SIGKILL)
            self._exited.put((name, code))

        child.copier = threading.Thread(target=copy_lines, name=f"{name}-log", daemon=True)
        child.waiter = threading.Thread(target=wait, name=f"{name}-wait", daemon=True)
        child.copier.start()
        child.waiter.start()

    def _handle_exit(self) -> None:
        try:
            exited = self._exited.get(timeout=_TICK_S)
        except queue.Empty:
            return
        if exited is None or exited[0] not in self._children:
            return
        name, code = exited
        child = self._children[name]
        if code == os.EX_CONFIG or not child.command.restarts:
            raise SupervisorError(f"{name} ended with exit code {code}; its last lines in the log say why.")
        delay = child.next_delay()
        child.restart_at = time.monotonic() + delay
        self.say(f"{name} ended with exit code {code} and is started again in {delay:g} s")

    def _restart_due(self) -> None:
        for child in self._children.values():
            if child.restart_at is not None and child.restart_at <= time.monotonic():
                self._spawn(child)


class _TextOfChild(logging.Formatter):
    """The date and time, which the child leaves out (STAMPED_BY_PARENT), its name, and its line."""

    def __init__(self) -> None:
        stamp = "" if os.environ.get(STAMPED_BY_PARENT) else "%(asctime)s "  # we may be a child too
        super().__init__(f"{stamp}%(child)-9s | %(message)s", "%Y-%m-%d %H:%M:%S")


class _JsonOfChild(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return of_process(record.getMessage(), vars(record)["child"], at=record.created)


class _LogFile(logging.handlers.RotatingFileHandler):
    """A file that is left out while its disk is full: logging itself would write a traceback for every line."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass  # the terminal has the line; doctor and /ready say that the disk is full


def _open_log(file: Path, formatter: logging.Formatter, *, echo: bool) -> logging.Logger:
    file.parent.mkdir(parents=True, exist_ok=True)
    log = logging.Logger("supervisor")  # not in the tree: only ours to configure
    rotating = _LogFile(file, maxBytes=10_000_000, backupCount=3, encoding="utf-8")
    for handler in (logging.StreamHandler(sys.stdout), rotating) if echo else (rotating,):
        handler.setFormatter(formatter)
        log.addHandler(handler)
    return log

"""What a check finds, and how checks are run: each alone, in its own time, so that no failure hides another."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from labeling.credentials import hide_secrets
from labeling.errors import LabelingError, LabelStudioError
from labeling.settings import Settings
from worker.errors import WorkerError

State = Literal["ok", "warning", "failure", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One sentence about one link. `mend` says what to do about it; `cause` is equal where several have one cause."""

    state: State
    text: str
    mend: str = ""
    link: str = ""
    cause: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain strings: `link`, `state`, `text`, `mend`."""
        return {name: text for name, text in asdict(self).items() if name != "cause"}


def ok(text: str) -> Finding:
    """The link works."""
    return Finding("ok", text)


def warning(text: str, mend: str) -> Finding:
    """It works, but somebody should look at it."""
    return Finding("warning", text, mend)


def failure(text: str, mend: str) -> Finding:
    """Something does not work because of it."""
    return Finding("failure", text, mend)


def skipped(text: str) -> Finding:
    """It could not be looked at; another finding says why, or what to ask for."""
    return Finding("skipped", text)


@dataclass(frozen=True)
class Check:
    """A link and how to look at it. What `look` raises is a finding too."""

    link: str
    look: Callable[[], Iterable[Finding]]
    time_limit_s: float = 20.0


def run_checks(checks: Sequence[Check], settings: Settings) -> list[Finding]:
    """Run all checks side by side and return their findings in the checks' order, without the settings' secrets.

    A check that takes longer than its limit is left behind, with what it found until then.
    """
    started = time.monotonic()
    running = [(check, _Run(check)) for check in checks]
    findings = [replace(finding, link=check.link) for check, run in running for finding in run.findings(started)]
    return [_without_secrets(finding, settings) for finding in _each_cause_once(findings)]


def _each_cause_once(findings: Sequence[Finding]) -> Iterator[Finding]:
    """A cause is told where it shows first; what else it keeps from being looked at points there."""
    told: dict[str, str] = {}
    for finding in findings:
        if finding.cause and finding.cause in told:
            yield replace(skipped(f"Not looked at: it fails as {told[finding.cause]} does."), link=finding.link)
        else:
            told[finding.cause] = finding.link
            yield finding


class _Run:
    """One check in a thread that nobody waits for at the end of the program."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._found: queue.SimpleQueue[Finding] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._look, name=check.link, daemon=True)
        self._thread.start()

    def findings(self, started: float) -> list[Finding]:
        self._thread.join(max(0.0, started + self._check.time_limit_s - time.monotonic()))
        is_late = self._thread.is_alive()
        found = [self._found.get() for _ in range(self._found.qsize())]
        if is_late:
            late = f"There was no answer within {self._check.time_limit_s:g} s."
            found.append(failure(late, "Look whether what it talks to hangs, and run argenseg doctor again."))
        return found

    def _look(self) -> None:
        try:
            for finding in self._check.look():
                self._found.put(finding)
        except LabelStudioError as error:
            self._found.put(Finding("failure", str(error), cause=error.reason))
        except (LabelingError, WorkerError) as error:  # their messages say what to do
            self._found.put(failure(str(error), ""))
        except OSError as error:
            self._found.put(failure(f"{type(error).__name__}: {error}", "Look whether what it talks to is running."))
        except Exception as error:  # noqa: BLE001 - a bug in one check must not hide the others
            self._found.put(failure(f"{type(error).__name__}: {error}", "This is a bug of argenseg: please report it."))


def _without_secrets(finding: Finding, settings: Settings) -> Finding:
    secrets = settings.secrets()

    def clean(text: str) -> str:
        return " ".join(hide_secrets(text, secrets).split())

    return replace(finding, text=clean(finding.text), mend=clean(finding.mend))

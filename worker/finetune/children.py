"""A training or evaluation process: polite, watched, and never left behind.

It runs at low priority, and is paused (SIGSTOP) as long as a GPU worker has something to do: a training process shares
the GPU, or the CPU's cores, with the worker that annotators wait for. A paused process keeps its memory.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from argenseg_model.threads import torch_environment
from worker.errors import WorkerError
from worker.parent_death import launch_command

NICENESS = 10
TICK_S = 0.1  # an annotator's request is computed beside training for no longer than this
QUIET_S = 1.0  # so long nothing must be queued before training goes on
_STOP_S = 120.0  # for the checkpoint of a large model
_REASON_CHARACTERS = 600


class ChildFailed(WorkerError):
    """A training or evaluation process ended with an error; the message is the end of what it wrote."""


def run_child(
    argv: list[str], log: Path, *, threads: int, on_tick: Callable[[], None], is_busy: Callable[[], bool]
) -> None:
    """Run a Python module (`argv`: "-m", name, options) to its end. Call it from the main thread.

    `on_tick` is called several times a second; what it raises ends the process (SIGTERM, so that it can write its
    checkpoint) and is raised on. ChildFailed if the process fails.
    """
    environment = torch_environment(os.environ, threads=threads)
    with log.open("ab") as output:
        began = output.tell()
        process = subprocess.Popen(
            launch_command(["nice", "-n", str(NICENESS), sys.executable, *argv]),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us alone
        )
        try:
            _watch(process, on_tick, is_busy)
        finally:
            _end(process)
    if process.returncode != 0:
        with log.open("rb") as written:
            written.seek(began)
            said = written.read().decode(errors="replace").strip()[-_REASON_CHARACTERS:]
        raise ChildFailed(f"The process {argv[1]} ended with code {process.returncode}: {said or 'it said nothing'}")


def _watch(process: "subprocess.Popen[bytes]", on_tick: Callable[[], None], is_busy: Callable[[], bool]) -> None:
    is_paused, busy_at = False, float("-inf")
    while process.poll() is None:
        on_tick()
        now = time.monotonic()
        busy_at = now if is_busy() else busy_at
        pause = now - busy_at < QUIET_S and _is_launched(process)
        if pause != is_paused:
            process.send_signal(signal.SIGSTOP if pause else signal.SIGCONT)
            is_paused = pause
        try:
            process.wait(TICK_S)
        except subprocess.TimeoutExpired:
            continue


def _is_launched(process: "subprocess.Popen[bytes]") -> bool:
    """Whether the wrapper that binds its death to ours has done so: paused before that, it would outlive us."""
    try:
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    except OSError:  # no Linux: nothing binds it there
        return True
    return bool(command) and b"parent_death.py" not in command  # empty for a moment while it is launched


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

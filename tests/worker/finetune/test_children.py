"""A training process is stopped by what ends its run, paused while annotators wait, and never outlives us."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.worker.conftest import is_alive, wait_until
from worker.errors import WorkerError
from worker.finetune.children import ChildFailed, run_child

COUNTING = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: (Path(sys.argv[1] + ".checkpoint").touch(), sys.exit(75)))
print("began", flush=True)
while True:
    with open(sys.argv[1], "a") as file:
        file.write(".")
    time.sleep(0.02)
"""


def never() -> bool:
    return False


def run(code: str, tmp_path: Path, *arguments: str, on_tick: Callable[[], None] = lambda: None,
        is_busy: Callable[[], bool] = never) -> None:  # fmt: skip
    run_child(["-c", code, *arguments], tmp_path / "log", threads=1, on_tick=on_tick, is_busy=is_busy)


def test_a_process_that_ends_well_leaves_its_output_and_was_polite(tmp_path: Path) -> None:
    run("import os; print('hello', os.nice(0), os.environ['OMP_NUM_THREADS'])", tmp_path)
    assert (tmp_path / "log").read_text().split() == ["hello", str(min(os.nice(0) + 10, 19)), "1"]


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("what an earlier one said\n")
    with pytest.raises(ChildFailed, match=r"code 3: out of paper") as caught:
        run("import sys; print('out of paper'); sys.exit(3)", tmp_path)
    assert "earlier" not in str(caught.value)


def test_what_ends_a_run_lets_the_process_write_its_checkpoint(tmp_path: Path) -> None:
    count = tmp_path / "count"

    def tick() -> None:
        if count.exists():
            raise WorkerError("stopped")

    with pytest.raises(WorkerError, match="stopped"):
        run(COUNTING, tmp_path, str(count), on_tick=tick)
    assert Path(f"{count}.checkpoint").exists()


def test_it_pauses_while_somebody_waits(tmp_path: Path) -> None:
    """Also a paused process ends with a checkpoint."""
    count, sizes = tmp_path / "count", [0]

    def tick() -> None:
        sizes.append(count.stat().st_size if count.exists() else 0)
        if sum(map(bool, sizes)) > 20:
            raise WorkerError("enough")

    with pytest.raises(WorkerError, match="enough"):
        run(COUNTING, tmp_path, str(count), on_tick=tick, is_busy=lambda: bool(sizes[-1]))
    assert sizes[-1] == sizes[-10] > 0
    assert Path(f"{count}.checkpoint").exists()


def test_it_goes_on_when_nobody_waits_any_more(tmp_path: Path) -> None:
    count, began = tmp_path / "count", time.monotonic()

    def tick() -> None:
        if count.exists() and count.stat().st_size > 20:
            raise WorkerError("went on")
        assert time.monotonic() - began < 30

    with pytest.raises(WorkerError, match="went on"):
        run(COUNTING, tmp_path, str(count), on_tick=tick, is_busy=lambda: time.monotonic() - began < 1)


def test_it_dies_with_us_even_when_paused(tmp_path: Path) -> None:
    driver = (
        "import sys; from pathlib import Path; from worker.finetune.children import run_child;"
        "run_child(['-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'], Path(sys.argv[1]),"
        " threads=1, on_tick=lambda: None, is_busy=lambda: True)"
    )
    log = tmp_path / "log"
    process = subprocess.Popen(
        [sys.executable, "-c", driver, str(log)], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    )
    pid: list[int] = []

    def spawned() -> bool:
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
        pid[:] = [int(line) for line in found.split()]
        return bool(pid)

    wait_until(spawned, 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not is_alive(pid[0]))

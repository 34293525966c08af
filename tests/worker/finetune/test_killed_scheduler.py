"""A scheduler that is killed in the middle of a run: another one goes on from the checkpoint, to one verdict."""

import json
import signal
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from labeling.settings import Settings
from labeling.store import FinetuneRun, Store
from tests.argenseg_model.conftest import byte_bpe, small_model
from tests.worker.conftest import RedisServer, is_alive, wait_until
from tests.worker.finetune.test_run import manifest
from worker.finetune.run import run_folder

__all__ = ["byte_bpe", "manifest"]

LEASE_S = 10.0  # instead of a minute: so long the second scheduler waits
STEPS, KILLED_AFTER = 120, 60  # a checkpoint is written every 50
SCHEDULER = f"""
from worker.finetune import scheduler
from worker.finetune import children, run, scenes_holdout
from backend.console import scheduler as cli

run.LEASE_S = scheduler.LEASE_S = {LEASE_S}
scenes_holdout.SCENES, children.NICENESS = 2, 0
cli.scheduler()
"""


@pytest.fixture
def settings(settings: Settings, byte_bpe: Any, tmp_path: Path) -> Settings:
    """A small model, one thread, and no Label Studio."""
    small_model(byte_bpe).save_pretrained(tmp_path / "small")
    changes = {"label_studio_url": None, "model": str(tmp_path / "small"), "gate_min_images": 3}
    return settings.model_copy(update=changes | {"finetune_steps": STEPS, "finetune_threads": 1})


def losses(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log that tell losses, one for ten steps; none of a line that is just being written."""
    file = folder / "log.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.is_file() else []
    entries = [json.loads(line) for line in lines if line.endswith("\n")]
    return [entry for entry in entries if "codes" in entry]


def children_of(process: "subprocess.Popen[bytes]") -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
    return [int(line) for line in found.split()]


@pytest.mark.timeout(900)
def test_another_scheduler_goes_on_from_the_checkpoint_of_one_that_was_killed(
    settings: Settings,
    store: Store,
    redis_server: RedisServer,
    manifest: Path,
    start_process: Callable[[str], "subprocess.Popen[bytes]"],
) -> None:
    """What was learnt before the last checkpoint is not learnt again, and there is one verdict, of one run."""
    wanted = store.finetunes.request("now", None, manifest=str(manifest))
    assert wanted is not None
    folder = run_folder(settings, wanted)

    def now() -> FinetuneRun:
        """The run as it is; that there is one only is what it finds."""
        (run,) = store.finetunes.newest()
        return run

    def has_reached(step: int) -> bool:
        return any(entry["step"] >= step for entry in losses(folder))

    first = start_process(SCHEDULER)
    wait_until(lambda: has_reached(KILLED_AFTER) or first.poll() is not None, 300)
    (training,) = children_of(first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_until(lambda: not is_alive(training))
    before, saved = losses(folder), int(torch.load(folder / "checkpoint.pt", weights_only=True)["step"])
    assert 0 < saved <= before[-1]["step"] < STEPS, "it was not killed between a checkpoint and the end"
    assert now().status == "running" and store.finetunes.claim("too early", LEASE_S) is None

    second = start_process(SCHEDULER)
    wait_until(lambda: now().ended_at is not None or second.poll() is not None, 600)
    ended, after = now(), losses(folder)
    assert ended.status in ("promoted", "refused") and ended.error is None, ended.error
    assert ended.report is not None and ended.report["gate"]["decided"]
    assert [entry["step"] for entry in after] == list(range(10, STEPS + 1, 10))
    went_on = [one["step"] for one, other in pairwise(after) if other["seconds"] < one["seconds"]]
    assert went_on == [saved], "each training process counts seconds from its own start"
    assert [entry for entry in after if entry["step"] <= saved] == [entry for entry in before if entry["step"] <= saved]

    assert [version.name for version in store.models.all()] == [ended.candidate]
    assert [file.parent for file in settings.data_dir.rglob("report.html")] == [folder]
    assert now().attempts == 0, "a death is no outage: nothing is postponed"

"""How far a fine-tune run is, in words, as its files tell: for the command line, the demo and the report page."""

import json
from contextlib import suppress
from pathlib import Path

from labeling.settings import Settings
from labeling.store.model_records import FinetuneRun

_STATES = {
    "wanted": "waits for a scheduler",
    "promoted": "promoted: the new version serves",
    "refused": "refused: the version before goes on serving",
    "failed": "failed",
    "stopped": "stopped",
}


def run_folder(settings: Settings, run: FinetuneRun) -> Path:
    """Where a run keeps its checkpoints, measurements and report."""
    return settings.data_dir / "finetune" / f"run-{run.id}"


def tell_progress(settings: Settings, run: FinetuneRun) -> str:
    """Where the run is: "learning, step 40 of 300". Its steps are known only on the machine that runs it."""
    if run.status != "running":
        return _STATES[run.status]
    folder = run_folder(settings, run)
    if (folder / "report.html").is_file():
        return "judged: open tasks get their new masks first, then it serves"
    if (folder / "finished.json").is_file():
        return "has learnt; both versions are measured on the holdout"
    if (steps := _steps(folder)) is not None:
        return f"learning, step {_last_step(folder)} of {steps}"
    return "gathers its images"


def tell_verdict(run: FinetuneRun) -> list[str]:
    """Why a run ended as it did, a sentence for each reason; none while it is open."""
    reasons: list[str] = (run.report or {}).get("gate", {}).get("reasons", [])
    return [run.error] if run.error else reasons


def _steps(folder: Path) -> int | None:
    with suppress(OSError, ValueError, KeyError):
        return int(json.loads((folder / "run.json").read_text())["options"]["steps"])
    return None


def _last_step(folder: Path) -> int:
    with suppress(OSError, ValueError, KeyError, IndexError):
        return int(json.loads((folder / "log.jsonl").read_text().splitlines()[-1])["step"])
    return 0

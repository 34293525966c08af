"""How far a fine-tune run is, in words, as its files tell, and whether there can be one: for commands and pages."""

import json
from contextlib import suppress
from pathlib import Path

from labeling.settings import Settings
from labeling.store import FinetuneRun
from worker.errors import WorkerError
from worker.finetune.learnt_from import LearntFrom

_STATES = {
    "requested": "waits for a scheduler",
    "promoted": "promoted: the new version is active",
    "refused": "refused: the version before stays active",
    "failed": "failed",
    "stopped": "stopped",
}


def check_trainable(settings: Settings) -> None:
    """WorkerError for a model of another family: training and measuring are ARGenSeg's."""
    if settings.model_loader is not None:
        raise WorkerError(
            f"MODEL_LOADER ({settings.model_loader}) loads the active model: only ARGenSeg's own can be trained here. "
            "Export the corrections (argenseg corrections export) and train it where it was made."
        )


def run_folder(settings: Settings, run: FinetuneRun) -> Path:
    """Where a run keeps its checkpoints, measurements and report."""
    return settings.runs_folder / f"run-{run.id}"


def tell_progress(settings: Settings, run: FinetuneRun) -> str:
    """Where the run is: "learning, step 40 of 300". Its steps are known only on the machine that runs it."""
    if run.status != "running":
        state = _STATES[run.status]
        if run.status == "requested" and run.not_before is not None:
            state = f"is tried again from {run.not_before:%H:%M} UTC on"
    else:
        state = _tell_step(settings, run)
    if run.asked_again:
        state += "; was asked for again meanwhile: what was corrected since it began is for the next run"
    return state


def tell_verdict(run: FinetuneRun) -> list[str]:
    """Why a run ended as it did, or is postponed, a sentence for each reason, and what is left to do."""
    reasons: list[str] = (run.report or {}).get("gate", {}).get("reasons", [])
    return [*([run.error] if run.error else []), *reasons]


def tell_learnt_from(run: FinetuneRun) -> str | None:
    """What an ended run learnt from, in one line; None where it has no report, or one from before that was counted."""
    facts = (run.report or {}).get("learnt_from")
    return None if facts is None else LearntFrom(**facts).tell_shortly()


def _tell_step(settings: Settings, run: FinetuneRun) -> str:
    folder = run_folder(settings, run)
    if (folder / "report.html").is_file():
        return "judged: open tasks get their new masks first, then it becomes active"
    if (folder / "finished.json").is_file():
        return "has learnt; both versions are measured on the holdout"
    if (steps := _steps(folder)) is not None:
        return f"learning, step {_last_step(folder)} of {steps}"
    return "gathers its images"


def _steps(folder: Path) -> int | None:
    with suppress(OSError, ValueError, KeyError):
        return int(json.loads((folder / "run.json").read_text())["options"]["steps"])
    return None


def _last_step(folder: Path) -> int:
    with suppress(OSError, ValueError, KeyError, IndexError):
        return int(json.loads((folder / "log.jsonl").read_text().splitlines()[-1])["step"])
    return 0

"""The loop itself, round by round. Every step can be done again: a killed run goes on where it was."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from argenseg_model.files import replace_file
from benchmarks.correction_loop.annotator import correct
from benchmarks.correction_loop.images import Plan, TruthImage
from benchmarks.correction_loop.installation import Installation, LoopError
from benchmarks.correction_loop.measurement import TAG, measure, measure_otsu
from labeling.store import CorrectionFilter, FinetuneRun


@dataclass(frozen=True)
class LoopOptions:
    """What makes one experiment; a folder holds one only."""

    model: str
    rounds: int
    per_round: int
    steps: int
    seed: int


class Results:
    """results.json: the options, the baseline, and a record for each round that is done."""

    def __init__(self, path: Path, options: LoopOptions) -> None:
        self._path = path
        self.content: dict[str, Any] = {"options": asdict(options), "otsu": None, "rounds": []}
        if path.is_file():
            self.content = json.loads(path.read_text())
            if self.content["options"] | {"rounds": 0} != asdict(options) | {"rounds": 0}:
                raise LoopError(
                    f"{path.parent} holds another experiment ({self.content['options']}); give another --out"
                )
            self.content["options"] = asdict(options)

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """Round 0 is the model before any correction."""
        return list(self.content["rounds"])

    def save(self, **changes: Any) -> None:
        """Whole or not at all."""
        self.content |= changes
        with replace_file(self._path) as partial:
            partial.write_text(json.dumps(self.content, indent=1) + "\n")


def run_rounds(found: Installation, plan: Plan, options: LoopOptions, results: Results, data: Path) -> None:
    """Correct, fine-tune, decide, measure: each round that is not in `results` yet, which is written after each."""
    settings = found.settings

    def measured(model: str) -> dict[str, Any]:
        return measure(model, data, settings.device, settings.finetune_threads)

    if not results.rounds:
        say("Measuring the model before any correction")
        first = {"round": 0, "corrected": 0, "test": measured(found.active_model()), "verdict": None}
        results.save(otsu=measure_otsu(data), rounds=[first])
        say_figures(first)
    found.import_images([*plan.holdout, *(image for some in plan.rounds for image in some)])
    for number, images in enumerate(plan.rounds, 1):
        if number < len(results.rounds):
            continue
        if number == 1:
            say(f"Correcting the {len(plan.holdout)} images that the product holds out")
            annotate(found, plan.holdout, options.seed)
        say(f"Round {number}: correcting {len(images)} images")
        work = annotate(found, images, options.seed)
        last = results.rounds[-1]
        run = found.finetune(after=last.get("run", 0))
        live = found.active_model()
        record = {"round": number, "corrected": last["corrected"] + len(images), "run": run.id, "work": work}
        record |= {"verdict": run.status, "gate": (run.report or {}).get("gate"), "model": Path(live).parent.name}
        record["candidate"] = measured(_candidate(found, run))
        record["test"] = record["candidate"] if run.status == "promoted" else last["test"]
        results.save(rounds=[*results.rounds, record])
        say_figures(record)


def annotate(found: Installation, images: tuple[TruthImage, ...], seed: int) -> dict[str, float]:
    """Correct the predictions of the version of now; those that are corrected already stay as they are.

    Returns what the product's own store says about these images: regions by what became of them, pixels changed.
    """
    tasks, version = found.tasks(), found.version()
    for image in images:
        task = tasks[image.id]
        if found.annotations(task):
            continue
        found.wait(f"the prediction of task {task}", lambda task=task: found.predicted(task, version) is not None)  # type: ignore[misc]
        prediction = found.predicted(task, version)
        assert prediction is not None
        hand = np.random.default_rng([seed, int(hashlib.sha256(image.id.encode()).hexdigest()[:8], 16)])
        result, effort = correct(prediction["result"], image.instances(), TAG, hand)
        found.submit(task, prediction, result, effort.seconds)
    ours = {tasks[image.id] for image in images}
    found.wait("the corrections' webhooks", lambda: ours <= {annotation.task_id for annotation in _annotations(found)})
    regions = [
        each for annotation in _annotations(found) if annotation.task_id in ours for each in annotation.corrections
    ]
    kinds = {kind: sum(each.kind == kind for each in regions) for kind in ("accepted", "edited", "deleted", "added")}
    return kinds | {"changed_pixels": sum(each.changed_pixels for each in regions)}


def say(text: str) -> None:
    """A line of progress."""
    print(text, flush=True)


def say_figures(record: dict[str, Any]) -> None:
    """What a round came to."""
    figures = record.get("candidate", record["test"])
    shown = "  ".join(
        f"{name} {figures[name][0]:.3f} [{figures[name][1]:.3f}, {figures[name][2]:.3f}]"
        for name in ("iou", "f1", "accepted", "changed", "fluorescence", "scenes")
    )
    say(f"Round {record['round']}, {record['corrected']} corrected, {record['verdict'] or 'starter'}: {shown}")
    for reason in (record.get("gate") or {}).get("reasons", []):
        say(f"    {reason}")


def _candidate(found: Installation, run: FinetuneRun) -> str:
    if run.candidate is None:
        raise LoopError(f"Fine-tune run {run.id} made no model.")
    return found.store.models.get(run.candidate).folder


def _annotations(found: Installation) -> list[Any]:
    return list(found.store.annotations.find(CorrectionFilter(project_id=found.number)))

"""What the loop's curve is read beside: runs on shuffled masks, which the gate has to stop, and the model's ceiling."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from argenseg_model import ARGenSeg
from argenseg_model.evaluation import ItemResult, evaluate
from argenseg_model.files import replace_file
from argenseg_model.training.finetune import FinetuneOptions, finetune
from benchmarks.correction_loop.annotator import Mask
from benchmarks.correction_loop.images import Plan
from benchmarks.correction_loop.installation import LoopError
from benchmarks.correction_loop.measurement import measure
from benchmarks.correction_loop.rounds import LoopOptions, Results, say, say_figures
from benchmarks.correction_loop.truth_sets import draw_masks, write_set
from labeling.gate import GateRules, decide
from labeling.settings import Settings
from worker.context import JobContext
from worker.finetune.progress import run_folder
from worker.finetune.promotion import roll_back
from worker.finetune.run import LEASE_S, drive
from worker.queue.connection import connect


def run_shuffled(plan: Plan, out: Path, runs: int, settings: Settings) -> list[dict[str, Any]]:
    """Fine-tune on masks that were shuffled among the images, run after run, by the product's own `drive`.

    That is what `argenseg finetune --manifest` does. The holdout is shuffled too: the harder case, for its masks have
    the usual size and number of objects. The same candidates are then judged on the honest holdout. A record for each
    run is kept in `out`/shuffled.json; runs that are there are not repeated.
    """
    path = out / "shuffled.json"
    records: list[dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else []
    masks = draw_masks(plan, 0)
    honest = write_set(out / "honest", plan, masks).split("holdout")
    rules = GateRules(min_images=settings.gate_min_images)
    live: list[ItemResult] = []
    with JobContext.open(settings) as opened:
        context = replace(opened, connection=connect(settings))  # no queue here, and no Redis to wait for
        for number in range(len(records), runs):
            shuffled = write_set(out / f"shuffled-{number}", plan, _shuffle(masks, number))
            holder = f"shuffled-{number}"
            context.store.finetunes.request(holder, None, manifest=str(shuffled.folder / "manifest.jsonl"))
            run = context.store.finetunes.claim(holder, LEASE_S)
            if run is None:
                raise LoopError(f"A process that was killed holds the last run: try again in {LEASE_S:.0f} s.")
            drive(context, run, holder, lambda: False)
            ended = context.store.finetunes.get(run.id)
            if ended.status == "promoted":
                roll_back(settings, context.store, None)
            elif ended.status != "refused":
                raise LoopError(f"Run {run.id} ended as {ended.status}: {ended.error}")
            live = live or evaluate(ARGenSeg.from_pretrained(settings.model, device=settings.device), honest)
            candidate = ARGenSeg.from_pretrained(run_folder(settings, run) / "model", device=settings.device)
            verdict = decide(live, evaluate(candidate, honest), "honest", rules)
            record = {"run": number, "verdict": ended.status, "gate": (ended.report or {})["gate"]}
            records.append(record | {"on the honest holdout": verdict.to_json()})
            with replace_file(path) as partial:
                partial.write_text(json.dumps(records, indent=1) + "\n")
            say(f"Run {number + 1} of {runs} on shuffled masks: {ended.status}")
            for reason in (*record["gate"]["reasons"], f"On the honest holdout: {verdict.reasons[0]}"):
                say(f"    {reason}")
    return records


def measure_ceiling(
    plan: Plan, out: Path, options: LoopOptions, results: Results, data: Path, settings: Settings
) -> None:
    """Learn from all train images at once, for as many steps as all rounds together, and measure that on the test."""
    manifest = write_set(out / "honest", plan, draw_masks(plan, 0))
    steps = options.steps * max(1, len(plan.rounds))
    how = FinetuneOptions("ceiling", steps=steps, device=settings.device, threads=settings.finetune_threads)
    say(f"Learning from {len(plan.train)} images at once, {steps} steps")
    finetune(options.model, manifest, out / "ceiling", how)
    figures = measure(str(out / "ceiling" / "model"), data, settings.device, settings.finetune_threads)
    results.save(ceiling=figures)
    say_figures({"round": "of the ceiling", "corrected": len(plan.train), "verdict": "all at once", "test": figures})


def _shuffle(masks: dict[str, Mask], seed: int) -> dict[str, Mask]:
    """Each image gets the mask of another one, at its own size."""
    names = [str(name) for name in np.random.default_rng(seed).permutation(sorted(masks))]
    other = dict(zip(names, [*names[1:], names[0]], strict=True))  # one cycle: no image keeps its own
    return {
        name: cv2.resize(masks[other[name]].view(np.uint8), mask.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
        for name, mask in masks.items()
    }

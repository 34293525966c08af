"""Versions, runs and a trial of prompts, as pages show them; their pictures are drawn."""

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from argenseg_model.images import load_image
from labeling.overlays import draw_change, whole
from labeling.prompts.label_config import parse_label_config
from labeling.regions.cropped_mask import CroppedMask
from labeling.settings import Settings
from labeling.store import Project, PromptTrial, Store, TrialMasks
from labeling.trials.masks import write_png
from labeling.trials.measures import measure
from labeling.trials.wordings import Wording, find_label, make_wordings
from tests.backend.web.pages.seeded import CONFIG, draw_task
from worker.finetune.learnt_from import LearntFrom
from worker.finetune.progress import run_folder

_LEARNT = LearntFrom(56, 60, 58, 2, 6, 14, "0a1b2c", 300, {"annotators disagree": 3})


def check(name: str, live: float, candidate: float, *, passed: bool, images: int = 14) -> dict[str, Any]:
    """As GateCheck says it."""
    change = candidate - live
    reason = f"{name} on {images} images: {live:.3f} → {candidate:.3f}: {'better' if passed else 'not for certain'}."
    return {"name": name, "passed": passed, "images": images, "live": live, "candidate": candidate, "change": change,
            "low": change - 0.03, "high": change + 0.03, "reason": reason}  # fmt: skip


def train(
    settings: Settings, store: Store, project: Project, parent: str, *, passed: bool, gain: float, pictures: int = 3
) -> str:
    """A run that made a version, which the gate accepted or refused; its name."""
    store.finetunes.request(f"seed-{len(store.finetunes.newest())}", project, corrections=60)
    run = store.finetunes.claim("seeder", 60.0)
    assert run is not None
    name = store.models.next_name(parent)
    store.finetunes.begin(run.id, name, parent)
    checks = [
        check("IoU", 0.71, 0.71 + gain, passed=passed),
        check("IoU beside marking everything", 0.2, 0.71 + gain, passed=True),
        check("boundary IoU", 0.55, 0.56, passed=True),
        check("drawn where the label is absent", 0.1, 0.12, passed=True, images=6),
    ]
    gate = {"passed": passed, "decided": True, "snapshot": "0a1b", "checks": checks, "holdout_images": None,
            "reasons": [each["reason"] for each in checks]}  # fmt: skip
    folder = run_folder(settings, run)
    changed = [_pictures(folder, number, gain) for number in range(pictures)]
    (folder / "report.html").write_text(f"<!doctype html><title>{name}</title><h1>{name}: the report</h1>")
    report = {
        "gate": gate,
        "learnt_from": _LEARNT.to_json(),
        "candidate": name,
        "live": parent,
        "most_changed": changed,
    }
    store.models.add(name, str(folder / "model"), parent, project)
    store.models.judge(name, "accepted" if passed else "refused", report)
    store.finetunes.end(run.id, "promoted" if passed else "refused", report=report)
    return name


def _pictures(folder: Path, number: int, gain: float) -> dict[str, Any]:
    drawn = draw_task(70 + number)
    image = load_image(base64.b64decode(str(drawn.task.data["image"]).partition(",")[2]), max_pixels=10**6)
    masks = {
        ("live", "truth"): np.any(drawn.nuclei, axis=0),
        ("live", "answer"): np.any(drawn.nuclei[::2], axis=0),
        ("candidate", "answer"): np.any(drawn.nuclei[1:], axis=0),
    }
    for (side, what), mask in masks.items():
        file = folder / side / "pictures" / f"{number}-{what}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        shape = CroppedMask.of(mask)
        draw_change(image, whole(*image.size), shape, shape).save(file)
    return {"number": number, "prompt": "all nuclei", "live_iou": 0.7, "candidate_iou": 0.7 + gain}


def try_prompts(store: Store, project: Project, *texts: str, tasks: int = 8, done: int | None = None) -> PromptTrial:
    """A trial of these wordings for nuclei on drawn pictures, of which `done` tasks were tried (all, if not said)."""
    control, label = find_label(parse_label_config(CONFIG), "Nucleus")
    wordings = make_wordings(control, label, texts)
    trial = store.trials.request(
        project, "Nucleus", [each.to_json() for each in wordings], model="starter", limit=tasks, who="ada"
    )
    store.trials.begin(trial.id)
    drawn = [draw_task(40 + number) for number in range(tasks)]
    store.trials.set_tasks(trial.id, [(each.task.id, dict(each.task.data)) for each in drawn])
    for place in range(tasks if done is None else done):
        task = store.trials.next_task(trial.id)
        assert task is not None
        truth = [] if place == 1 else list(drawn[place].nuclei)
        found = [_found(drawn[place].nuclei, number, wording) for number, wording in enumerate(wordings)]
        measures = [measure(wording, mask, truth).to_json() for wording, mask in zip(wordings, found, strict=True)]
        drawn_truth = write_png(np.any(truth, axis=0)) if truth else None
        masks = TrialMasks(drawn_truth, tuple(map(write_png, found)))
        store.trials.save_task(task, seconds=1.2, measures=measures, masks=masks)
    if done is None:
        store.trials.end(trial.id, "done")
    return store.trials.get(trial.id)


def _found(nuclei: tuple[Any, ...], number: int, wording: Wording) -> Any:
    """A later wording finds fewer nuclei and draws them wider; an early one is nearly right."""
    kept = np.any([each for place, each in enumerate(nuclei) if place % (number + 2) != 0] or [nuclei[0]], axis=0)
    return cv2.dilate(kept.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=number).astype(bool)

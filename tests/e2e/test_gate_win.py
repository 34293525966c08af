"""A win at the gate, in a real Label Studio: corrections start the run, and what annotators see moves by itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from argenseg_model.model import ARGenSeg
from backend.console.demo.sample_project import SampleProject, label_config
from backend.console.demo.training_project import TISSUE, submit_holdout
from labeling.store import Project
from tests.e2e.label_studio_api import RunningDemo, wait_for
from tests.e2e.test_correction_loop import (
    CORRECTED_BY_SCRIPT,
    HOLDOUT_IMAGES,
    RUN_S,
    TrainingProject,
    correct_by_script,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3000)]

WORSE = "starter-worse"
IMAGES = len(TISSUE.ids)
OPEN = IMAGES - HOLDOUT_IMAGES - CORRECTED_BY_SCRIPT


def write_worse_model(folder: Path, seed: int = 0) -> None:
    """The starter as something went wrong with it: it does not know the word that the project asks for, noise lies over
    what it sees, and it draws where it is not sure. Forty steps make good so much that no check hangs by a hair.
    """
    model, rng = ARGenSeg.from_pretrained("starter"), torch.Generator().manual_seed(seed)
    words = model.get_input_embeddings().weight
    with torch.no_grad():
        words[model.tokenizer.encode("all nuclei")[-1]] = words.mean(0)
        for weights in model.multi_modal_projector.parameters():
            if weights.ndim == 2:
                weights += 1.5 * weights.std() * torch.randn(weights.shape, generator=rng)
    model.config.model_name, model.config.least_score = WORSE, 0.02
    model.half().save_pretrained(folder)


def shown(training: TrainingProject) -> str:
    """The version of the masks on the task that Label Studio gives an annotator next."""
    (prediction,) = training.demo.label_studio.call("GET", f"/api/projects/{training.id}/next/")["predictions"]
    return str(prediction["model_version"])


@pytest.fixture
def served(demo: RunningDemo, tmp_path: Path) -> tuple[TrainingProject, Project]:
    """The tissue in a project in which a worse version is active, with the holdout corrected."""
    api, store = demo.label_studio, demo.store
    sample = SampleProject(api.url, api.token, replace(TISSUE, title="Tissue: a bad version is active"))
    training = TrainingProject(demo, sample, {})
    api.connect(training.id, demo.backend_url)
    project = store.projects.upsert(api.url, training.id, label_config())
    write_worse_model(tmp_path / "worse")
    # what it came from is gone, as after a move to another machine: beside the real starter it would have to make good
    # all that was done to it
    store.models.add(WORSE, str(tmp_path / "worse"), str(tmp_path / "gone"), project)
    store.models.set_active(WORSE, project)
    sample.import_images()
    wait_for("the masks", lambda: store.progress.counts(training.id) == {"published": IMAGES}, 300)
    (version,) = {each["model_version"] for task in sample.tasks() for each in api.predictions(task.id)}
    sample.pin(version)
    submit_holdout(sample, version)
    return training, project


def test_a_win_moves_what_annotators_see_by_itself(
    served: tuple[TrainingProject, Project], record_property: Any
) -> None:
    """The last of so many corrections starts a run; its version passes the gate, predicts the open tasks and only then
    is seen, without anybody's doing. One command goes back.
    """
    (training, project), store, old = served, served[0].demo.store, served[0].pinned()
    assert old.startswith(f"{WORSE} · ") and shown(training) == old
    *most, last = training.open_tasks()[:CORRECTED_BY_SCRIPT]
    enough = HOLDOUT_IMAGES + CORRECTED_BY_SCRIPT
    training.run("finetune", "--project", str(training.id), "--every", str(enough))
    correct_by_script(training, most, old)
    wait_for("all corrections but one", lambda: store.corrections.count(project) == enough - 1)
    assert training.runs() == []
    correct_by_script(training, [last], old)

    (run,) = wait_for("the run", training.runs)
    wait_for("the verdict", lambda: training.pinned() != old or store.finetunes.get(run.id).ended_at, RUN_S)
    new, still_open = training.pinned(), training.open_tasks()
    drawn = [bool(training.prediction(task.id, new)["result"]) for task in still_open]  # were there before it was seen
    run = wait_for("its end", lambda: next((each for each in training.runs() if each.ended_at), None))
    assert run.report is not None
    record_property("verdict", [run.status, *run.report["gate"]["reasons"]])
    assert (run.status, run.error) == ("promoted", None), run.report["gate"]["reasons"]
    assert run.report["gate"]["decided"] and run.report["gate"]["checks"][0]["images"] == HOLDOUT_IMAGES
    assert run.candidate is not None and new.startswith(f"{run.candidate} · ") and shown(training) == new
    assert len(drawn) == OPEN and sum(drawn) > OPEN / 2
    assert store.progress.counts(training.id) == {"published": IMAGES + OPEN}, "a job was dropped, or done twice"
    live = store.models.active(project)
    assert live is not None and (live.name, live.state) == (run.candidate, "accepted")
    assert "passed the gate" in training.report_page(run)

    assert "is active for project" in training.run("models", "rollback", "--project", str(training.id))
    live = store.models.active(project)
    assert live is not None and live.name == WORSE
    assert training.pinned() == old and shown(training) == old
    training.run("finetune", "--project", str(training.id), "--use-default")

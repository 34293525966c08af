"""The correction loop, in a real browser: a mask is corrected, the model learns, the gate decides, one can go back."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from label_studio_sdk.converter.brush import decode_rle
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext

from backend.console.demo.sample_project import SampleProject, SampleTask, is_holdout
from backend.console.demo.training_project import TISSUE, true_annotation
from labeling.store import FinetuneRun
from tests.e2e.label_studio_api import RunningDemo, wait_for
from tests.e2e.labeling_page import LabelingPage
from tests.e2e.model_page import start_training

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3000)]

EDITED, LOOKED_AT = "culture_01", "culture_02"  # images on which something is found before any training
CORRECTED_BY_SCRIPT = 4
HOLDOUT_IMAGES = 14  # that the demo comes with
RUN_S = 1500.0  # with 40 steps, on a machine that is busy; two minutes on one that is not


@dataclass(frozen=True)
class TrainingProject:
    """The demo's training project, with two fluorescence images added: tasks by the image's id."""

    demo: RunningDemo
    project: SampleProject
    added: dict[str, int]

    @property
    def id(self) -> int:
        return self.project.id

    def pinned(self) -> str:
        """The version that annotators see."""
        return str(self.demo.label_studio.call("GET", f"/api/projects/{self.id}/")["model_version"])

    def prediction(self, task: int, version: str) -> dict[str, Any]:
        """The task's only prediction of a version."""
        (found,) = [each for each in self.demo.label_studio.predictions(task) if each["model_version"] == version]
        return found

    def run(self, *command: str, **variables: str) -> str:
        """What a command of `argenseg` prints, in a shell that read the demo's argenseg.env."""
        shell = '. "$0" && exec env "$@"'
        file = str(self.demo.data_dir.parent / "argenseg.env")
        changed = [f"{name}={value}" for name, value in variables.items()]
        argv = ["bash", "-c", shell, file, *changed, sys.executable, "-m", "backend.console.cli", *command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=RUN_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def runs(self) -> list[FinetuneRun]:
        """The project's fine-tune runs, the newest first."""
        runs = self.demo.store.finetunes.newest()
        return [run for run in runs if run.project is not None and run.project.project_id == self.id]

    def open_tasks(self) -> list[SampleTask]:
        """Of the project's own images, those that nobody has corrected."""
        return [task for task in self.project.tasks() if not is_holdout(task.image_id) and not task.is_annotated]

    def report_page(self, run: FinetuneRun) -> str:
        answer = httpx.get(f"{self.demo.backend_url}/finetune/{run.id}", trust_env=False)
        assert answer.status_code == 200
        return answer.text


@pytest.fixture(scope="module")
def training(demo: RunningDemo) -> TrainingProject:
    api = demo.label_studio
    project = SampleProject(api.url, api.token, TISSUE)
    images = [EDITED, LOOKED_AT]
    tasks = dict(zip(images, api.import_images(project.id, images), strict=True))
    for task in tasks.values():
        wait_for(f"the masks of task {task}", lambda task=task: api.predictions(task), 120)
    return TrainingProject(demo, project, tasks)


def own_mask(region: dict[str, Any]) -> NDArray[np.bool_]:
    """A brush region's mask by Label Studio's own decoder, not ours."""
    shape = region["original_height"], region["original_width"], 4
    return np.reshape(decode_rle(region["value"]["rle"]), shape)[..., 3] >= 128


def open_page(training: TrainingProject, browser_context: BrowserContext, task: int, version: str) -> LabelingPage:
    """The task's page, once it shows the regions of that version's prediction, and no others."""
    ids = sorted(region["id"] for region in training.prediction(task, version)["result"])
    page = LabelingPage(browser_context.new_page(), training.demo.label_studio.url, training.id, task)
    page.wait_for_regions(len(ids))
    assert sorted(page.region_ids()) == ids, f"the page shows another prediction than that of {version}"
    return page


def correct_in_the_browser(training: TrainingProject, browser_context: BrowserContext, version: str) -> None:
    """Erase a little of a mask and submit: what is stored is what Label Studio holds, with the IoU of the two masks."""
    api, task = training.demo.label_studio, training.added[EDITED]
    page = open_page(training, browser_context, task, version)
    page.select_region()
    page.erase([(0.1, 0.25), (0.5, 0.25), (0.5, 0.75), (0.9, 0.75)])
    annotation = page.submit()
    (submitted,) = api.call("GET", f"/api/annotations/{annotation}/")["result"]
    before, after = own_mask(training.prediction(task, version)["result"][0]), own_mask(submitted)
    overlap = (before & after).sum() / (before | after).sum()
    assert 0.5 < overlap < 1.0, "the eraser took nothing, or nearly everything"
    (correction,) = wait_for(
        "the stored correction",
        lambda: [
            each for each in training.demo.store.corrections.of_project(training.id) if each.annotation_id == annotation
        ],
    )
    assert (correction.kind, correction.label, correction.model_version) == ("edited", "Nucleus", version)
    assert correction.iou == pytest.approx(overlap) and correction.changed_pixels == (before ^ after).sum()
    assert correction.mask_after is not None
    assert np.array_equal(training.demo.store.corrections.read_mask(correction.mask_after), after)


def correct_by_script(training: TrainingProject, tasks: list[SampleTask], version: str) -> None:
    """Submit the truth of tasks, as a person would who paints it; wait until it is stored."""
    ids = [training.project.annotate(task.id, true_annotation(training.project, task, version)) for task in tasks]

    def are_stored() -> bool:
        return set(ids) <= {each.annotation_id for each in training.demo.store.corrections.of_project(training.id)}

    wait_for("the corrections that were submitted by API", are_stored)


@pytest.fixture(scope="module")
def corrected(training: TrainingProject, browser_context: BrowserContext) -> TrainingProject:
    """The project with a mask corrected in the browser, and four tasks by script."""
    version = training.pinned()
    correct_in_the_browser(training, browser_context, version)
    correct_by_script(training, training.open_tasks()[:CORRECTED_BY_SCRIPT], version)
    return training


def test_a_correction_teaches_the_next_version(
    corrected: TrainingProject, browser_context: BrowserContext, artifacts: Path, record_property: Any
) -> None:
    """Start Training is pressed; whatever the gate decides, the new version can serve, is seen, and can be left.

    That a win needs nobody's hand is in test_gate_win.py.
    """
    training, store, old = corrected, corrected.demo.store, corrected.pinned()
    start_training(browser_context.new_page(), training.demo.label_studio.url, training.id)
    run = wait_for("the run's end", lambda: next((run for run in training.runs() if run.ended_at), None), RUN_S)
    assert run.status in ("promoted", "refused") and run.report is not None and run.candidate is not None, run.error
    record_property("verdict", [run.status, *run.report["gate"]["reasons"]])
    assert run.report["gate"]["decided"] and run.report["gate"]["checks"][0]["images"] == HOLDOUT_IMAGES
    assert run.candidate in training.report_page(run)
    if run.status == "refused":
        assert store.models.active(run.project) is None and training.pinned() == old
        training.run("models", "promote", run.candidate, "--project", str(training.id), "--yes")

    new = training.pinned()
    assert new != old and new.startswith(f"{run.candidate} · ")
    for task in training.open_tasks():
        training.prediction(task.id, new)
    page = open_page(training, browser_context, training.added[LOOKED_AT], new)
    page.screenshot(artifacts / "after-promotion.png")

    assert "is active for project" in training.run("models", "rollback", "--project", str(training.id))
    assert training.pinned() == old and store.models.active(run.project) is None
    open_page(training, browser_context, training.added[LOOKED_AT], old)


def test_too_small_a_holdout_is_said_and_changes_nothing(corrected: TrainingProject) -> None:
    """The gate wants more holdout images than there are: it says how many, nothing is learnt, a report is kept."""
    store, old = corrected.demo.store, corrected.pinned()
    strict = {"GATE_MIN_IMAGES": str(HOLDOUT_IMAGES + 36)}
    reported = corrected.run("finetune", "--project", str(corrected.id), "--from-corrections", **strict)
    run = corrected.runs()[0]
    assert run.status == "refused" and "36 more are missing" in reported
    assert run.report is not None and run.candidate is None
    assert not run.report["gate"]["decided"] and "36 more are missing" in run.report["gate"]["reasons"][0]
    assert store.models.active(run.project) is None and corrected.pinned() == old
    assert "36 more are missing" in corrected.report_page(run)

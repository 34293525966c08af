"""The demo's parts that need no Label Studio: the lesson's images, what `--check` takes for a failure, and the news of
fine-tune runs.
"""

import json
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from argenseg_model.images import load_image
from backend.console.demo import run, training_news
from backend.console.demo.check import CheckFailed, check_masks
from backend.console.demo.command import demo
from backend.console.demo.label_studio import LabelStudioServer
from backend.console.demo.lesson import LESSON, place_lesson
from backend.console.demo.sample_project import NUCLEI, Sample, SampleProject, SampleTask, is_holdout
from backend.console.demo.training_news import TrainingNews
from labeling.datasets.perceptual_hash import NEAR_BITS, distances, perceptual_hash
from labeling.datasets.splits import HashedImage, place_images
from labeling.regions.kinds import draw_regions, region_dict
from labeling.settings import Settings
from labeling.store import Store
from worker.finetune.progress import run_folder


@pytest.mark.parametrize("sample", [NUCLEI, LESSON])
def test_each_image_has_its_truth(sample: Sample) -> None:
    for name, content in sample.images().items():
        truth = sample.truth(name)
        assert truth.shape == load_image(content).size[::-1] and 0 < truth.mean() < 0.7, name


def test_the_lessons_open_tasks_come_first_and_its_holdout_is_enough_for_the_gate() -> None:
    sides = [is_holdout(name) for name in LESSON.images()]
    assert sides == sorted(sides) and sum(sides) >= Settings().gate_min_images


def test_no_photograph_of_the_lesson_is_on_both_sides(store: Store) -> None:
    images = LESSON.images()
    photographs = [{name.rpartition("_")[2] for name in images if is_holdout(name) == side} for side in (True, False)]
    assert not photographs[0] & photographs[1]
    place_lesson(store)
    place_lesson(store)  # at the next start
    placed = list(store.datasets.place_images(lambda known: []).values())
    assert {each.side for each in placed} == {"train", "holdout"} and len(placed) == len(images)
    hashes = {side: [each.perceptual_hash for each in placed if each.side == side] for side in ("train", "holdout")}
    assert np.min([distances(one, hashes["train"]).min() for one in hashes["holdout"]]) > NEAR_BITS
    others = [HashedImage(name, perceptual_hash(load_image(content))) for name, content in NUCLEI.images().items()]
    assert all(each.side != "quarantine" for each in place_images(placed, others))


def interrupt(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def interrupt_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "start_services", interrupt)


def interrupt_the_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "start_services", lambda *_: None)
    monkeypatch.setattr(run, "is_ready", lambda _: True)
    monkeypatch.setattr(LabelStudioServer, "is_up", lambda _: True)
    for step in ("import_images", "create_view", "connect_backend"):
        monkeypatch.setattr(SampleProject, step, lambda *_: None)
    monkeypatch.setattr(SampleProject, "task_count", lambda _: 12)
    monkeypatch.setattr(SampleProject, "model_version", lambda _: "starter · 1")
    monkeypatch.setattr(SampleProject, "retrieve_predictions", interrupt)


@pytest.mark.parametrize("interrupt_at", [interrupt_the_start, interrupt_the_predictions])
def test_a_check_that_is_stopped_before_it_is_done_has_failed(
    interrupt_at: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_studio = tmp_path / "label-studio"
    label_studio.write_text("#!/bin/sh\nexec sleep 300\n")
    label_studio.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    interrupt_at(monkeypatch)
    result = CliRunner().invoke(demo, ["--check", "--label-studio", str(label_studio)])
    assert result.exit_code == 1, result.output
    assert "Check failed: It was stopped before it was done." in result.output
    assert "Check passed" not in result.output


class PredictedProject(SampleProject):
    """The sample project as it would be with the truth as its masks; some images have none."""

    def __init__(self, without_mask: set[str]) -> None:
        super().__init__("http://127.0.0.1:9", "token")
        self._without_mask = without_mask

    def tasks(self) -> list[SampleTask]:
        return [SampleTask(number, image_id, False) for number, image_id in enumerate(self.sample.images())]

    def task(self, task_id: int) -> dict[str, Any]:
        image_id = self.tasks()[task_id].image_id
        (drawn,) = draw_regions("brushlabels", self.sample.truth(image_id))
        tag = {"kind": "brushlabels", "label": "Nucleus", "from_name": "mask", "to_name": "image"}
        regions = [] if image_id in self._without_mask else [region_dict(drawn, **tag, score=0.9, region_id="r")]
        return {"predictions": [{"id": task_id, "model_version": "starter · 1", "score": 0.9, "result": regions}]}


def test_the_check_wants_a_mask_on_every_image() -> None:
    check_masks(PredictedProject(set()), "starter · 1", Console(quiet=True))
    image = next(iter(NUCLEI.images()))
    with pytest.raises(CheckFailed, match=f"Image {image} has no mask"):
        check_masks(PredictedProject({image}), "starter · 1", Console(quiet=True))


def test_news_of_a_run_are_told_once(store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_news, "_LOOK_EVERY_S", 0.0)
    console = Console(record=True, width=200)

    def told() -> str:
        assert not news.tell()
        return console.export_text()

    store.finetunes.request("earlier", None)
    store.finetunes.stop()
    news = TrainingNews(settings, store, console)
    assert told() == ""
    store.finetunes.request("now", None)
    assert "a new version): waits for a scheduler" in told()
    run = store.finetunes.claim("me", 60.0)
    assert run is not None
    store.finetunes.begin(run.id, "starter-1.1", "starter")
    folder = run_folder(settings, run)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"options": {"steps": 100}}))
    (folder / "log.jsonl").write_text('{"step": 40, "codes": 0.5}\n')
    assert "(starter-1.1): learning, step 40 of 100" in told()
    assert told() == ""
    store.finetunes.end(run.id, "refused", report={"gate": {"reasons": ["IoU [0.1] was worse."]}})
    last = told()
    assert "goes on serving" in last and "IoU [0.1] was worse." in last and f"/finetune/{run.id}" in last
    assert told() == ""

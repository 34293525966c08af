"""The demo's parts that need no Label Studio: its pictures, what `--check` takes for a failure, and the news of
fine-tune runs.
"""

import io
import json
import os
import re
import signal
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from argenseg_model.images import load_image
from backend.console.demo import pictures, run, training_news
from backend.console.demo.check import CheckFailed, check_masks
from backend.console.demo.command import demo
from backend.console.demo.label_studio import PASSWORD, USER, LabelStudioServer, free_ports
from backend.console.demo.pictures import missing_packages
from backend.console.demo.sample_project import NUCLEI, Sample, SampleProject, SampleTask, is_holdout, photographs
from backend.console.demo.training_news import TrainingNews
from backend.console.demo.training_project import TISSUE, place_tissue, true_annotation
from backend.console.demo.welcome import open_browser, welcome
from labeling.datasets.perceptual_hash import NEAR_BITS, distances, perceptual_hash
from labeling.datasets.splits import HashedImage, place_images
from labeling.prompts.known import known_names, unknown_notes, unknown_prompts
from labeling.prompts.label_config import parse_label_config
from labeling.regions.kinds import draw_regions, region_dict
from labeling.settings import Settings
from labeling.store import Store
from worker.finetune.progress import run_folder


@pytest.mark.parametrize("sample", [NUCLEI, TISSUE])
def test_each_drawn_image_has_its_truth(sample: Sample) -> None:
    drawn = 0
    for name, content in sample.images().items():
        if (truth := sample.truth(name)) is not None:
            assert truth.shape == load_image(content).size[::-1] and 0 < truth.mean() < 0.7, name
            drawn += 1
    assert drawn >= 12


def test_real_pictures_come_out_of_packages_and_nobody_knows_their_truth() -> None:
    if missing_packages():
        pytest.skip(f"not installed: {missing_packages()}")
    for picture in (*pictures.NUCLEI, *pictures.IMMUNOHISTOCHEMISTRY):
        assert load_image(picture.png()).size == (512, 512)
    assert NUCLEI.truth("mahotas_01") is None and TISSUE.truth("open_ihc") is None
    with pytest.raises(ValueError, match="open_ihc"):
        true_annotation(PredictedProject(set(), TISSUE), SampleTask(1, "open_ihc", False), "starter · 1")


def test_without_the_packages_the_demo_has_its_drawn_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda _: None)
    assert missing_packages() == ["mahotas", "skimage"] and photographs() == []
    assert replace(NUCLEI).ids == [each.id for each in pictures.CULTURES]


def test_photographs_are_shown_with_the_names_that_the_starter_draws() -> None:
    if missing_packages():
        pytest.skip(f"not installed: {missing_packages()}")
    assert [sample.ids for sample in photographs()] == [["coins"]]
    for sample in (NUCLEI, TISSUE, *photographs()):
        config = parse_label_config(sample.label_config)
        (typed,) = re.findall(r"such as: (.+?) \(Auto", sample.label_config)
        names = known_names(Settings(), "starter")
        assert unknown_notes(names, config) == [] and unknown_prompts(names, [typed]) == {}


def test_the_open_tasks_come_first_and_the_holdout_is_enough_for_the_gate() -> None:
    sides = [is_holdout(name) for name in TISSUE.ids]
    assert sides == sorted(sides) and sum(sides) >= Settings().gate_min_images


def test_text_field_and_labels_stand_above_the_image() -> None:
    for config in (NUCLEI.label_config, TISSUE.label_config):
        assert config.index("<TextArea") < config.index("<BrushLabels") < config.index("<Image")
    assert parse_label_config(NUCLEI.label_config).controls[0].options.instances


def test_the_welcome_is_ten_lines_with_all_that_is_needed(settings: Settings, tmp_path: Path) -> None:
    server, project = LabelStudioServer(tmp_path, tmp_path, 8080), PredictedProject(set())
    project.__dict__["id"] = 4
    text = welcome(server, project, settings)
    assert len(text.strip().splitlines()) <= 10
    assert all(each in text for each in ("/projects/4/data", USER, PASSWORD, "/status", "Ctrl-C"))
    project.close()


def test_no_browser_is_opened_where_nobody_sits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    assert not open_browser("http://127.0.0.1:9", Console(file=io.StringIO()))


def test_a_first_start_copies_what_was_prepared_and_a_later_one_keeps_its_own(tmp_path: Path) -> None:
    server = LabelStudioServer(tmp_path / "environment" / "bin" / "label-studio", tmp_path / "data", 8080)
    assert not server.take_prepared() and not server.has_database
    server.prepared.mkdir(parents=True)
    (server.prepared / "label_studio.sqlite3").write_text("empty")
    (server.prepared / "token").write_text("its token")
    assert server.take_prepared() and server.has_database and server.token() == "its token"
    (server.data_dir / "label_studio.sqlite3").write_text("mine")
    assert not server.take_prepared() and (server.data_dir / "label_studio.sqlite3").read_text() == "mine"


def test_what_is_started_has_the_token_of_the_prepared_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "environment" / "bin" / "label-studio"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    prepared = LabelStudioServer(program, tmp_path, 0).prepared
    prepared.mkdir()
    (prepared / "label_studio.sqlite3").touch()
    (prepared / "token").write_text("its token")
    given: list[Settings] = []
    monkeypatch.setattr(run, "run_demo", lambda server, settings, *_, **__: given.append(settings) or True)
    ports = [f"--{name}={port}" for name, port in zip(("port", "backend-port"), free_ports(2), strict=True)]
    options = ["--label-studio", str(program), "--data-dir", str(tmp_path / "demo"), *ports]
    assert CliRunner().invoke(demo, options).exit_code == 0
    assert given[0].label_studio_api_key.get_secret_value() == "its token"


class ProjectOfTasks(SampleProject):
    """A project that counts its tasks, and takes files."""

    def __init__(self, tasks: int) -> None:
        super().__init__("http://127.0.0.1:9", "token", NUCLEI)
        self.__dict__["id"] = 1
        self.tasks_there, self.imported = tasks, list[str]()

    def task_count(self) -> int:
        return self.tasks_there

    def _call(self, method: str, path: str, **request: Any) -> Any:
        self.imported = [name for name, _ in request["files"]]


@pytest.mark.parametrize(
    ("there", "only_first", "imported"),
    [(0, True, NUCLEI.ids[:1]), (1, True, []), (0, False, NUCLEI.ids), (1, False, NUCLEI.ids[1:]), (5, False, [])],
)
def test_the_first_picture_comes_alone_and_the_rest_once(there: int, only_first: bool, imported: list[str]) -> None:
    project = ProjectOfTasks(there)
    project.import_images(only_first=only_first)
    assert project.imported == [f"{name}.png" for name in imported]
    project.close()


def test_no_tissue_is_on_both_sides(store: Store) -> None:
    place_tissue(store)
    place_tissue(store)  # at the next start
    placed = list(store.datasets.place_images(lambda known: []).values())
    assert {each.side for each in placed} == {"train", "holdout"} and len(placed) == len(TISSUE.ids)
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
        monkeypatch.setattr(SampleProject, step, lambda *_, **__: None)
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

    def __init__(self, without_mask: set[str], sample: Sample = NUCLEI) -> None:
        super().__init__("http://127.0.0.1:9", "token", sample)
        self._without_mask = without_mask

    def tasks(self) -> list[SampleTask]:
        return [SampleTask(number, image_id, False) for number, image_id in enumerate(self.sample.ids)]

    def task(self, task_id: int) -> dict[str, Any]:
        image_id = self.tasks()[task_id].image_id
        truth = self.sample.truth(image_id)
        (drawn,) = draw_regions("brushlabels", np.ones((8, 8), bool) if truth is None else truth)
        tag = {"kind": "brushlabels", "label": "Nucleus", "from_name": "mask", "to_name": "image"}
        regions = [] if image_id in self._without_mask else [region_dict(drawn, **tag, score=0.9, region_id="r")]
        return {"predictions": [{"id": task_id, "model_version": "starter · 1", "score": 0.9, "result": regions}]}


def test_the_check_wants_a_mask_on_every_image() -> None:
    check_masks(PredictedProject(set()), "starter · 1", Console(quiet=True))
    image = NUCLEI.ids[0]
    with pytest.raises(CheckFailed, match=f"Image {image} has no mask"):
        check_masks(PredictedProject({image}), "starter · 1", Console(quiet=True))


def test_news_of_a_run_are_told_once(store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_news, "_LOOK_EVERY_S", 0.0)
    console = Console(record=True, width=200)

    def reported() -> str:
        assert not news.tell()
        return console.export_text()

    store.finetunes.request("earlier", None)
    store.finetunes.stop()
    news = TrainingNews(settings, store, console)
    assert reported() == ""
    store.finetunes.request("now", None)
    assert "a new version): waits for a scheduler" in reported()
    run = store.finetunes.claim("me", 60.0)
    assert run is not None
    store.finetunes.begin(run.id, "starter-1.1", "starter")
    folder = run_folder(settings, run)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"options": {"steps": 100}}))
    (folder / "log.jsonl").write_text('{"step": 40, "codes": 0.5}\n')
    assert "(starter-1.1): learning, step 40 of 100" in reported()
    assert reported() == ""
    store.finetunes.end(run.id, "refused", report={"gate": {"reasons": ["IoU [0.1] was worse."]}})
    last = reported()
    assert "stays active" in last and "IoU [0.1] was worse." in last and f"/finetune/{run.id}" in last
    assert reported() == ""

"""The commands, on a store with two corrected tasks."""

import base64
import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from argenseg_model.manifest import Manifest
from backend.console.cli import main
from labeling.regions.cropped_mask import CroppedMask
from labeling.settings import Settings
from labeling.store import Annotation, AskedPrompt, Correction, Store
from tests.worker.conftest import bright_square
from tests.worker.label_studio_double import CONFIG, LabelStudioDouble
from worker.context import JobContext
from worker.events.process import process_event

URL = "http://label-studio.test"


@pytest.fixture
def run(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch):
    """`run("corrections", "list")`, after two annotations by two annotators, each with a box that was added."""
    store.projects.upsert(URL, 5, CONFIG)
    label_studio = LabelStudioDouble()
    context = JobContext(settings, store, None, None)  # type: ignore[arg-type]
    for number in (1, 2):
        payload = label_studio.create(number)
        payload["annotation"]["completed_by"] = number
        payload["task"]["data"] = {"image": bright_square()}
        for region in payload["annotation"]["result"]:
            region |= {"original_width": 40, "original_height": 30}
        process_event(context, store.events.record(payload["action"], payload, label_studio_url=URL))
    monkeypatch.setenv("ARGENSEG_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("LABEL_STUDIO_URL", URL)

    def run(*arguments: str, fails: bool = False) -> Result:
        result = CliRunner().invoke(main, [*arguments], catch_exceptions=False)
        assert (result.exit_code != 0) == fails, result.output
        return result

    return run


def listed(run, *arguments: str) -> list[int]:
    lines = run("corrections", "list", "--json", *arguments).stdout.splitlines()
    return [json.loads(line)["annotation_id"] for line in lines]


def test_list_and_its_filters(run) -> None:
    assert listed(run) == listed(run, "--project", "5", "--label", "red") == [1, 2]
    assert listed(run, "--annotator", "2") == [2]
    assert listed(run, "--task", "1") == [1]
    assert listed(run, "--version", "v1") == listed(run, "--since", "2099-01-01") == listed(run, "--label", "x") == []
    assert "2 corrections" in run("corrections", "list").output


def test_lists_go_into_other_programs(run, store: Store) -> None:
    """Nothing is cut where the output is no terminal; what others wrote is neither markup nor a formula."""
    reported = LabelStudioDouble().create(3)
    reported["annotation"] |= {"id": 9, "updated_at": "2036-11-22T23:00:00Z"}
    reported["annotation"]["result"][0]["value"]["rectanglelabels"] = ["=1+1 [bold] :car: " + "long " * 40]
    event_id = store.events.record("ANNOTATION_CREATED", reported, label_studio_url=URL)
    process_event(JobContext(Settings(), store, None, None), event_id)  # type: ignore[arg-type]
    table = run("corrections", "list").output
    assert max(map(len, table.splitlines())) <= 100 and table.count("long") == 40
    assert "[bold]" in table and ":car:" in table
    rows = list(csv.DictReader(io.StringIO(run("corrections", "list", "--csv").stdout)))
    assert [row["annotation_id"] for row in rows] == ["1", "2", "9"]
    assert rows[2]["label"].startswith("'=1+1") and rows[2]["at"] == "2036-11-22T23:00:00+00:00"
    assert run("corrections", "list", "--label", "none", "--csv").stdout == ""


def test_show(run) -> None:
    (state,) = json.loads(run("corrections", "show", "1").stdout)
    assert (state["state"], state["project"], len(state["corrections"])) == ("submitted", 5, 1)
    assert state["image"]["reference"] == bright_square() and state["image"]["sha256"] is None  # nobody fetched it yet
    assert "no annotation 9" in run("corrections", "show", "9", fails=True).output


def test_exclude_and_take_it_back(run) -> None:
    run("corrections", "exclude", "annotator", "2", "--project", "5", "--reason", "in training")
    assert listed(run) == [1]
    assert listed(run, "--excluded") == [1, 2]
    assert "in training" in run("corrections", "exclusions", "--project", "5").output
    run("corrections", "exclude", "annotator", "2", "--project", "5", "--undo")
    assert "in training" not in run("corrections", "exclusions", "--project", "5").output
    assert listed(run) == [1, 2]
    assert (
        "could be taken back"
        in run("corrections", "exclude", "annotator", "2", "--project", "5", "--undo", fails=True).output
    )


@pytest.mark.parametrize(
    ("scope", "value"),
    [("annotator", "anna"), ("task", "0"), ("task", "-1"), ("annotation", "1/r1"), ("region", "1"), ("region", "1/")],
)
def test_exclude_what_cannot_be(run, scope: str, value: str) -> None:
    message = run("corrections", "exclude", scope, "--project", "5", "--", value, fails=True).output
    assert f"{value!r} names no {scope}" in message.replace("\n", " ")


def test_exclude_a_region_and_a_number_as_one_writes_it(run) -> None:
    run("corrections", "exclude", "region", "1/r1", "--project", "5")
    assert listed(run) == [2]
    run("corrections", "exclude", "annotator", "02", "--project", "5")
    assert listed(run) == []


def test_tasks_that_label_studio_deleted_are_counted(run, store: Store) -> None:
    project = store.projects.find(5, URL)
    assert project is not None
    store.exclusions.leave_out_deleted_tasks(project, range(2, 1000))
    assert listed(run) == [1]
    assert "998 tasks that were deleted" in run("corrections", "exclusions", "--project", "5").output


def test_delete_is_for_good(run, settings: Settings) -> None:
    run("corrections", "export", str(settings.data_dir / "finetune" / "run-4" / "set"), "--format", "manifest")
    (settings.data_dir / "finetune" / "run-4" / "live" / "pictures").mkdir(parents=True)
    kept = [path for path in settings.image_cache.iterdir() if len(path.name) == 64]
    out = run("corrections", "delete", "--project", "5", "--task", "1", "--yes").output
    assert "1 annotations, 0 predictions and 0 images" in out and "run-4" in out
    assert list((settings.data_dir / "finetune" / "run-4").rglob("*")) == [settings.data_dir / "finetune/run-4/live"]
    assert listed(run, "--excluded", "--history") == [2]
    undo = run("corrections", "exclude", "task", "1", "--project", "5", "--undo", fails=True)
    assert "could be taken back" in undo.output
    assert "either" in run("corrections", "delete", "--project", "5", "--yes", fails=True).output
    assert "1 images" in run("corrections", "delete", "--project", "5", "--task", "2", "--yes").output
    assert kept and not any(path.exists() for path in kept)
    run("corrections", "delete", "--project", "5", "--annotator", "7", "--yes")


@pytest.mark.parametrize(
    ("form", "file"),
    [
        ("coco", "annotations.json"),
        ("coco-polygons", "annotations.json"),
        ("huggingface", "train/metadata.jsonl"),
        ("manifest", "manifest.jsonl"),
    ],
)
def test_export(run, tmp_path: Path, form: str, file: str) -> None:
    out = tmp_path / "out"
    run("corrections", "export", str(out), "--project", "5", "--format", form)
    assert (out / file).is_file()
    assert "not empty" in run("corrections", "export", str(out), fails=True).output
    if form == "manifest":
        (item,) = Manifest.read(out / file).items  # both tasks show one image, and the annotators agree
        assert (item.prompt, item.label, item.weight) == ("red", "red", 1.0)
        assert np.count_nonzero(item.decode_mask()) > 0
        manifest = Manifest.read(out / file)
        assert manifest.image_path(item).is_file()


def corrected(store: Store, url: str, number: int = 5, annotation: int = 1) -> None:
    """A project of its own with a correction."""
    region = Correction("r", "rectanglelabels", "red", "added", 0.0, 0.0, 1)
    made = Annotation(annotation, 1, "submitted", (region,), lead_time_s=9.0)
    project = store.projects.upsert(url, number, CONFIG)
    store.annotations.save(store.events.record("ANNOTATION_CREATED", {}, label_studio_url=url), project, [made])


def test_label_studio_is_that_of_the_settings(
    run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrected(store, "http://other", annotation=77)
    corrected(store, "http://other", number=6, annotation=78)
    assert listed(run) == listed(run, "--project", "5") == [1, 2]
    assert "no annotation 77" in run("corrections", "show", "77", fails=True).output
    assert "2 annotations" in run("stats", "--project", "5").output
    assert "Project 6 is not known" in run("stats", "--project", "6", fails=True).output
    out = tmp_path / "out"
    assert "task" not in run("corrections", "export", str(out), "--project", "5").stderr  # as 77 has no image
    lineage = tmp_path / "set"
    run("corrections", "export", str(lineage), "--format", "manifest")
    assert store.datasets.all()[-1].lineage["annotations"] == ["5/1", "5/2"]
    monkeypatch.delenv("LABEL_STUDIO_URL")
    assert sorted(listed(run)) == [1, 2, 77, 78]


def test_label_studio_gets_another_address(run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = "https://ls.example.com"
    monkeypatch.setenv("LABEL_STUDIO_URL", now)
    assert f"There are projects of {URL}. Did Label Studio move?" in run("corrections", "list").output
    assert "project 5 belongs to" in run("corrections", "move", "--from", URL, "--to", f"{now}/").output
    assert listed(run) == [1, 2]
    assert f"There are some of: {now}" in run("corrections", "move", "--from", URL, "--to", now, fails=True).output
    corrected(store, "http://other")
    refused = run("corrections", "move", "--from", now, "--to", "http://other", fails=True).output
    assert "http://other has a project 5 too" in refused
    assert "it is an address such as" in run("corrections", "move", "--from", now, "--to", "x", fails=True).output
    assert "--to is an address" in run("corrections", "move", "--from", now, "--to", "", fails=True).output
    assert listed(run) == [1, 2]


def test_stats_of_an_unknown_project(run) -> None:
    assert "Project 99 is not known" in run("stats", "--project", "99", fails=True).output


@pytest.mark.parametrize("form", ["coco", "huggingface", "manifest"])
def test_an_export_of_a_version_is_whole(run, store: Store, tmp_path: Path, form: str) -> None:
    """What was added belongs to no version, and is on the images all the same; its annotation began from one."""
    project = store.projects.find(5, URL)
    assert project is not None
    mask = np.zeros((30, 40), np.bool_)
    mask[:5] = True
    shape, other = CroppedMask.of(mask), CroppedMask.of(~mask)
    kept = Correction(
        "a", "rectanglelabels", "red", "accepted", 1.0, 1.0, 0, prompt="red", mask_before=shape, mask_after=shape
    )
    kept = replace(kept, model_version="v1", label_before="red")
    added = Correction("b", "rectanglelabels", "red", "added", 0.0, 0.0, 9, mask_after=other)
    asked = (AskedPrompt("red", "red"),)
    made = Annotation(9, 1, "submitted", (kept, added), lead_time_s=9.0, model_version="v1", asked=asked)
    store.annotations.save(store.events.record("ANNOTATION_CREATED", {}), project, [made])
    out = tmp_path / "out"
    run("corrections", "export", str(out), "--version", "v1", "--format", form)
    if form == "coco":
        reported = json.loads((out / "annotations.json").read_text())
        assert [each["attributes"]["region_id"] for each in reported["annotations"]] == ["a", "b"]
    elif form == "huggingface":
        assert json.loads((out / "train" / "metadata.jsonl").read_text())["objects"]["kind"] == ["accepted", "added"]
    else:
        (item,) = Manifest.read(out / "manifest.jsonl").items
        assert item.decode_mask().all()
    assert listed(run, "--version", "v1") == [9]


def test_stats(run) -> None:
    table = run("stats", "--project", "5").output
    assert "2 annotations" in table and "No annotation that began from a prediction" in table
    reported = json.loads(run("stats", "--json").stdout)
    assert (reported["annotations"], reported["rows"]) == (2, [])  # nothing had been predicted
    assert run("stats", "--csv").stdout == ""


def test_stats_have_a_line_for_each_label_prompt_version_and_week(run, store: Store) -> None:
    project = store.projects.find(5, URL)
    assert project is not None
    region = Correction("r", "rectanglelabels", "red", "accepted", 1.0, 1.0, 0, label_before="red")
    regions = (replace(region, prompt="all that is red " * 9, score=0.93),)
    made = Annotation(9, 1, "submitted", regions, prediction_id=1, lead_time_s=9.0)
    bulk = replace(made, annotation_id=10, task_id=2, lead_time_s=None)
    store.annotations.save(store.events.record("ANNOTATION_CREATED", {}), project, [made, bulk])
    table = run("stats", "--project", "5").output
    assert "1 more were made of predictions and never opened" in table
    assert table.count("that") == 2 * 9 and "100% (21–100)" in table
    assert max(map(len, table.splitlines())) <= 100
    (row,) = csv.DictReader(io.StringIO(run("stats", "--project", "5", "--csv").stdout))
    assert (row["label"], row["annotations"], row["accepted"], row["accepted_count"]) == ("red", "1", "1.0", "1")
    assert float(row["accepted_low"]) == pytest.approx(0.2065, abs=1e-4) and row["iou"] == ""


def test_sync_needs_label_studio(run) -> None:
    assert "LABEL_STUDIO_API_KEY" in run("corrections", "sync", "--project", "5", fails=True).output


def picture(seed: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (30, 40), np.uint8)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def test_an_export_leaves_out_what_was_drawn_on_another_image(run, store: Store, tmp_path: Path) -> None:
    project = store.projects.find(5, URL)
    assert project is not None
    run("corrections", "export", str(tmp_path / "before"))
    (line,) = run("corrections", "list", "--json", "--task", "1").stdout.splitlines()
    digest = json.loads(line)["image_sha256"]
    assert digest is not None and digest == store.images.of_tasks(project, [1])[1].sha256
    store.images.record(project, 1, picture(1))
    reported = run("corrections", "export", str(tmp_path / "after"))
    assert (
        "left out task 1: the task shows another image now" in reported.stderr
        and "1 regions on 1 images" in reported.stdout
    )

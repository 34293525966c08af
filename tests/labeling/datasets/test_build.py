"""From stored annotations to a manifest on disk."""

import base64
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labeling.datasets import images
from labeling.datasets.build import DataSet, DataSetOptions, build_data_set
from labeling.datasets.images import ImageKeeper
from labeling.errors import ImageFetchError
from labeling.label_studio.client import LabelStudioClient
from labeling.regions.cropped_mask import CroppedMask
from labeling.settings import Settings
from labeling.store import Annotation, AskedPrompt, Correction, CorrectionFilter, Exclusion, Project, Store, TaskImage

NINE = datetime(2026, 11, 22, 9, tzinfo=UTC)
RED, CELL, CELL_TOO = AskedPrompt("red", "red ball"), AskedPrompt("cell", "every cell"), AskedPrompt("cell", "a blob")
Save = Callable[..., Any]


def noise(seed: int, brighter: int = 0) -> str:
    """A 16 x 12 px picture as a data: URL; every seed looks different, a little brighter it looks the same."""
    pixels = np.random.default_rng(seed).integers(0, 200, (12, 16), np.uint8) + np.uint8(brighter)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def region(kind: str, mask: np.ndarray, label: str = "red", **changes: Any) -> Correction:
    before, after = kind != "added", kind != "deleted"
    fields: dict[str, Any] = {
        "region_id": f"{kind}-{label}-{changes.get('prompt')}",
        "region_type": "brushlabels",
        "label": label,
        "kind": kind,
        "mask_before": CroppedMask.of(mask) if before else None,
        "mask_after": CroppedMask.of(mask) if after else None,
        "iou": 1.0,
        "boundary_iou": 1.0,
        "changed_pixels": 0,
        "label_before": label if before else None,
        "prompt": "red ball" if before else None,
    }
    return Correction(**fields | changes)


@pytest.fixture
def save(store: Store, project: Project) -> Save:
    """Save an annotation of a task that shows the picture of its number."""

    def save(annotation_id: int, task_id: int, *corrections: Correction, **changes: Any) -> None:
        fields: dict[str, Any] = {
            "state": "submitted",
            "at": NINE + timedelta(minutes=annotation_id),
            "annotator_id": 1,
            "lead_time_s": 9.0,
            "prediction_id": 3,
            "asked": (RED,),
        }
        annotation = Annotation(annotation_id, task_id, corrections=corrections, **fields | changes)
        store.annotations.save(store.events.record("ANNOTATION_CREATED", {}), project, [annotation])
        store.images.record(project, task_id, noise(task_id))

    return save


@pytest.fixture
def build(store: Store, tmp_path: Path) -> Callable[..., DataSet]:
    def build(folder: str = "set", **options: Any) -> DataSet:
        keeper = ImageKeeper(store, None, Settings(data_dir=tmp_path / "data"))
        return build_data_set(store, keeper, tmp_path / folder, DataSetOptions(**{"holdout_share": 0.0} | options))

    return build


def answers_of(data_set: DataSet) -> dict[tuple[str, str], tuple[float, int]]:
    """(source, prompt) -> (weight, pixels of the mask)."""
    return {
        (item.source, item.prompt): (item.weight, int(item.decode_mask().sum())) for item in data_set.manifest.items
    }


def test_weights_follow_what_the_annotator_did(save: Save, build: Save, square: np.ndarray) -> None:
    save(1, 1, region("edited", square))
    save(2, 2, region("accepted", square))
    save(3, 3, region("accepted", square), lead_time_s=None)  # made of predictions in bulk
    save(4, 4)  # nothing was predicted, nothing added: not there
    save(5, 5, region("deleted", square))
    save(6, 6, prediction_id=None)  # an empty page, submitted
    save(7, 7, region("added", square), prediction_id=None)
    pixels = int(square.sum())
    assert answers_of(build()) == {
        ("correction:1/1", "red ball"): (1.0, pixels),
        ("correction:1/2", "red ball"): (0.5, pixels),
        ("correction:1/3", "red ball"): (0.25, pixels),
        ("negative:1/4", "red ball"): (0.5, 0),
        ("negative:1/5", "red ball"): (1.0, 0),
        ("negative:1/6", "red ball"): (0.25, 0),
        ("correction:1/7", "red ball"): (1.0, pixels),
    }


def test_nobody_is_measured_by_what_nobody_looked_at(save: Save, build: Save, square: np.ndarray) -> None:
    """Else the live model is graded against its own answers. A star in Label Studio says that somebody looked."""
    save(1, 1, region("accepted", square), lead_time_s=None)
    save(2, 2, prediction_id=None)
    save(3, 3, region("accepted", square), lead_time_s=None, ground_truth=True)
    save(4, 4, region("accepted", square))
    save(5, 5, region("edited", square), lead_time_s=None)  # by a program, or another tool: it did change something
    held_out = build(holdout_share=1.0)
    assert set(answers_of(held_out)) == {(f"correction:1/{number}", "red ball") for number in (3, 4, 5)}
    assert held_out.left_out == {"nobody looked at it: no truth to measure by": 2}


def test_what_nobody_looked_at_has_no_say_where_somebody_did(save: Save, build: Save, square: np.ndarray) -> None:
    save(1, 1, region("edited", square), annotator_id=1)
    save(2, 1, region("accepted", ~square), annotator_id=2, lead_time_s=None)
    assert set(answers_of(build())) == {("correction:1/1", "red ball")}


def test_annotators_whose_names_are_unknown_are_not_one(save: Save, build: Save, square: np.ndarray) -> None:
    save(1, 1, region("edited", square), annotator_id=None)
    save(2, 1, region("edited", ~square), annotator_id=None)
    data_set = build()
    assert (data_set.manifest.items, data_set.left_out) == ((), {"annotators disagree": 1})


def test_filters_choose_annotations_and_prompts(save: Save, build: Save, square: np.ndarray) -> None:
    save(1, 1, region("edited", square), model_version="v1", asked=(RED, CELL))
    save(2, 2, region("edited", square), model_version="v2", annotator_id=2)
    save(3, 3, region("edited", square), model_version="v1", asked=(AskedPrompt(None, "all"),))

    def sources(**wanted: Any) -> set[tuple[str, str]]:
        return set(answers_of(build(f"set {wanted}", wanted=CorrectionFilter(**wanted))))

    first = {("correction:1/1", "red ball"), ("negative:1/1", "every cell")}
    assert sources(task_id=1) == first
    assert sources(annotator_id=2) == sources(model_version="v2") == {("correction:1/2", "red ball")}
    assert sources(label="cell") == {("negative:1/1", "every cell")}  # that no cell is there is an answer, too
    assert sources(until=NINE + timedelta(minutes=2)) == first
    assert sources(since=NINE + timedelta(minutes=3), label="red") == set()


def test_what_never_counts(save: Save, build: Save, store: Store, project: Project, square: np.ndarray) -> None:
    save(1, 1, state="skipped")
    save(2, 2, region("accepted", square), unread=1)
    save(3, 3, region("accepted", square))
    store.exclusions.add(project, Exclusion("task", "3", "a test image"))
    save(4, 4, region("accepted", square), region("edited", square, "cell", prompt="every cell"), asked=(RED, CELL))
    store.exclusions.add(project, Exclusion("region", "4/edited-cell-every cell", "sloppy"))
    save(5, 5, region("added", square.T))
    save(6, 6, region("added", square, "green"))
    data_set = build()
    assert {item.source for item in data_set.manifest.items} == {"correction:1/4", "negative:1/6"}
    assert data_set.left_out == {
        "skipped": 1,
        "it has regions that are no readable masks": 1,
        "excluded: a test image": 1,
        "one of its regions is excluded": 1,
        "the masks have another size than the image": 1,
        "no prompt was asked for it": 1,
    }


def test_several_prompts_of_a_label(save: Save, build: Save, square: np.ndarray) -> None:
    other = np.roll(square, 5, axis=1)
    found = [
        region("accepted", square, "cell", prompt="every cell"),
        region("accepted", other, "cell", prompt="a blob", region_id="2"),
    ]
    save(1, 1, *found, asked=(CELL, CELL_TOO))
    save(2, 2, found[0], region("added", other, "cell"), asked=(CELL, CELL_TOO))  # of which prompt?
    save(3, 3, region("accepted", square, prompt="the left one", interactive=True), asked=(RED,))
    data_set = build()
    assert set(answers_of(data_set)) == {
        ("correction:1/1", "every cell"),
        ("correction:1/1", "a blob"),
        ("correction:1/3", "red ball"),
        ("correction:1/3", "the left one"),
    }
    assert data_set.left_out == {"it has several prompts, and regions of none of them": 1}


@pytest.mark.parametrize(
    ("shifts", "truths", "expected"),
    [
        ((0, 0, 4), (), None),  # one of three sees something else
        ((0, 0, 0), (), 3),
        ((0, 4, 0), (2,), 2),  # ground truth is right
        ((0, 4, 0), (1, 2), None),
    ],
)
def test_annotators_who_disagree(
    save: Save, build: Save, square: np.ndarray, shifts: tuple[int, ...], truths: tuple[int, ...], expected: int | None
) -> None:
    for number, shift in enumerate(shifts, 1):
        mask = region("edited", np.roll(square, shift, axis=1))
        save(number, 1, mask, annotator_id=number, ground_truth=number in truths)
    data_set = build()
    assert len(data_set.manifest.items) == (expected is not None)
    assert data_set.left_out == ({} if expected else {"annotators disagree": 1})


def test_one_annotators_newest_answer_counts(save: Save, build: Save, square: np.ndarray) -> None:
    save(1, 1, region("edited", np.roll(square, 4, axis=1)))
    save(2, 1, region("edited", square))
    assert set(answers_of(build())) == {("correction:1/2", "red ball")}


def test_the_same_image_in_two_tasks_is_one(save: Save, build: Save, store: Store, project: Project, square) -> None:
    save(1, 1, region("edited", square))
    save(2, 2, region("edited", square), annotator_id=2)
    store.images.record(project, 2, noise(1))
    assert len(build().manifest.items) == 1


def test_it_is_immutable_and_knows_where_it_comes_from(
    save: Save, build: Save, store: Store, project: Project, square: np.ndarray, tmp_path: Path
) -> None:
    for number in range(1, 21):
        save(number, number, region("edited", square))
    first, again = build("a", holdout_share=0.3), build("b", holdout_share=0.3)
    assert first.digest == again.digest
    sides = {item.image: item.split for item in first.manifest.items}
    assert set(sides.values()) == {"train", "holdout"}
    store.exclusions.add(project, Exclusion("annotation", "3", "wrong"))
    second = build("c", parent_digest=first.digest, holdout_share=0.9)
    assert {item.image: item.split for item in second.manifest.items}.items() <= sides.items()
    assert len(second.manifest.items) == 19
    assert [(each.digest, each.parent_digest) for each in store.datasets.all()] == [
        (first.digest, None),
        (second.digest, first.digest),
    ]
    lineage = store.datasets.all()[1].lineage
    assert lineage["left_out"] == {"excluded: wrong": 1}
    assert "1/3" not in lineage["annotations"]
    kept = store.images.read(lineage["manifest_blob"])
    assert kept == (tmp_path / "c" / "manifest.jsonl").read_bytes()
    assert all(second.manifest.image_path(item).is_file() for item in second.manifest.items)


def test_an_outage_does_not_make_a_set_smaller(
    save: Save, build: Save, store: Store, square: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ImageFetchError("label-studio answered 502.", is_transient=True)

    save(1, 1, region("edited", square))
    save(2, 2, region("edited", square))
    with monkeypatch.context() as patch:
        patch.setattr(images, "fetch_image", fail)
        with pytest.raises(ImageFetchError, match=r"Task 1: .* corrections exclude task 1 --project 1") as raised:
            build()
    assert raised.value.is_transient and not store.datasets.all()
    assert len(build().manifest.items) == 2


def test_its_maker_says_that_it_lives_and_can_be_stopped(
    save: Save, store: Store, square: np.ndarray, tmp_path: Path
) -> None:
    for number in range(1, 4):
        save(number, number, region("edited", square))
    keeper, ticks = ImageKeeper(store, None, Settings(data_dir=tmp_path / "data")), [None] * 4
    with pytest.raises(IndexError):
        build_data_set(store, keeper, tmp_path / "set", DataSetOptions(), on_tick=ticks.pop)
    assert not store.datasets.all()


def test_look_alikes_count_as_one(save: Save, build: Save, store: Store, project: Project, square: np.ndarray) -> None:
    """As the frames of a fixed camera do: the gate counts groups, and a person must see why it wants more."""
    for number in range(1, 7):
        save(number, number, region("edited", square))
        store.images.record(project, number, noise(1 if number < 6 else 2, brighter=number))
    data_set = build()
    assert (data_set.lineage["images"]["train"], data_set.lineage["groups"]["train"]) == (6, 2)
    assert data_set.sides == ["train: 6 images, of which some look alike: they count as 2", "holdout: 0 images"]


def test_a_project_of_another_label_studio_with_the_same_number(
    save: Save, build: Save, store: Store, project: Project, square: np.ndarray
) -> None:
    save(1, 1, region("edited", square))
    other = store.projects.upsert("http://other", project.project_id, project.label_config)
    annotation = Annotation(
        2, 2, "submitted", (region("edited", square),), asked=(RED,), lead_time_s=3.0, prediction_id=1
    )
    store.annotations.save(store.events.record("ANNOTATION_CREATED", {}), other, [annotation])
    store.images.record(other, 2, noise(2))
    assert len(build("all", project_id=1).manifest.items) == 2
    own = build("own", project_id=1, label_studio_url=project.label_studio_url)
    assert set(answers_of(own)) == {("correction:1/1", "red ball")}
    assert own.lineage["options"]["label_studio_url"] == project.label_studio_url


def test_another_label_studio_is_not_asked_for_an_image(
    store: Store, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have another picture under the same path."""
    asked: list[object] = []

    def fetch(reference: str, client: object, *_: Any, **__: Any) -> Path:
        asked.append(client)
        raise ImageFetchError("no")

    monkeypatch.setattr(images, "fetch_image", fetch)
    client = LabelStudioClient(project.label_studio_url, "token")
    keeper = ImageKeeper(store, client, Settings(data_dir=tmp_path))
    for each in (project, store.projects.upsert("http://other", 1, project.label_config)):
        with pytest.raises(ImageFetchError):
            keeper.keep(each, TaskImage(1, "/data/upload/a.png", None, None, None))
    assert asked == [client, None]


def test_an_image_that_changed_or_cannot_be_had(
    save: Save, build: Save, store: Store, project: Project, square: np.ndarray
) -> None:
    save(1, 1, region("edited", square))
    store.images.record(project, 1, noise(1), sha256="0" * 64)
    save(2, 2, region("edited", square))
    store.images.record(project, 2, "/data/upload/gone.png")
    data_set = build()
    assert not data_set.manifest.items
    assert sum(data_set.left_out.values()) == 2
    assert any("another one now" in reason for reason in data_set.left_out)


@pytest.mark.parametrize("was_fetched", [True, False])
def test_annotations_of_another_image_than_the_tasks(
    save: Save, build: Save, store: Store, project: Project, square: np.ndarray, tmp_path: Path, was_fetched: bool
) -> None:
    """The task's data was changed to a picture of the same size: the old masks would be taught on the new one."""
    store.images.record(project, 1, noise(8))
    if was_fetched:
        keeper = ImageKeeper(store, None, Settings(data_dir=tmp_path / "data"))
        keeper.keep(project, store.images.of_tasks(project, [1])[1])
    save(1, 1, region("edited", square), annotator_id=1)  # of noise(8), and the task shows noise(1) from now on
    save(2, 1, region("edited", np.roll(square, 4, axis=1)), annotator_id=2)
    data_set = build()
    assert set(answers_of(data_set)) == {("correction:1/2", "red ball")}
    assert data_set.left_out == {images.ANOTHER_IMAGE: 1}

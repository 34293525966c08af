"""The set that a run learns from: kept in the store, with what it was made of, and made without losing the lease."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from argenseg_model.manifest import Manifest
from labeling.regions.cropped_mask import CroppedMask
from labeling.store import Annotation, AskedPrompt, Correction, FinetuneRun, Project, Store
from tests.worker.conftest import LABEL_STUDIO_URL, label_config
from worker.context import JobContext
from worker.finetune.manifests import build_manifest
from worker.finetune.progress import run_folder
from worker.finetune.run import LEASE_S, drive

Correct = Callable[[int], None]


def picture(seed: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (12, 16), np.uint8)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
def project(store: Store) -> Project:
    return store.projects.upsert(LABEL_STUDIO_URL, 5, label_config("bright"))


@pytest.fixture
def correct(store: Store, project: Project) -> Correct:
    """`correct(3)`: the annotation of task 3 changes a mask."""

    def correct(number: int, image: str | None = None) -> None:
        mask = np.zeros((12, 16), bool)
        mask[2:6, 3:9] = True
        shape = CroppedMask.of(mask)
        edited = Correction(
            f"r{number}",
            "brushlabels",
            "l0",
            "edited",
            0.9,
            0.9,
            3,
            label_before="l0",
            prompt="bright",
            mask_before=shape,
            mask_after=shape,
        )
        asked = (AskedPrompt("l0", "bright"),)
        annotation = Annotation(number, number, "submitted", (edited,), asked=asked, prediction_id=1, lead_time_s=3.0)
        store.annotations.save(store.events.record("ANNOTATION_CREATED", {}), project, [annotation])
        store.images.record(project, number, picture(number) if image is None else image)

    return correct


def claim(store: Store, project: Project, slot: str) -> FinetuneRun:
    store.finetunes.request(slot, project)
    run = store.finetunes.claim("me", LEASE_S)
    assert run is not None
    return run


def test_sets_know_the_one_before_and_what_was_really_learnt_from_is_kept(
    context: JobContext, store: Store, project: Project, correct: Correct
) -> None:
    snapshots = []
    for number in range(1, 31):
        correct(number)
    for slot in ("one", "two"):
        run = claim(store, project, slot)
        folder = run_folder(context.settings, run)
        path = build_manifest(context, run, folder, on_tick=lambda: None)
        assert build_manifest(context, run, folder, on_tick=lambda: None) == path  # taken up again
        snapshots.append(Manifest.read(path).split("holdout").digest())
        store.finetunes.end(run.id, "refused")
        correct(99)
    first, first_used, second, second_used = store.datasets.all()
    assert (first.parent_digest, second.parent_digest) == (None, first.digest)
    assert (first_used.parent_digest, second_used.parent_digest) == (first.digest, second.digest)
    assert [used.lineage["holdout"] for used in (first_used, second_used)] == snapshots
    assert "5/99" in second_used.lineage["annotations"] and "5/99" not in first_used.lineage["annotations"]
    assert store.images.read(second_used.lineage["manifest_blob"]) == path.read_bytes()


@pytest.mark.parametrize("whole", [False, True], ids=["of a project", "of all"])
def test_another_label_studios_project_of_the_same_number_teaches_nothing(
    context: JobContext, store: Store, project: Project, correct: Correct, tmp_path: Path, whole: bool
) -> None:
    for number in range(1, 9):
        correct(number)
    annotations = [
        Annotation(each.annotation_id + 100, 1, "submitted", (), asked=(AskedPrompt("l0", "bright"),), lead_time_s=3.0)
        for each in store.annotations.find()
    ]
    other = store.projects.upsert("http://another", project.project_id, project.label_config)
    store.annotations.save(store.events.record("ANNOTATION_CREATED", {}), other, annotations)
    store.images.record(other, 1, picture(200))
    store.finetunes.request("one", None if whole else project)
    run = store.finetunes.claim("me", LEASE_S)
    assert run is not None
    path = build_manifest(context, run, tmp_path, on_tick=lambda: None)
    learnt = {item.source.partition(":")[2] for item in Manifest.read(path).items if ":" in item.source}
    assert {each for each in learnt if "/" in each} == {f"5/{number}" for number in range(1, 9)}


def test_an_image_that_cannot_be_had_just_now_puts_the_run_off(
    context: JobContext, store: Store, project: Project, correct: Correct
) -> None:
    correct(1)
    correct(2, "http://127.0.0.1:1/gone.png")
    settings = context.settings.model_copy(update={"allow_private_image_hosts": True})
    run = claim(store, project, "one")
    drive(JobContext(settings, store, None, context.connection), run, "me", lambda: False)
    put_off = store.finetunes.get(run.id)
    assert (put_off.status, put_off.attempts) == ("requested", 1)
    assert "exclude task 2 --project 5" in (put_off.error or "")
    assert not store.datasets.all()


def test_the_lease_is_renewed_while_the_set_is_made(
    context: JobContext, store: Store, project: Project, correct: Correct, tmp_path: Path
) -> None:
    for number in range(1, 4):
        correct(number)
    ticks: list[None] = []
    build_manifest(context, claim(store, project, "one"), tmp_path, on_tick=lambda: ticks.append(None))
    assert len(ticks) >= 6

"""What is erased is nowhere in the data folder any more, and does not come back."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labeling.corrections.events import record_corrections
from labeling.regions.cropped_mask import CroppedMask
from labeling.store import Annotation, Correction, Erased, Project, Store

NINE = datetime(2026, 11, 22, 9, tzinfo=UTC)
SECRET = "Jane Doe of Ward 5"


def payload(annotation_id: int, task_id: int, **changes: Any) -> dict[str, Any]:
    """A webhook; the annotation and its task hold the secret."""
    annotation = {"id": annotation_id, "task": task_id, "completed_by": {"id": 3}, "result": [], "note": SECRET}
    return {
        "action": "ANNOTATION_CREATED",
        "annotation": annotation | changes,
        "task": {"id": task_id, "data": {"image": f"/{SECRET}.png"}},
        "project": {"id": 1},
    }


@pytest.fixture
def reported(store: Store, project: Project, square: np.ndarray) -> Callable[..., int]:
    """`reported(7, 4)`: an event, and what was made of it: annotation 7 of task 4, with an edited region."""

    def report(annotation_id: int, task_id: int, mask: np.ndarray = square, annotator: int = 3) -> int:
        message = payload(annotation_id, task_id, completed_by=annotator)
        event_id = store.events.record(message["action"], message, label_studio_url=project.label_studio_url)
        masks = {"mask_before": CroppedMask.of(mask), "mask_after": CroppedMask.of(~mask)}
        region = Correction(f"r{annotation_id}", "brushlabels", "red", "edited", 0.5, 0.5, 9, **masks)
        annotation = Annotation(annotation_id, task_id, "submitted", (region,), at=NINE, annotator_id=annotator)
        store.annotations.save(event_id, project, [annotation])
        store.events.mark_processed(event_id)
        return event_id

    return report


def blobs(tmp_path: Path) -> int:
    return sum(path.is_file() for path in (tmp_path / "blobs").rglob("*"))


def files_with(text: str, folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_task_goes_with_all_that_was_predicted_seen_and_said(
    store: Store, project: Project, reported, predict, plan, square: np.ndarray, tmp_path: Path, sqlite_file: Path
) -> None:
    for task_id in (4, 5):
        request = store.requests.add(project, task_id, {"image": f"{SECRET} {task_id}"}, plan, "v1", delivery="push")
        store.predictions.finish(request.id, predict(np.roll(square, task_id)))
        sha256 = store.images.keep(f"picture of {SECRET} {task_id}".encode())
        store.images.record(project, task_id, f"/{SECRET}.png", sha256=sha256, width=16, height=12)
    created = {"action": "TASKS_CREATED", "project": {"id": 1}}
    created["tasks"] = [{"id": number, "data": {"image": f"{SECRET} {number}"}} for number in (4, 5)]
    created_id = store.events.record("TASKS_CREATED", created, label_studio_url=project.label_studio_url)
    reported(7, 4)
    reported(8, 5, np.roll(square, 1))
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(f"a mask of {SECRET}")
    store.datasets.save("abc", manifest, None, {"annotations": ["1/7", "1/8"]})
    manifest.unlink()
    reported(7, 4)  # the same again: known already, so that no annotation refers to this event
    assert blobs(tmp_path) == 2 + 2 + 4 + 1

    gone = store.erasure.erase(project, "task", 4, "asked for")
    assert (gone.annotations, gone.predictions, len(gone.images), gone.data_sets) == ({"1/7"}, 1, 1, 1)
    assert [item.annotation_id for item in store.corrections.of_project(with_history=True)] == [8]
    assert store.progress.counts() == {"ready": 1}
    assert store.images.of_tasks(project, [4, 5]).keys() == {5}
    assert store.events.get(created_id).payload["tasks"] == created["tasks"][1:]
    assert blobs(tmp_path) == 1 + 1 + 2
    assert store.datasets.all()[0].lineage == {"annotations": ["1/7", "1/8"], "erased": "asked for"}
    assert store.erasure.erase(project, "task", 4, "again").predictions == 0

    store.erasure.erase(project, "task", 5, "asked for")
    assert (blobs(tmp_path), store.corrections.of_project(with_history=True), store.progress.counts()) == (0, [], {})
    assert files_with(SECRET, tmp_path) == []  # not in freed pages of the database, nor in its log


def test_an_image_that_another_task_shows_stays(store: Store, project: Project, tmp_path: Path) -> None:
    sha256 = store.images.keep(b"picture")
    for task_id in (4, 5):
        store.images.record(project, task_id, f"/{task_id}.png", sha256=sha256, width=1, height=1)
    assert store.erasure.erase(project, "task", 4, "asked for").images == ()
    assert store.images.read(sha256) == b"picture"
    assert store.erasure.erase(project, "task", 5, "asked for").images == (sha256,)
    assert blobs(tmp_path) == 0


def test_a_mask_that_something_else_uses_stays(store: Store, project: Project, reported, square: np.ndarray) -> None:
    reported(7, 4)
    reported(8, 5)
    store.erasure.erase(project, "annotation", 7, "asked for")
    (left,) = store.corrections.of_project()
    assert np.array_equal(store.corrections.read_mask(left.mask_before or ""), square)


def test_all_that_an_annotator_submitted(store: Store, project: Project, reported) -> None:
    reported(7, 4, annotator=3)
    reported(8, 4, annotator=5)
    other = store.projects.upsert("http://other", 1, "<View/>")
    assert store.erasure.erase(other, "annotator", 3, "of another Label Studio").annotations == set()
    assert store.erasure.erase(project, "annotator", 3, "asked for").annotations == {"1/7"}
    assert [item.annotation_id for item in store.corrections.of_project()] == [8]
    late = payload(9, 6)
    event_id = store.events.record(late["action"], late, label_studio_url=project.label_studio_url)
    record_corrections(store, event_id)
    assert store.events.get(event_id).payload == {
        "action": "ANNOTATION_CREATED",
        "annotation": {"id": 9, "erased": True},
        "project": {"id": 1},
    }
    assert [annotation.annotation_id for annotation in store.annotations.find()] == [8]


def test_an_event_between_the_look_and_the_save(store: Store, project: Project, reported) -> None:
    """Erased while another process was making something of the event."""
    store.erasure.erase(project, "task", 4, "asked for")
    reported(7, 4)
    assert store.corrections.of_project(with_history=True) == []


@pytest.mark.parametrize("key", ["annotation", "annotations"])
@pytest.mark.parametrize("found", [None, 5, [5, None], {"id": "7"}, {"id": 9, "task": True}, []])
def test_any_payload_can_be_scrubbed(key: str, found: Any) -> None:
    erased = Erased(frozenset([4]), frozenset([7]), frozenset([3]))
    said = {key: found, "task": [{"id": 5}], "tasks": {"id": 6}, "x": 1}
    assert erased.scrub(said) is said

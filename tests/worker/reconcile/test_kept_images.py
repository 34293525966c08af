"""Images of corrections are kept, once, and not those that nobody may keep."""

import base64
import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest

from labeling.datasets import images
from labeling.errors import StoreError
from tests.worker.conftest import bright_square
from tests.worker.label_studio_double import LabelStudioDouble
from tests.worker.synced import URL, project_of
from worker.events.process import process_event
from worker.reconcile.kept_images import keep_images


def test_images_of_corrections_are_kept(open_context) -> None:
    """Of tasks that nobody predicted, too; not of skipped, deleted and erased ones, nor where there is none."""
    label_studio = LabelStudioDouble(tasks=6)
    context = open_context(label_studio)
    for task in label_studio.task_ids:
        payload = label_studio.create(task, skipped=task == 2)
        payload["task"]["data"]["image"] = bright_square() if task < 6 else "data:image/png;base64,AAAA"
        process_event(context, context.store.events.record(payload["action"], payload, label_studio_url=URL))
    project, stop = project_of(context), threading.Event()
    context.store.exclusions.leave_out_deleted_tasks(project, [3])
    context.store.erasure.erase(project, "task", 4, "asked for")
    assert keep_images(context, stop) == 2
    known = context.store.images.of_tasks(project, range(1, 7))
    assert {task for task, image in known.items() if image.sha256} == {1, 5}
    content = base64.b64decode(bright_square().partition(",")[2])
    assert context.store.images.read(known[1].sha256 or "") == content
    assert (known[1].width, known[1].height) == (40, 30)
    assert keep_images(context, stop) == 0


def test_the_image_of_a_task_that_was_predicted_is_kept(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker knows its digest, but has the file in the cache only. It is not looked for again once it is kept."""
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    payload = label_studio.create(1)
    payload["task"]["data"]["image"] = bright_square()
    process_event(context, context.store.events.record(payload["action"], payload, label_studio_url=URL))
    content = base64.b64decode(bright_square().partition(",")[2])
    digest = hashlib.sha256(content).hexdigest()
    context.store.images.record(project_of(context), 1, bright_square(), sha256=digest, width=40, height=30)
    assert not context.store.images.holds(digest)
    assert keep_images(context, threading.Event()) == 1
    assert context.store.images.read(digest) == content
    assert keep_images(context, threading.Event()) == 0
    monkeypatch.setattr(context.store.blobs, "holds", pytest.fail)
    assert keep_images(context, threading.Event()) == 0


def test_an_image_of_a_task_that_is_erased_while_it_is_fetched(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    payload = label_studio.create(1)
    payload["task"]["data"]["image"] = bright_square()
    process_event(context, context.store.events.record(payload["action"], payload, label_studio_url=URL))
    fetch = images.fetch_image

    def slow(*arguments: Any, **options: Any) -> Path:
        context.store.erasure.erase(project_of(context), "task", 1, "asked for")
        return fetch(*arguments, **options)

    monkeypatch.setattr(images, "fetch_image", slow)
    keep_images(context, threading.Event())
    assert context.store.images.of_tasks(project_of(context), [1]) == {}


@pytest.mark.parametrize("meanwhile", ["erased", "another image"])
def test_what_changed_while_an_image_was_stored_stays(
    open_context, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    payload = label_studio.create(1)
    payload["task"]["data"]["image"] = bright_square()
    process_event(context, context.store.events.record(payload["action"], payload, label_studio_url=URL))
    project, put, stored = project_of(context), context.store.blobs.put, []

    def slow(content: bytes) -> str:
        stored.append(put(content))
        if meanwhile == "erased":
            context.store.erasure.erase(project, "task", 1, "asked for")
        else:
            context.store.images.record(project, 1, "/data/new.png")
        return stored[0]

    with monkeypatch.context() as patch:
        patch.setattr(context.store.blobs, "put", slow)
        keep_images(context, threading.Event())
    known = context.store.images.of_tasks(project, [1])
    assert known == {} if meanwhile == "erased" else (known[1].reference, known[1].sha256) == ("/data/new.png", None)
    with pytest.raises(StoreError):
        context.store.images.read(stored[0])


def test_a_damaged_image_is_not_kept_and_the_mended_one_is(open_context) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    kind, _, code = bright_square().partition(",")
    damaged = base64.b64encode(base64.b64decode(code)[:-30]).decode()
    for image, kept in ((f"{kind},{damaged}", False), (bright_square(), True)):
        payload = label_studio.create(1)
        payload["task"]["data"]["image"] = image
        process_event(context, context.store.events.record(payload["action"], payload, label_studio_url=URL))
        keep_images(context, threading.Event())
        assert (context.store.images.of_tasks(project_of(context), [1])[1].sha256 is not None) == kept

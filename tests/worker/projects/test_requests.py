"""The requests of a project: which tasks get one, and which never can be predicted."""

from pathlib import Path
from typing import Any

import pytest

from labeling.errors import LabelConfigError
from labeling.label_studio.messages import Task
from labeling.settings import Settings
from labeling.store import Store
from worker.projects.requests import ProjectRequests

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">'
    '<Label value="red"/></BrushLabels></View>'
)


@pytest.fixture
def plain(tmp_path: Path) -> Settings:
    (tmp_path / "model").mkdir()
    return Settings(data_dir=tmp_path / "data", model=str(tmp_path / "model"), label_studio_url=None)


@pytest.fixture
def kept(plain: Settings) -> Any:
    with Store.open(plain.database_url, plain.blob_url) as store:
        yield store


def test_a_bad_config_has_no_requests(plain: Settings, kept: Store) -> None:
    with pytest.raises(LabelConfigError, match="no image"):
        ProjectRequests(plain, kept, 1, "<View/>")


def test_a_task_without_an_image_says_so(plain: Settings, kept: Store) -> None:
    row = ProjectRequests(plain, kept, 1, CONFIG).request(Task(id=1, data={"image": " "}), delivery="sync")
    assert row.status == "failed" and row == kept.predictions.get(row.id)
    assert 'no text under "image"' in (row.error or "")


def test_the_blind_slice_gets_only_what_its_annotator_asks_for(plain: Settings, kept: Store) -> None:
    requests = ProjectRequests(plain.model_copy(update={"blind_share": 0.25}), kept, 1, CONFIG)
    tasks = [Task(id=number, data={"image": "a.png"}) for number in range(1, 101)]
    seeing = {task.id for task in tasks if not requests.is_blind(task)}
    assert 60 < len(seeing) < 90
    assert {row.task_id for row in requests.request_all(tasks)} == seeing
    assert not any(ProjectRequests(plain, kept, 1, CONFIG).is_blind(task) for task in tasks)


def test_a_task_that_was_erased_is_left_out(plain: Settings, kept: Store) -> None:
    before = ProjectRequests(plain, kept, 1, CONFIG)
    assert not before.leaves_some_out
    kept.erasure.erase(before.project, "task", 7, "asked for")
    requests = ProjectRequests(plain, kept, 1, CONFIG)
    tasks = [Task(id=number, data={"image": "a.png"}) for number in (7, 8)]
    assert [requests.leaves_out(task) for task in tasks] == [True, False] and requests.leaves_some_out
    assert [row.task_id for row in requests.request_all(tasks)] == [8]

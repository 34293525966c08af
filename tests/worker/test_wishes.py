"""What follows from an event: new tasks are wanted, label configs remembered, and nonsense does no harm."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from labeling.errors import LabelConfigError
from labeling.label_studio.messages import Task
from labeling.settings import Settings
from labeling.store import Store
from labeling.store.operations_records import RunOptions
from worker.queue.queues import connect
from worker.wishes import Wishes, follow_event

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">'
    '<Label value="red"/></BrushLabels></View>'
)


@pytest.fixture
def nobody(tmp_path: Path) -> "Redis":
    """No Redis at all: wishes are rows, whatever becomes of their jobs."""
    return connect(Settings(redis_url=f"unix://{tmp_path}/nobody.sock"))


@pytest.fixture
def plain(tmp_path: Path) -> Settings:
    (tmp_path / "model").mkdir()
    return Settings(data_dir=tmp_path / "data", model=str(tmp_path / "model"), label_studio_url=None)


@pytest.fixture
def kept(plain: Settings) -> Any:
    with Store.open(plain.database_url, plain.blob_url) as store:
        yield store


@pytest.fixture
def follow(plain: Settings, kept: Store, nobody: "Redis") -> Callable[[str, dict[str, Any]], int]:
    return lambda action, payload: follow_event(plain, kept, nobody, kept.record_event(action, payload))


def test_new_tasks(follow: Callable[..., int], plain: Settings, kept: Store) -> None:
    tasks = [{"id": number, "data": {"image": f"{number}.png"} if number % 2 else {}} for number in range(1, 451)]
    assert follow("TASKS_CREATED", {"project": {"id": 3, "label_config": CONFIG}, "tasks": tasks}) == 450
    assert kept.counts(3) == {"wanted": 225, "failed": 225}
    assert kept.find_project(3, plain.installation_url) is not None


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("TASKS_CREATED", {}),
        ("TASKS_CREATED", {"tasks": [1], "project": {"id": 1, "label_config": CONFIG}}),
        ("TASKS_CREATED", {"tasks": [], "project": {"id": 1, "label_config": "<View/>"}}),
        ("PROJECT_UPDATED", {"project": {"id": 2**63, "label_config": CONFIG}}),
        ("ANNOTATION_CREATED", {"project": {"id": 1, "label_config": CONFIG}}),
    ],
)
def test_nothing_follows(action: str, payload: dict[str, Any], follow: Callable[..., int], kept: Store) -> None:
    assert follow(action, payload) == 0
    assert kept.counts() == {} and kept.find_project(1) is None


def test_a_bad_config_has_no_wishes(plain: Settings, kept: Store) -> None:
    with pytest.raises(LabelConfigError, match="no image"):
        Wishes(plain, kept, 1, "<View/>")


def test_a_task_without_an_image_says_so(plain: Settings, kept: Store) -> None:
    wish = Wishes(plain, kept, 1, CONFIG).want(Task(id=1, data={"image": " "}), delivery="sync")
    assert wish.status == "failed" and wish == kept.get_prediction(wish.id)
    assert 'no text under "image"' in (wish.error or "")


def test_the_blind_slice_gets_only_what_its_annotator_asks_for(plain: Settings, kept: Store) -> None:
    wishes = Wishes(plain.model_copy(update={"blind_share": 0.25}), kept, 1, CONFIG)
    tasks = [Task(id=number, data={"image": "a.png"}) for number in range(1, 101)]
    seeing = {task.id for task in tasks if not wishes.is_blind(task)}
    assert 60 < len(seeing) < 90
    assert {wish.task_id for wish in wishes.want_all(tasks)} == seeing
    assert not any(Wishes(plain, kept, 1, CONFIG).is_blind(task) for task in tasks)


def test_a_task_that_was_erased_is_left_out(plain: Settings, kept: Store) -> None:
    before = Wishes(plain, kept, 1, CONFIG)
    assert not before.leaves_some_out
    kept.erase(before.project, "task", 7, "asked for")
    wishes = Wishes(plain, kept, 1, CONFIG)
    tasks = [Task(id=number, data={"image": "a.png"}) for number in (7, 8)]
    assert [wishes.leaves_out(task) for task in tasks] == [True, False] and wishes.leaves_some_out
    assert [wish.task_id for wish in wishes.want_all(tasks)] == [8]


def make_model(store: Store, folder: Path, name: str) -> str:
    """A fine-tuned version that serves by default."""
    folder.mkdir()
    (folder / "config.json").write_text(f'{{"model_name": "{name}"}}')
    store.add_model(name, str(folder), "base")
    store.set_live_model(name)
    return Wishes(Settings(), store, 3, CONFIG).model_version


def created(number: int, shown: str, config: str = CONFIG) -> dict[str, Any]:
    project = {"id": 3, "label_config": config, "model_version": shown}
    return {"project": project, "tasks": [{"id": number, "data": {"image": "a.png"}}]}


def test_new_tasks_of_a_pinned_project_get_the_version_that_is_seen(
    follow: Callable[..., int], plain: Settings, kept: Store, tmp_path: Path
) -> None:
    old = make_model(kept, tmp_path / "tuned", "tuned-1")
    base = Wishes(plain, kept, 3, CONFIG, plain.model).model_version
    new = make_model(kept, tmp_path / "tuned again", "tuned-2")

    def version_of_task(number: int, shown: str, config: str = CONFIG) -> set[str]:
        follow("TASKS_CREATED", created(number, shown, config))
        found = [wish for row in kept.stale_predictions(-1) if (wish := kept.get_prediction(row)).task_id == number]
        return {wish.model_version for wish in found}

    assert [version_of_task(*asked) for asked in [(1, old), (2, base), (3, "ARGenSeg")]] == [{old}, {base}, {new}]
    project = kept.find_project(3)
    assert project is not None and project.shown_version == "ARGenSeg"
    follow("PROJECT_UPDATED", {"project": created(0, old)["project"]})
    assert Wishes(plain, kept, 3, CONFIG, as_pinned=True).model_version == old  # as when a task is opened
    assert Wishes(plain, kept, 3, CONFIG).model_version == new

    kept.begin_run(project, new, RunOptions())
    assert version_of_task(4, old) == {old, new}, "the run may end with a pin on the new one"
    kept.end_runs(project, "finished")

    assert version_of_task(5, old, CONFIG.replace("red", "blue")) not in ({old}, {new}), "the old prompts are gone"
    kept.delete_model("tuned-1")
    assert version_of_task(6, old) == {new}, "the old weights are gone"

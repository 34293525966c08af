"""Trials of prompts by a GPU worker in a process of its own, with a real Redis, store and model process."""

import subprocess
from collections.abc import Callable

import pytest
from redis import Redis

from labeling.prompts.label_config import parse_label_config
from labeling.store import PromptTrial, Store
from labeling.trials.wordings import find_label, make_wordings
from tests.worker.conftest import LABEL_STUDIO_URL, Want, wait_until
from tests.worker.gpu_worker.annotated import GONE, TASKS
from worker.context import JobContext
from worker.queue.queues import GPU, TRY_PROMPTS, enqueue_prediction, enqueue_trial, live_rows, wait_for_job
from worker.sweeper import sweep

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="tag" toName="image">'
    '<Label value="l0" prompt="bright"/></RectangleLabels></View>'
)
StartWorker = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def start_worker(start_process: Callable[[str], "subprocess.Popen[bytes]"]) -> StartWorker:
    code = """
import logging, sys
from labeling.settings import Settings
from tests.worker.gpu_worker.annotated import AnnotatedProject
from worker import context
context.LabelStudioClient.from_settings = classmethod(lambda cls, settings: AnnotatedProject())
from worker.gpu_worker.worker import GpuWorker, run
logging.basicConfig(level="INFO")
GpuWorker.lease_s = 2
sys.exit(run(Settings(model_loader="tests.worker.segmenters:threshold", segment_timeout_s=20)))
"""
    return lambda: start_process(code)


@pytest.fixture
def ask(store: Store, redis_connection: Redis) -> Callable[..., PromptTrial]:
    """Ask for a trial of these wordings of l0."""

    def ask(*texts: str, limit: int = 20) -> PromptTrial:
        project = store.projects.upsert(LABEL_STUDIO_URL, 6, CONFIG)
        wordings = make_wordings(*find_label(parse_label_config(CONFIG), "l0"), texts)
        trial = store.trials.request(
            project, "l0", [each.to_json() for each in wordings], model="starter", limit=limit, who="ada"
        )
        enqueue_trial(redis_connection, trial.id)
        return trial

    return ask


def test_a_trial_measures_every_wording_on_every_annotated_task(
    start_worker: StartWorker, ask: Callable[..., PromptTrial], store: Store
) -> None:
    asked = ask("light; bright")
    start_worker()
    wait_until(lambda: not store.trials.get(asked.id).is_open, 120)
    ended = store.trials.get(asked.id)
    assert (ended.status, ended.tasks, ended.done, ended.who) == ("done", TASKS + 1, TASKS + 1, "ada")
    tasks = {each.task_id: each for each in store.trials.tasks(asked.id)}
    assert 9 not in tasks and "annotation is gone" in (tasks[GONE].problem or "") and tasks[10].problem
    assert [each["iou"] for each in tasks[2].measures] == [1.0, 1.0] and tasks[2].seconds is not None
    assert [(each["iou"], each["is_found"]) for each in tasks[1].measures] == [(None, True)] * 2
    found = store.trials.masks(asked.id, 2)
    assert found is not None and found[1].truth == found[1].found[0] == found[1].found[1]
    assert store.trials.masks(asked.id, 1) is not None and store.trials.masks(asked.id, GONE) is None


def test_who_waits_for_a_mask_goes_before_a_trial_which_can_be_cancelled(
    start_worker: StartWorker, ask: Callable[..., PromptTrial], store: Store, redis_connection: Redis, want: Want
) -> None:
    asked = ask("slow")  # a second for each task
    start_worker()
    wait_until(lambda: store.trials.get(asked.id).done, 120)
    batch = enqueue_prediction(redis_connection, want("bright", task_id=21).id)
    urgent = enqueue_prediction(
        redis_connection, want("bright", task_id=22, delivery="sync", interactive=True).id, front=True
    )
    assert wait_for_job(urgent, 30)
    assert store.trials.get(asked.id).done <= 4, "it waited for one task of the trial at most"
    assert wait_for_job(batch, 30) and store.trials.get(asked.id).is_open, "others take turns with it"
    assert store.trials.cancel(asked.id) and not store.trials.cancel(asked.id)
    wait_until(lambda: not live_rows(redis_connection, GPU, TRY_PROMPTS), 30)
    ended = store.trials.get(asked.id)
    assert ended.status == "cancelled" and 0 < ended.done < ended.tasks


def test_a_trial_whose_worker_was_killed_goes_on_where_it_was(
    start_worker: StartWorker, ask: Callable[..., PromptTrial], store: Store, context: JobContext
) -> None:
    asked = ask("slow", limit=4)
    first = start_worker()
    wait_until(lambda: store.trials.get(asked.id).done, 120)
    first.kill()
    first.wait()
    before = {each.task_id: each.seconds for each in store.trials.tasks(asked.id) if each.is_tried}
    wait_until(lambda: sweep(context, stale_s=0), 30)
    start_worker()
    wait_until(lambda: not store.trials.get(asked.id).is_open, 120)
    assert store.trials.get(asked.id).status == "done"
    after = {each.task_id: each.seconds for each in store.trials.tasks(asked.id)}
    assert len(after) == 4 and before.items() <= after.items(), "what was tried is not tried again"

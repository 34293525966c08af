from dataclasses import replace

from labeling.store.store import Store
from tests.worker.conftest import label_config
from worker import jobs
from worker.jobs import JobContext
from worker.queues import GPU, PREDICT, live_rows


def test_an_event_of_new_tasks_makes_them_wanted(context: JobContext, store: Store) -> None:
    project = {"id": 5, "label_config": label_config("cell")}
    tasks = [{"id": number, "data": {"image": "/data/upload/1.png"}} for number in (1, 2)]
    event_id = store.record_event("TASKS_CREATED", {"action": "TASKS_CREATED", "project": project, "tasks": tasks})
    settings = context.settings.model_copy(update={"model": str(context.settings.data_dir)})
    jobs.process_event(replace(context, settings=settings), event_id)
    assert store.counts() == {"wanted": 2}
    assert len(live_rows(context.connection, GPU, PREDICT)) == 2
    assert store.get_event(event_id).processed_at is not None

"""Start Training in Label Studio, and what a promoted version changes for new requests."""

from collections.abc import Callable
from pathlib import Path

from labeling.store import PredictionRequest, Store
from worker.context import JobContext
from worker.events.process import process_event
from worker.finetune.progress import tell_progress

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image"><Label value="red"/>'
    "</BrushLabels></View>"
)


def test_start_training_wants_a_run_once(context: JobContext, store: Store) -> None:
    project = {"id": 5, "label_config": CONFIG}
    event = store.events.record("START_TRAINING", {"action": "START_TRAINING", "project": project})
    for _ in range(2):
        process_event(context, event)
    (run,) = store.finetunes.newest()
    assert (run.project.project_id, run.status, run.slot) == (5, "requested", f"finetune-event-{event}")


def test_a_wish_is_computed_with_the_model_of_its_version(
    context: JobContext, store: Store, want: Callable[..., PredictionRequest], tmp_path: Path
) -> None:
    wanted = want("bright")
    assert context.model_of(wanted) == context.settings.model
    store.models.add("threshold", str(tmp_path), "starter")
    assert context.model_of(wanted) == str(tmp_path)
    store.models.delete("threshold")
    assert context.model_of(wanted) == str(tmp_path)  # which cannot be loaded: no other model answers in its name


def test_start_training_during_a_run_is_told_with_the_run(context: JobContext, store: Store) -> None:
    project = {"id": 5, "label_config": CONFIG}
    for _ in range(2):
        event = store.events.record("START_TRAINING", {"action": "START_TRAINING", "project": project})
        process_event(context, event)
    (run,) = store.finetunes.newest()
    assert "was asked for again meanwhile" in tell_progress(context.settings, run)

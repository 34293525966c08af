"""What is removed of runs that have ended, and what stays."""

from pathlib import Path

from labeling.settings import Settings
from labeling.store import Store
from worker.finetune.leftovers import remove_leftovers


def files_of(run: Path) -> list[str]:
    return sorted(str(file.relative_to(run)) for file in run.rglob("*") if file.is_file())


def test_copies_of_images_and_pictures_of_ended_runs_go(settings: Settings, store: Store) -> None:
    stopped = store.finetunes.request("one", None)
    store.finetunes.stop()
    waiting = store.finetunes.request("two", None)
    assert stopped is not None and waiting is not None
    copies = [
        "candidate/pictures/0-answer.jpg",
        "live/pictures/0-truth.jpg",
        "set/base/b.png",
        "set/images/3f/3fa9.png",
    ]
    kept = ["live/items.jsonl", "model/config.json", "report.html", "set/manifest.jsonl", "set/with-base-data.jsonl"]
    runs = [
        settings.data_dir / "finetune" / name for name in (f"run-{stopped.id}", f"run-{waiting.id}", "run-99", "run-x")
    ]
    for run in runs:
        for file in (*copies, *kept):
            (run / file).parent.mkdir(parents=True, exist_ok=True)
            (run / file).touch()
    learning = store.finetunes.request("three", store.projects.upsert("http://localhost:8080", 1, "<View/>"),
                                   manifest=str(runs[0] / "set" / "with-base-data.jsonl"))  # fmt: skip
    assert learning is not None
    remove_leftovers(settings, store)
    assert files_of(runs[0]) == sorted([*copies, *kept])
    store.finetunes.end(learning.id, "failed")
    remove_leftovers(settings, store)
    assert files_of(runs[0]) == kept
    for run in runs[1:]:
        assert files_of(run) == sorted([*copies, *kept])

"""How long the pages take with a team's store: 5,000 tasks, 20 regions each, 50,000 corrections, in three projects.

    PYTHONPATH=. python benchmarks/pages.py            about two minutes; --tasks and --corrections for less
    PYTHONPATH=. python benchmarks/pages.py --database postgresql://...     which is EMPTIED first

Each address is asked several times of the real application on a real store, without a network in between; Redis is
away. It fails if the median of one is over a second of wall time. Pictures are not measured: they come one by one.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from idleness import describe_idleness
from sqlalchemy import create_engine, insert, text

from backend.web.app import create_app
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.settings import Settings
from labeling.store import Project, Store
from labeling.store.annotations.tables import AnnotationRow, CorrectionRow
from labeling.store.exclusions import ExclusionRow
from labeling.store.predictions.tables import PredictedRegionRow, PredictionRow
from labeling.versions import model_version
from worker.queue.connection import connect

LIMIT_S = 1.0
REGIONS, TURNS, AT_A_TIME = 20, 5, 500
LABELS = ("Nucleus", "Mitosis", "Debris")
CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="mask" toName="image">'
    + "".join(f'<Label value="{label}"/>' for label in LABELS)
    + "</BrushLabels></View>"
)
ADDRESSES = (
    "/status",
    "/masks",
    "/masks?before=MIDDLE",
    "/masks?label=Mitosis&score=0.8-1",
    "/masks?label=nothing",
    "/masks?status=failed&project=3",
    "/masks?status=pruned",
    "/corrections",
    "/corrections?before=MIDDLE",
    "/corrections?label=Mitosis&outcome=added&annotator=7",
    "/corrections?label=nothing",
    "/corrections?annotator=99",
    "/corrections?use=out",
    "/corrections?use=in&project=2",
    "/quality",
    "/quality?label=Mitosis&days=91",
    "/models",
    "/schedule",
    "/prompts",
)
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
Rows = Iterator[dict[str, Any]]


def seed(store: Store, settings: Settings, tasks: int, corrections: int) -> None:
    """Fill the store, in bulk."""
    projects = [store.projects.upsert(settings.installation_url, number, CONFIG) for number in (1, 2, 3)]
    for project in projects:
        store.projects.describe(project, f"Project of benchmark {project.project_id}", tasks // 3)
    version = model_version(settings.model, parse_label_config(CONFIG))
    event = store.events.record("ANNOTATION_CREATED", {})
    tables = (
        (PredictionRow, predictions(projects, version, tasks)),
        (PredictedRegionRow, regions(tasks)),
        (AnnotationRow, annotations(projects, version, tasks, event)),
        (CorrectionRow, corrected(tasks, corrections, version)),
        (ExclusionRow, exclusions(projects)),
    )
    for table, rows in tables:
        some: list[dict[str, Any]] = []
        with store.database.writing() as session:
            for row in rows:
                some.append(row)
                if len(some) == AT_A_TIME:
                    session.execute(insert(table.__table__), some)
                    some.clear()
            if some:
                session.execute(insert(table.__table__), some)


def predictions(projects: Sequence[Project], version: str, tasks: int) -> Rows:
    """One in 50 failed, one in 100 is under way."""
    plan = plan_prompts(parse_label_config(CONFIG), {})
    result = [{"id": f"r{number}", "value": {"rle": list(range(100))}} for number in range(REGIONS)]
    for number in range(1, tasks + 1):
        status = "failed" if number % 50 == 0 else "requested" if number % 100 == 1 else "published"
        at = BEGAN + timedelta(seconds=number)
        yield {
            "id": number,
            "project_row_id": projects[number % 3].id,
            "task_id": number,
            "task_data": {"image": f"/data/upload/{number}.png"},
            "plan": plan.to_json(),
            "plan_digest": plan.digest(),
            "model_version": version,
            "delivery": "push",
            "interactive": False,
            "status": status,
            "error": "The image could not be fetched." if status == "failed" else None,
            "result": result if status == "published" else None,
            "score": random.random() if status == "published" else None,
            "attempts": 1,
            "begun_at": at,
            "computed_at": at + timedelta(seconds=1) if status == "published" else None,
            "created_at": at,
            "updated_at": at,
        }


def regions(tasks: int) -> Rows:
    for number in range(1, tasks + 1):
        for place in range(REGIONS):
            label = LABELS[0 if place else number % 3]
            mask = f"{number * REGIONS + place:064x}"
            row = {"prediction_id": number, "region_id": f"r{number}-{place}", "label": label, "prompt": label}
            yield row | {"score": random.random(), "mask": mask}


def annotations(projects: Sequence[Project], version: str, tasks: int, event: int) -> Rows:
    """One of each task, by ten annotators."""
    for number in range(1, tasks + 1):
        yield {
            "id": number,
            "event_id": event,
            "project_row_id": projects[number % 3].id,
            "annotation_id": number,
            "task_id": number,
            "state": "submitted",
            "is_current": True,
            "annotation_at": BEGAN + timedelta(minutes=number),
            "annotator_id": 1 + number % 10,
            "ground_truth": False,
            "model_version": version,
            "asked": [],
            "unread": 0,
        }


def corrected(tasks: int, corrections: int, version: str) -> Rows:
    kinds = ("accepted", "accepted", "edited", "deleted", "added")
    for number in range(1, corrections + 1):
        kind = kinds[number % 5]
        yield {
            "id": number,
            "annotation_row_id": 1 + (number - 1) * tasks // corrections,
            "region_id": f"c{number}",
            "region_type": "brushlabels",
            "label": None if kind == "deleted" else LABELS[0 if number % 20 else 1],
            "label_before": None if kind == "added" else LABELS[0],
            "kind": kind,
            "iou": 0.9,
            "boundary_iou": 0.8,
            "changed_pixels": 120,
            "interactive": False,
            "score": 0.8,
            "model_version": version,
            "mask_before": f"{number:064x}",
            "mask_after": f"{number:064x}",
        }


def exclusions(projects: Sequence[Project]) -> Rows:
    """Two hundred tasks, and one annotator of a project."""
    for number in range(1, 201):
        fields = {"reason": "blurred", "erased": False, "created_at": BEGAN}
        yield {"project_row_id": projects[number % 3].id, "scope": "task", "value": str(number), **fields}
    yield {"project_row_id": projects[0].id, "scope": "annotator", "value": "7", **fields}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tasks", type=int, default=5000)
    arguments.add_argument("--corrections", type=int, default=50_000)
    arguments.add_argument("--database", help="an address of PostgreSQL; it is emptied")
    options = arguments.parse_args()
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        database = options.database or f"sqlite:///{folder}/argenseg.db"
        if options.database:
            with create_engine(database).begin() as connection:
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))
        settings = Settings(data_dir=Path(folder), database_url=database, redis_url=f"unix://{folder}/nobody.sock")
        with Store.open(settings.database_url, settings.blob_url) as store:
            began = time.monotonic()
            seed(store, settings, options.tasks, options.corrections)
            print(f"{options.tasks} tasks, {options.corrections} corrections, made in {time.monotonic() - began:.0f} s")
            sys.exit(measure(store, settings, options.tasks, options.corrections))


def measure(store: Store, settings: Settings, tasks: int, corrections: int) -> int:
    app = create_app(settings, store, connect(settings))
    client, slow = app.test_client(), 0
    print(f"{'address':55} {'median':>8} {'slowest':>8} {'of 1 s':>7}  processor")
    for address in ADDRESSES:
        middle = tasks // 2 if address.startswith("/masks") else corrections // 2
        path = address.replace("MIDDLE", str(middle))
        client.get(path)
        wall, work = [], []
        for _ in range(TURNS):
            began, at_work = time.perf_counter(), time.process_time()
            answer = client.get(path)
            wall.append(time.perf_counter() - began)
            work.append(time.process_time() - at_work)
            assert answer.status_code == 200, path
        slow += median(wall) > LIMIT_S
        shares = f"{median(wall) / LIMIT_S:6.0%}"
        print(f"{address:55} {median(wall):7.3f}s {max(wall):7.3f}s {shares}  {median(work):7.3f}s")
    print(describe_idleness())
    app.extensions["argenseg"].background.close()
    return 1 if slow else 0


if __name__ == "__main__":
    main()

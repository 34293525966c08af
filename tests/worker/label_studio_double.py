"""A Label Studio in memory: what annotators do in it, the webhooks that follow, and the API that tells the state."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from labeling.errors import LabelStudioError
from labeling.label_studio.client import TaskPage

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image">'
    '<Label value="red"/></RectangleLabels></View>'
)
BEGAN = datetime(2036, 11, 22, 9, tzinfo=UTC)


def box(region_id: str, x: int) -> dict[str, Any]:
    value = {"x": x, "y": 0, "width": 25, "height": 25, "rotation": 0, "rectanglelabels": ["red"]}
    size = {"original_width": 8, "original_height": 8, "image_rotation": 0}
    return {"id": region_id, "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": value} | size


@dataclass
class LabelStudioDouble:
    """`url` and the methods are those of LabelStudioClient; the others are what annotators do, and return a payload."""

    tasks: int = 3
    url: str = "http://label-studio.test"
    annotations: dict[int, dict[str, Any]] = field(default_factory=dict)
    reads: list[int] = field(default_factory=list)  # task ids whose annotations were asked for

    def __post_init__(self) -> None:
        self._changes = 0
        self._changed = dict.fromkeys(range(1, self.tasks + 1), BEGAN)

    def create(self, task_id: int, *, skipped: bool = False) -> dict[str, Any]:
        annotation_id = self._changes + 1
        result = [] if skipped else [box(f"r{annotation_id}", 0)]
        self.annotations[annotation_id] = {
            "id": annotation_id,
            "task": task_id,
            "completed_by": 1,
            "lead_time": 3.0,
            "ground_truth": False,
            "was_cancelled": skipped,
            "result": result,
        }
        return self._touch(annotation_id, "ANNOTATION_CREATED")

    def update(self, annotation_id: int, **changes: Any) -> dict[str, Any]:
        self.annotations[annotation_id] |= changes
        return self._touch(annotation_id, "ANNOTATION_UPDATED")

    def delete(self, annotation_id: int) -> dict[str, Any]:
        self._changed[self.annotations.pop(annotation_id)["task"]] = self._now()
        return {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": annotation_id}], "project": self._project()}

    def delete_task(self, task_id: int) -> dict[str, Any]:
        """Its annotations go with it, and no webhook tells of them."""
        del self._changed[task_id]
        self.annotations = {key: item for key, item in self.annotations.items() if item["task"] != task_id}
        self._changes += 1
        return {"action": "TASKS_DELETED", "tasks": [{"id": task_id}], "project": self._project()}

    @property
    def task_ids(self) -> list[int]:
        return list(self._changed)

    def fault(self) -> None:
        return None

    def server_time(self) -> datetime:
        return BEGAN + timedelta(hours=self._changes)

    def task_pages(
        self, project_id: int, *, changed_since: datetime | None = None, after: int = 0
    ) -> Iterator[TaskPage]:
        changed = [
            task
            for task, at in self._changed.items()
            if task > after and (changed_since is None or at >= changed_since)
        ]
        for start in range(0, len(changed), 2):
            yield TaskPage([self._task(task) for task in changed[start : start + 2]], len(changed) - start)

    def get_task(self, task_id: int) -> dict[str, Any]:
        if task_id not in self._changed:
            raise LabelStudioError("No Task matches the given query.", status=404)
        return self._task(task_id)

    def list_annotations(self, task_id: int) -> list[dict[str, Any]]:
        self.reads.append(task_id)
        return self._annotations(task_id, skipped=False)

    def list_skips(self, project_id: int, task_id: int) -> list[dict[str, Any]]:
        return self._annotations(task_id, skipped=True)

    def find_annotation(self, annotation_id: int) -> dict[str, Any] | None:
        return copy.deepcopy(self.annotations.get(annotation_id))

    def _annotations(self, task_id: int, *, skipped: bool) -> list[dict[str, Any]]:
        of_task = [item for item in self.annotations.values() if item["task"] == task_id]
        return copy.deepcopy([item for item in of_task if bool(item["was_cancelled"]) == skipped])

    def _touch(self, annotation_id: int, action: str) -> dict[str, Any]:
        annotation = self.annotations[annotation_id]
        self._changed[annotation["task"]] = self._now()
        annotation["updated_at"] = self._changed[annotation["task"]].isoformat().replace("+00:00", "Z")
        payload = {"action": action, "annotation": annotation, "task": self._task(annotation["task"])}
        return copy.deepcopy(payload | {"project": self._project()})

    def _now(self) -> datetime:
        self._changes += 1
        return self.server_time()

    def _project(self) -> dict[str, Any]:
        return {"id": 5, "label_config": CONFIG}

    def _task(self, task_id: int) -> dict[str, Any]:
        mine = [item for item in self.annotations.values() if item["task"] == task_id]
        skipped = sum(item["was_cancelled"] for item in mine)
        counts = {"total_annotations": len(mine) - skipped, "cancelled_annotations": skipped}
        at = self._changed[task_id].isoformat().replace("+00:00", "Z")
        return {"id": task_id, "data": {"image": f"/data/{task_id}.png"}, "updated_at": at} | counts

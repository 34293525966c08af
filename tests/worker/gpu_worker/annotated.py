"""A Label Studio with annotated tasks, for the worker's process: what it asks for a trial of prompts."""

from typing import Any

from tests.worker.conftest import bright_square

TASKS = 8
GONE = 3  # whose annotation is deleted between the list and the trial of it


def box() -> dict[str, Any]:
    """A region of label l0 around the bright square of 40 x 30 px."""
    value = {"x": 12.5, "y": 100 * 5 / 30, "width": 25, "height": 100 / 3, "rotation": 0, "rectanglelabels": ["l0"]}
    size = {"original_width": 40, "original_height": 30, "image_rotation": 0}
    return {"id": "r1", "type": "rectanglelabels", "from_name": "tag", "to_name": "image", "value": value} | size


class AnnotatedProject:
    """Task 1 lacks the label, the others have it; task 9 has no annotation, task 10 no picture."""

    url = "http://127.0.0.1:8080"

    def __init__(self) -> None:
        self._reads: dict[int, int] = {}

    def list_tasks(self, project_id: int) -> list[dict[str, Any]]:
        numbers = [*range(1, TASKS + 1), 9, 10]
        return [
            {"id": n, "data": {"image": bright_square() if n < 10 else "data:,x"}, "total_annotations": n != 9}
            for n in numbers
        ]

    def list_annotations(self, task_id: int) -> list[dict[str, Any]]:
        self._reads[task_id] = self._reads.get(task_id, 0) + 1
        if task_id == GONE and self._reads[task_id] > 1:
            return []
        return [{"result": [] if task_id == 1 else [box()], "was_cancelled": False, "updated_at": "2026-01-01"}]

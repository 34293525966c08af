"""Whether somebody began to annotate a task: then what its page shows may not be deleted."""

from typing import Any

from labeling.label_studio.client import LabelStudioClient


def find_untouched(client: LabelStudioClient, project_id: int, task_id: int) -> dict[str, Any] | None:
    """The task, if nobody began to annotate it: it holds neither annotation nor draft. LabelStudioError."""
    pages = client.task_pages(project_id, after=task_id - 1, page_size=1, only_unlabeled=True, without_drafts=True)
    first = next((page.tasks[0] for page in pages), None)
    return first if first is not None and first["id"] == task_id else None

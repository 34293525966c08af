"""The blind slice: tasks that get no prediction, so that the time predictions save can be measured."""

import hashlib


def is_blind(project_id: int, task_id: int, blind_share: float) -> bool:
    """Whether a task of a Label Studio project belongs to it: drawn by its number, the same on every machine.

    A larger share contains the tasks of a smaller one.
    """
    digest = hashlib.sha256(f"blind {project_id} {task_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < blind_share * 2**64

"""What a tag's value means for a task, as Label Studio's page reads it: `$image`, `$meta.photo`, `$images[0]`, or a
text with such references in it, as `/data/upload/$file`.
"""

import re
from collections.abc import Mapping
from typing import Any

_REFERENCE = re.compile(r"\$([\w\[\].{}]+)", re.ASCII)
_STEP = re.compile(r"[^.\[\]]+")


def task_value(data: Mapping[str, Any], key: str) -> Any:
    """What a task's data has under a key, a path, or in place of the references in a text; None if it has nothing."""
    if key in data:
        return data[key]
    if "$" not in key:
        return _at(data, key)
    parts = [_at(data, reference) for reference in _REFERENCE.findall(key)]
    if any(part is None for part in parts):
        return None
    found = iter(parts)
    return _REFERENCE.sub(lambda _: str(next(found)), key)


def task_text(data: Mapping[str, Any], key: str) -> str | None:
    """The same, where it is a text that is not blank."""
    value = task_value(data, key)
    return value if isinstance(value, str) and value.strip() else None


def _at(data: Any, path: str) -> Any:
    if isinstance(data, Mapping) and path in data:
        return data[path]
    for step in _STEP.findall(path):
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data

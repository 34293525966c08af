"""What the galleries' filters offer, and how the address of a page says what was chosen."""

from collections.abc import Iterable
from dataclasses import dataclass

from flask import request

from labeling.credentials import without_credentials
from labeling.errors import LabelConfigError
from labeling.prompts.label_config import parse_label_config
from labeling.store import Project, Store

_LARGEST = 2**31 - 1
_PAGING = "before"
_CHOICES = ("project", "label", "annotator", "outcome", "use", "score", "min", "max", "status")


@dataclass(frozen=True)
class Choices:
    """All projects, the chosen one, and the labels of these."""

    projects: tuple[Project, ...]
    project: Project | None
    labels: tuple[str, ...]

    @property
    def project_choices(self) -> list[tuple[int, str]]:
        """For a <select>."""
        return [(project.id, project.name) for project in self.projects]

    @property
    def label_choices(self) -> list[tuple[str, str]]:
        """For a <select>."""
        return [(label, label) for label in self.labels]

    @classmethod
    def of(cls, store: Store) -> "Choices":
        """By what the page's address says."""
        projects = tuple(store.projects.all())
        number = chosen_number("project")
        project = next((each for each in projects if each.id == number), None)
        labels = _labels(projects if project is None else (project,))
        return cls(projects, project, tuple(dict.fromkeys(labels)))


def chosen(name: str) -> str | None:
    """What the address says under this name; None for nothing."""
    return request.args.get(name, "")[:500] or None


def chosen_number(name: str) -> int | None:
    """The same as a row's number; None for anything else."""
    text = request.args.get(name, "")
    return int(text) if text.isdecimal() and len(text) <= 10 and int(text) <= _LARGEST else None


def chosen_share(name: str) -> float | None:
    """The same as a number from 0 to 1; None for anything else."""
    try:
        share = float(request.args.get(name, ""))
    except ValueError:
        return None
    return share if 0 <= share <= 1 else None


def all_choices() -> dict[str, str]:
    """What the address says that is ours, for another address: other names, such as _external, mean something there."""
    return {name: value for name in (*_CHOICES, _PAGING) if (value := chosen(name))}


def without_paging(**changes: object) -> dict[str, str]:
    """The same but for the place in the list, with these changes; empty ones are left out."""
    values = {name: value for name, value in all_choices().items() if name != _PAGING}
    values |= {name: str(value) for name, value in changes.items()}
    return {name: value for name, value in values.items() if value}


def task_address(project: Project, task_id: int) -> str:
    """Where Label Studio shows a task."""
    return f"{project_address(project)}?task={task_id}"


def project_address(project: Project) -> str:
    """Where Label Studio shows a project's tasks."""
    return f"{without_credentials(project.label_studio_url)}/projects/{project.project_id}/data"


def _labels(projects: Iterable[Project]) -> list[str]:
    found: list[str] = []
    for project in projects:
        try:
            config = parse_label_config(project.label_config)
        except LabelConfigError:
            continue
        found += [label.label for control in config.controls for label in control.labels if label.label]
    return found

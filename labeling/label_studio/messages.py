"""What Label Studio sends to an ML backend, checked for its shape before anything is done with it.

Fields that we do not use are ignored: Label Studio sends many, and more in every version.
"""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _whole(number: Any) -> Any:
    """40.0 is 40: what wrote the JSON may know no whole numbers."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


RowId = Annotated[int, BeforeValidator(_whole), Field(ge=0, lt=2**63)]  # what a database column holds
LabelConfigXml = Annotated[str, Field(max_length=1_000_000)]


def _project_number(project: Any) -> Any:
    """Label Studio names a project "id.ts" in calls to ML backends: its number, and when it was created."""
    if not isinstance(project, str):
        return project
    number = re.match(r"[0-9]{1,19}(?=\.|$)", project)
    return int(number[0]) if number else project


ProjectNumber = Annotated[RowId, BeforeValidator(_project_number)]


class Message(BaseModel):
    """Base of all messages. Strict: a number in quotes is no number."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Task(Message):
    """A task as every message carries it."""

    id: RowId
    data: dict[str, Any]
    drafts: Any = None  # when a page asks: what its annotator has not submitted yet, saved every five seconds
    annotations: Any = None
    predictions: Any = None


class SetupRequest(Message):
    """POST /setup."""

    project: ProjectNumber
    label_config: LabelConfigXml = Field("", alias="schema")


class InteractiveContext(Message):
    """What the annotator just did on the page, as regions; an empty list after Submit."""

    result: list[dict[str, Any]] | None = None


class PredictParams(Message):
    """The `params` of POST /predict."""

    context: InteractiveContext | None = None


class PredictRequest(Message):
    """POST /predict: a task that was opened, a prompt typed on its page, or all the tasks of Retrieve Predictions."""

    project: ProjectNumber
    label_config: LabelConfigXml
    tasks: list[Task]
    params: PredictParams | None = None

    @property
    def context(self) -> InteractiveContext | None:
        """Set when an annotator's page asks, None when Label Studio itself does."""
        context = self.params.context if self.params else None
        return context if context and context.result is not None else None


class ProjectState(Message):
    """The `project` of a webhook. `model_version`: a version that annotators see, or an ML backend's title."""

    id: RowId
    label_config: LabelConfigXml
    model_version: str | None = None


class ProjectUpdated(Message):
    """The webhook PROJECT_UPDATED."""

    project: ProjectState


class TasksCreated(ProjectUpdated):
    """The webhook TASKS_CREATED."""

    tasks: list[Task]


def named_ids(payload: dict[str, Any]) -> dict[str, int]:
    """The project and the task that a webhook's payload names, for the log: whatever else is wrong with it."""
    named = {name: payload.get(name) for name in ("project", "task")}
    ids = {name: what.get("id") if isinstance(what, dict) else what for name, what in named.items()}
    return {name: number for name, number in ids.items() if isinstance(number, int)}

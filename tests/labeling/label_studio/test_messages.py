"""The shapes of Label Studio's messages, and what is read out of them."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from labeling.label_studio.messages import (
    InteractiveContext,
    PredictRequest,
    ProjectUpdated,
    SetupRequest,
    TasksCreated,
)


@pytest.mark.parametrize(("project", "number"), [("1.1795339217", 1), ("42", 42), (7, 7), ("0.5", 0)])
def test_the_project_number(project: Any, number: int) -> None:
    assert SetupRequest.model_validate({"project": project, "schema": ""}).project == number


@pytest.mark.parametrize("project", [None, True, 1.5, -1, "", ".5", "-1", "1x", " 1", "1e3", "²", "9" * 19, 2**63])
def test_no_project_number(project: Any) -> None:
    with pytest.raises(ValidationError):
        SetupRequest.model_validate({"project": project, "schema": ""})


def test_who_asks(recorded: Callable[[str], Any]) -> None:
    def context(name: str) -> InteractiveContext | None:
        return PredictRequest.model_validate(recorded(f"requests/predict_{name}")["json"]).context

    assert context("single") is None and context("batch") is None
    text, empty = context("interactive_text"), context("interactive_empty_context")
    assert text is not None and text.result and text.result[0]["value"] == {"text": ["blue box"]}
    assert empty is not None and empty.result == []


def test_webhooks(recorded: Callable[[str], Any]) -> None:
    created = TasksCreated.model_validate(recorded("requests/webhook_tasks_created")["json"])
    assert [(task.id, task.data["prompt"]) for task in created.tasks] == [(13, "a")] and created.project.id == 1
    updated = ProjectUpdated.model_validate(recorded("requests/webhook_project_updated")["json"])
    assert updated.project.label_config.startswith("<View>")

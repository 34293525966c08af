"""The Label Studio double of tests/worker/projects, for the checks of a project."""

from tests.worker.projects.conftest import connected, label_studio, project

__all__ = ["connected", "label_studio", "project"]

"""The Label Studio double of projects, for the checks of a project."""

from tests.backend.operations.projects.conftest import connected, label_studio, project

__all__ = ["connected", "label_studio", "project"]

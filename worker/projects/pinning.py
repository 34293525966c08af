"""Which version's predictions annotators see: Label Studio's `model_version` of a project."""

from worker.errors import WorkerError
from worker.projects.open_project import OpenProject


def shown_version(project: OpenProject) -> str:
    """The version whose predictions annotators see now; "" if they see those of all versions."""
    for backend in project.client.list_ml_backends(project.number):
        if backend["title"] == project.shown:  # "live": whatever this backend's /setup reports
            return str(backend.get("model_version") or "")
    return project.shown


def pinned_version(project: OpenProject) -> str:
    """The version that the project names; "" where it names none, or a backend, which reports one of its own."""
    titles = [str(backend["title"]) for backend in project.client.list_ml_backends(project.number)]
    return "" if project.shown in titles else project.shown


def pin(project: OpenProject, version: str) -> None:
    """Show annotators the predictions of `version`, whatever becomes of the backend. WorkerError if there are none."""
    if not project.client.prediction_counts(project.number).get(version):
        raise WorkerError(
            f"Label Studio holds no prediction of {version!r}: annotators would see none. Predict the project first"
            f" (argenseg predict --project {project.number}), or see argenseg versions list --project {project.number}."
        )
    project.client.change_project(project.number, model_version=version)
    ours = project.project
    project.store.projects.upsert(ours.label_studio_url, ours.project_id, ours.label_config, version)

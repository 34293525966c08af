"""The command `argenseg versions`."""

import click

from backend.console import command_line
from backend.console.opened_project import opened_project, project_option


@click.group()
def versions() -> None:
    """List the versions of a project's predictions, choose the one annotators see, remove what newer ones replaced.

    Example: argenseg versions list --project 3
    """


@versions.command("list")
@project_option
@command_line.label_studio_options
def list_versions(number: int, label_studio_url: str | None, api_key: str | None) -> None:
    """Show the versions, how many predictions there are of each, and which one annotators see.

    Example: argenseg versions list --project 3
    """
    from backend.operations.projects import versions as versioning

    with opened_project(number, label_studio_url, api_key) as (project, _):
        rows = []
        for version in versioning.list_versions(project):
            marks = [("current", version.is_current), ("seen by annotators", version.is_shown)]
            numbers = (version.held, version.ours, version.under_way, version.failed)
            rows.append((version.name, *numbers, ", ".join(mark for mark, holds in marks if holds)))
        command_line.print_table(("version", "in Label Studio", "sent by us", "under way", "failed", ""), rows)


@versions.command("pin")
@project_option
@click.option("--version", help="The version (default: the current one).")
@command_line.label_studio_options
def pin_version(number: int, version: str | None, label_studio_url: str | None, api_key: str | None) -> None:
    """Show annotators the predictions of one version, whatever becomes of the backend.

    Example: argenseg versions pin --project 3
    """
    from worker.projects import pinning

    with opened_project(number, label_studio_url, api_key) as (project, console):
        pinning.pin(project, version or project.version)
        command_line.note_action(project.store, "pin", f"{version or project.version}, project {number}")
        console.print(f"Annotators now see {version or project.version}.", soft_wrap=True)
        if version in (None, project.version) and (lacking := project.tasks_without_prediction()):
            console.print(f"{lacking} tasks have no prediction of it: argenseg predict --project {number}")


@versions.command("prune")
@project_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@command_line.label_studio_options
def prune_versions(number: int, yes: bool, label_studio_url: str | None, api_key: str | None) -> None:
    """Delete predictions that we sent and that newer ones of ours replaced, and second copies. Nobody else's, and no
    annotation.

    Do it while nobody annotates: a page that shows a deleted prediction cannot be submitted before it is loaded again.

    Example: argenseg versions prune --project 3
    """
    from backend.operations.projects import versions as versioning

    with opened_project(number, label_studio_url, api_key) as (project, console):
        found, copies = versioning.prunable(project), versioning.second_copies(project)
        if (found or copies) and not yes:
            of_versions = f"{len(found)} predictions of {len({each.model_version for each in found})} versions"
            click.confirm(f"Delete {of_versions}, and {len(copies)} second copies?", abort=True)
        deleted = sum(versioning.prune(project, found))
        if copies:
            console.print(f"{sum(versioning.prune_copies(project, copies))} second copies were deleted.")
        if deleted or copies:
            command_line.note_action(project.store, "prune", f"{deleted} predictions, project {number}")
        console.print(f"{deleted} predictions were deleted.")
        if deleted < len(found):
            console.print(f"{len(found) - deleted} were gone already, or are not what we sent: they were left alone.")

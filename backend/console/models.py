"""The command `argenseg models`."""

from __future__ import annotations  # its types are imported for type checkers only

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backend.console.command_line import known_project, note_action, open_store, print_table, start

if TYPE_CHECKING:
    from backend.operations.model_versions import PromotionPlan
    from labeling.store import ModelVersion, Store

_project_option = click.option("--project", type=int, metavar="N", help="Label Studio's number of the project.")
_reason_option = click.option("--reason", default="", help="Why; it is kept with time and name.")


@click.group()
def models() -> None:
    """The fine-tuned model versions: look at them, choose which one is active, go back.

    Example: argenseg models list
    """


@models.command("list")
def list_models() -> None:
    """All versions, the newest first. Example: argenseg models list"""
    settings = start(log_level="WARNING")
    with open_store(settings) as store:
        headers = ("version", "learnt from", "state", "active for", "IoU before → after", "made")
        rows = [_model_row(store, version) for version in store.models.all()]
        print_table(
            headers, rows, if_empty="No version was fine-tuned yet: argenseg finetune --project N --from-corrections"
        )
        if store.models.active() is None:
            click.echo(f"By default {settings.model} is active (ARGENSEG_MODEL).")


@models.command()
@click.argument("name")
def show(name: str) -> None:
    """A version's report. Example: argenseg models show starter-1.1"""
    with open_store(start(log_level="WARNING")) as store:
        version = store.models.get(name)
        click.echo(f"{version.name}: {version.state}, learnt from {version.parent}, in {version.folder}")
        report = version.report or {}
        for reason in report.get("gate", {}).get("reasons", ["It was not judged."]):
            click.echo(f"  {reason}")
        if Path(report.get("html", "")).is_file():  # it goes with what is deleted on request
            click.echo(f"Pictures and plots: {report['html']}")


@models.command()
@click.argument("name")
@_project_option
@_reason_option
@click.option("--yes", is_flag=True, help="Do not ask, also for a version that the gate did not accept.")
def promote(name: str, project: int | None, reason: str, yes: bool) -> None:
    """Make NAME active for a project, or for all without a version of their own; `base` is the model of the settings.

    Open tasks are predicted first, then annotators see the new masks. Exit code 1: it is active for new work, but in
    some project annotators go on seeing what they saw, because they would lose masks; it is said why.

    Example: argenseg models promote starter-1.1
    """
    from backend.operations import model_versions

    settings = start()
    with open_store(settings) as store:
        found = None if project is None else known_project(settings, store, project)
        plan = model_versions.plan_promotion(settings, store, name, found)
        _say_plan(plan)
        if plan.needs_consent and not yes:
            click.confirm("Go on?", abort=True)
        promoted = model_versions.promote(settings, store, name, found)
        note_action(store, "promote", f"{name}, {_where(project)}", reason)
    _say_what_is_active(f"{name} is active {_where(project)}", promoted.unseen)


@models.command()
@_project_option
@_reason_option
def rollback(project: int | None, reason: str) -> None:
    """Go back to the version that was active before. Open tasks that came since are predicted with it first.

    Exit code 1 as of promote: it is active for new work, but in some project annotators go on seeing what they saw.

    Example: argenseg models rollback --project 3
    """
    from backend.operations import model_versions

    settings = start()
    with open_store(settings) as store:
        found = None if project is None else known_project(settings, store, project)
        promoted = model_versions.roll_back(settings, store, found)
        note_action(store, "roll back", f"to {promoted.active}, {_where(project)}", reason)
    _say_what_is_active(f"{promoted.active} is active {_where(project)} again", promoted.unseen)


@models.command()
@click.argument("name")
@click.confirmation_option(prompt="Its weights are deleted; its report stays. Go on?")
def delete(name: str) -> None:
    """Delete the weights of a version that is active nowhere. Example: argenseg models delete starter-1.1 --yes"""
    from backend.operations import model_versions

    with open_store(start(log_level="WARNING")) as store:
        model_versions.delete_weights(store, name)
        note_action(store, "delete", f"weights of {name}")
    click.echo(f"The weights of {name} are gone.")


def _where(project: int | None) -> str:
    return "by default" if project is None else f"for project {project}"


def _say_what_is_active(what: str, unseen: tuple[str, ...]) -> None:
    """Exits 1 where annotators go on seeing something else, which `unseen` says."""
    if unseen:
        click.echo(f"{what}, but what annotators see did not move everywhere:")
        for sentence in unseen:
            click.echo(f"  {sentence}")
        raise click.exceptions.Exit(1)
    click.echo(f"{what}.")


def _say_plan(plan: PromotionPlan) -> None:
    """What a promotion will do, and what speaks against it."""
    if plan.doubt:
        click.echo(plan.doubt)
    if plan.predicted:
        numbers = ", ".join(str(each.project_id) for each in plan.predicted)
        click.echo(f"The open tasks of project {numbers} are predicted with it, then annotators see it there.")
    elif not plan.is_connected:
        click.echo("LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY are not both set: no task is predicted, no pin is moved.")
    else:
        click.echo("No project here is without a version of its own: it is active for those to come.")


def _model_row(store: Store, version: ModelVersion) -> tuple[object, ...]:
    checks = ((version.report or {}).get("gate") or {}).get("checks") or []
    iou = f"{checks[0]['live']:.3f} → {checks[0]['candidate']:.3f}" if checks else "–"
    projects = ", ".join(store.models.active_for(version.name))
    return version.name, version.parent, version.state, projects, iou, f"{version.created_at:%Y-%m-%d %H:%M}"

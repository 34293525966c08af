"""The commands `argenseg corrections`: what annotators corrected, to see, to take along, to leave out."""

from __future__ import annotations  # its types are imported for type checkers only

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from backend.console.command_line import echo_csv, label_studio_options, note_action, open_store, print_table, start
from labeling.credentials import hide_passwords
from labeling.errors import LabelingError

if TYPE_CHECKING:
    from labeling.settings import Settings
    from labeling.store import CorrectionFilter, CorrectionRecord, ErasureScope, ExclusionScope, Project, Store
    from worker.context import JobContext

_FORMATS = ("coco", "coco-polygons", "manifest", "huggingface")
_PROJECT_HELP = "The project's number in Label Studio (default: all of LABEL_STUDIO_URL)."
_project_option = click.option("--project", type=int, help=_PROJECT_HELP)


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that become a CorrectionFilter."""
    for option in (
        click.option("--task", "task_id", type=int, help="Only this task."),
        click.option("--annotator", "annotator_id", type=int, help="Only this annotator (Label Studio's user id)."),
        click.option("--version", "model_version", help="Only what this model version predicted."),
        click.option("--until", type=click.DateTime(), help="Only before this time (UTC)."),
        click.option("--since", type=click.DateTime(), help="Only from this time on (UTC)."),
        click.option("--label", help="Only this label, predicted or submitted."),
        click.option("--project", "project_id", type=int, help=_PROJECT_HELP),
    ):
        command = option(command)
    return command


def _wanted(settings: Settings, options: dict[str, Any]) -> CorrectionFilter:
    """Of the Label Studio of the settings; where they name none, of all."""
    from labeling.store import CorrectionFilter

    for name in ("since", "until"):
        if options.get(name) is not None:
            options[name] = options[name].replace(tzinfo=UTC)
    return CorrectionFilter(label_studio_url=settings.label_studio_url, **options)


@click.group()
def corrections() -> None:
    """What annotators made of the predicted masks.

    Example: argenseg corrections list --project 1 --label cell --since 2026-11-01
    """


@corrections.command("list")
@_filters
@click.option("--history", "with_history", is_flag=True, help="Also the states before the newest, and deleted ones.")
@click.option("--excluded", "with_excluded", is_flag=True, help="Also what is excluded.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object in a line, with all fields.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with all fields.")
def list_command(as_json: bool, as_csv: bool, **options: Any) -> None:
    """List corrections, one region a line.

    Example: argenseg corrections list --project 1 --annotator 3
    """
    settings = start(log_level="WARNING")
    with open_store(settings) as store:
        found = store.corrections.find(_wanted(settings, options))
        others = [] if found else _other_addresses(settings, store)
    if as_json:
        for item in found:
            click.echo(json.dumps(asdict(item), default=_json))
    elif as_csv:
        echo_csv([asdict(item) for item in found])
    else:
        headers = ("project", "task", "annotation", "region", "label", "what", "IoU", "edges", "pixels", "who", "when")
        print_table(
            headers,
            map(_shown, found),
            if_empty="No correction fits. They come when annotations are submitted in Label Studio; what webhooks"
            " missed is found by: argenseg corrections sync",
        )
        click.echo(f"{len(found)} corrections")
        if others:
            click.echo(f"There are projects of {', '.join(others)}. Did Label Studio move? argenseg corrections move")


@corrections.command()
@click.argument("annotation", type=int)
@_project_option
def show(annotation: int, project: int | None) -> None:
    """Show all that is known of an annotation, its history too, as JSON.

    Example: argenseg corrections show 17
    """
    from labeling.store import CorrectionFilter

    settings = start(log_level="WARNING")
    wanted = CorrectionFilter(
        project, settings.label_studio_url, annotation_id=annotation, with_history=True, with_excluded=True
    )
    with open_store(settings) as store:
        annotations = store.annotations.find(wanted)
        images = [
            store.images.of_tasks(annotation.project, [annotation.task_id]).get(annotation.task_id)
            if annotation.task_id
            else None
            for annotation in annotations
        ]
    if not annotations:
        raise LabelingError(f"There is no annotation {annotation} in the store. See: argenseg corrections sync.")
    states = [
        asdict(annotation)
        | {"project": annotation.project.project_id, "image": None if image is None else asdict(image)}
        for annotation, image in zip(annotations, images, strict=True)
    ]
    click.echo(json.dumps(states, indent=2, default=_json))


@corrections.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--format", "form", type=click.Choice(_FORMATS), default="coco", help="Default: coco, with RLE masks.")
@label_studio_options
@_filters
def export(folder: Path, form: str, label_studio_url: str | None, api_key: str | None, **options: Any) -> None:
    """Write what annotators submitted, with the images, to a new folder.

    coco and coco-polygons: annotations.json. huggingface: load_dataset("imagefolder", data_dir=FOLDER). manifest: a
    training set of argenseg, divided into train and holdout. --version means annotations that began from what it
    predicted, with the regions that were added.

    Example: argenseg corrections export cells --project 1 --format coco --label cell
    """
    from labeling.datasets.build import DataSetOptions, build_data_set
    from labeling.datasets.export import collect, export_coco, export_hugging_face
    from labeling.datasets.images import ImageKeeper
    from worker.context import JobContext

    if folder.exists() and any(folder.iterdir()):
        raise LabelingError(f"{folder} is not empty. Name a new folder.")
    settings = start(log_level="WARNING", label_studio_url=label_studio_url, api_key=api_key)
    with JobContext.open(settings, must_exist=True) as context:
        keeper = ImageKeeper(context.store, context.client, settings)
        wanted = _wanted(settings, options)
        if form == "manifest":
            made_of = DataSetOptions(wanted.project_id, wanted.label_studio_url, wanted=wanted)
            made = build_data_set(context.store, keeper, folder, made_of)
            click.echo(f"{made.lineage['items']} items, {made.digest[:12]}, in {folder / 'manifest.jsonl'}")
            for side in made.sides:
                click.echo(side)
            for reason, count in sorted(made.left_out.items()):
                click.echo(f"left out {count}: {reason}", err=True)
            return
        whole = replace(wanted, model_version=None, began_from=wanted.model_version)
        found = collect(context.store, keeper, context.store.annotations.find(whole))
        for task_id, reason in found.left_out:
            click.echo(f"left out task {task_id}: {reason}", err=True)
        if form == "huggingface":
            count = export_hugging_face(context.store, found.images, folder)
        else:
            masks: Literal["rle", "polygons"] = "polygons" if form == "coco-polygons" else "rle"
            count = export_coco(context.store, found.images, folder, masks)
    click.echo(f"{count} regions on {len(found.images)} images, in {folder}")


@corrections.command()
@click.argument("scope", type=click.Choice(["task", "annotation", "annotator", "region"]))
@click.argument("value")
@click.option("--project", type=int, required=True, help="Label Studio's number of the project.")
@click.option("--reason", default="excluded by hand", help="Why, for the data sets' reports.")
@click.option("--undo", is_flag=True, help="Take the exclusion back.")
def exclude(scope: str, value: str, project: int, reason: str, undo: bool) -> None:
    """Leave something out of statistics and data sets. VALUE is its number; of a region, ANNOTATION/REGION.

    Example: argenseg corrections exclude annotator 3 --project 1 --reason "still in training"
    """
    from labeling.store import Exclusion

    settings = start(log_level="WARNING")
    with open_store(settings) as store:
        row = _project(store, project, settings.installation_url)
        if not undo:
            store.exclusions.add(row, Exclusion(cast("ExclusionScope", scope), _exclusion_value(scope, value), reason))
        elif not store.exclusions.remove(row, cast("ExclusionScope", scope), value):
            raise LabelingError(f"There is no exclusion of {scope} {value} that could be taken back.")
        note_action(store, "include" if undo else "exclude", f"{scope} {value}, project {project}", reason)
    click.echo(f"{scope} {value} is {'in again' if undo else 'excluded'}")


@corrections.command()
@click.option("--project", type=int, required=True, help="Label Studio's number of the project.")
def exclusions(project: int) -> None:
    """List what was excluded or deleted, and why.

    Example: argenseg corrections exclusions --project 1
    """
    from labeling.store.exclusions import TASK_DELETED

    settings = start(log_level="WARNING")
    with open_store(settings) as store:
        found = store.exclusions.of_project(_project(store, project, settings.installation_url))
    by_person = [each for each in found if each.reason != TASK_DELETED]
    rows = ((each.scope, each.value, "deleted" if each.erased else "excluded", each.reason) for each in by_person)
    print_table(("what", "number", "how", "why"), rows, if_empty="Nothing was excluded or deleted by anybody.")
    if len(found) > len(by_person):
        click.echo(f"and {len(found) - len(by_person)} tasks that were deleted in Label Studio")


@corrections.command()
@click.option("--task", type=int, help="Everything about this task: annotations, predictions, its image.")
@click.option("--annotation", type=int, help="Everything about this annotation.")
@click.option("--annotator", type=int, help="All that this user of Label Studio submitted, or ever will.")
@click.option("--project", type=int, required=True, help="Label Studio's number of the project.")
@click.option("--reason", default="deleted on request", help="Why; the reason is kept.")
@click.confirmation_option(prompt="Corrections, masks and events go for good. Go on?")
def delete(project: int, reason: str, **named: int | None) -> None:
    """Delete on request, so that it never comes back. What is in Label Studio stays there.

    Example: argenseg corrections delete --project 1 --task 12
    """
    from worker.erasure import erase

    chosen = [(scope, number) for scope, number in named.items() if number is not None]
    if len(chosen) != 1:
        raise LabelingError("Name either --task, --annotation or --annotator.")
    ((scope, number),) = chosen
    settings = start(log_level="WARNING")
    with open_store(settings) as store:
        row = _project(store, project, settings.installation_url)
        gone = erase(settings, store, row, cast("ErasureScope", scope), number, reason)
        note_action(store, "delete", f"{scope} {number}, project {project}", reason)
    counts = f"{len(gone.store.annotations)} annotations, {gone.store.predictions} predictions"
    click.echo(f"{counts} and {len(gone.store.images)} images are gone from here; not from Label Studio, nor backups.")
    if gone.runs:
        click.echo(f"Models that learnt from it were not changed. Their runs: {', '.join(gone.runs)}.")


@corrections.command()
@_project_option
@click.option("--all", "everything", is_flag=True, help="Read all annotations, not only those that changed.")
@label_studio_options
def sync(project: int | None, everything: bool, label_studio_url: str | None, api_key: str | None) -> None:
    """Find in Label Studio what webhooks missed. The sweeper does it every RECONCILE_INTERVAL_S, too.

    Example: argenseg corrections sync --project 1
    """
    from worker.context import JobContext
    from worker.reconcile import project_sync

    settings = start(log_level="WARNING", label_studio_url=label_studio_url, api_key=api_key)
    with JobContext.open(settings, must_exist=True) as context:
        for row in _projects(context, project):
            outcome = project_sync.sync_project(context, row, everything=everything)
            if outcome is None:
                click.echo(f"project {row.project_id}: another process is reading it just now")
                continue
            found = f"{outcome.changed} annotations were new or changed, {outcome.deleted} were deleted"
            click.echo(f"project {row.project_id}: {outcome.tasks} tasks looked at, {found}")


@corrections.command()
@click.option("--from", "before", required=True, help="The address that Label Studio had.")
@click.option("--to", "now", required=True, help="The address that it has, as in LABEL_STUDIO_URL.")
def move(before: str, now: str) -> None:
    """Keep what was collected when Label Studio gets another address: corrections, predictions, models, schedules.

    Stop argenseg first, and start it with the new LABEL_STUDIO_URL afterwards. A project of the new address that has
    the same number is not joined with the old one.

    Example: argenseg corrections move --from http://localhost:8080 --to https://ls.example.com
    """
    from worker.events import spool

    settings = start(log_level="WARNING", label_studio_url=now)
    if settings.label_studio_url is None:
        raise LabelingError("--to is an address such as https://ls.example.com.")
    with open_store(settings) as store:
        spool.drain(spool.spool_folder(settings), store, before)  # events that came from there
        moved = store.projects.move(before, settings.label_studio_url)
    numbers = ", ".join(str(each.project_id) for each in moved)
    click.echo(f"What was collected of project {numbers} belongs to {hide_passwords(settings.label_studio_url)} now.")


def _exclusion_value(scope: str, value: str) -> str:
    """As the store writes it. LabelingError for what nothing has as its number."""
    number, slash, region = value.partition("/")
    if not re.fullmatch(r"0*[1-9][0-9]{0,9}", number) or bool(slash and region) != (scope == "region"):
        what = "ANNOTATION/REGION, such as 17/Fq3kPz" if scope == "region" else f"the {scope}'s number in Label Studio"
        raise LabelingError(f"{value!r} names no {scope}: give {what}. See: argenseg corrections list.")
    return f"{int(number)}{slash}{region}"


def _shown(item: CorrectionRecord) -> list[object]:
    """A row of the table."""
    label = item.label or "–"
    if item.label_before not in (None, item.label):
        label = f"{item.label_before} → {label}"
    overlaps = [f"{item.iou:.3f}", f"{item.boundary_iou:.3f}"] if item.kind == "edited" else ["", ""]
    row = [item.project_id, item.task_id, item.annotation_id, item.region_id, label, item.kind, *overlaps]
    return [*row, item.changed_pixels, item.annotator_id, f"{item.at:%Y-%m-%d}"]


def _other_addresses(settings: Settings, store: Store) -> list[str]:
    """Where all that is known comes from, if nothing of it is from the Label Studio of the settings."""
    urls = {each.label_studio_url for each in store.projects.all()}
    return [] if settings.label_studio_url in (None, *urls) else sorted(map(hide_passwords, urls))


def _project(store: Store, project_id: int, url: str) -> Project:
    found = store.projects.find(project_id, url)
    if found is None:
        where = hide_passwords(url)
        raise LabelingError(f"Project {project_id} of {where} is not known. Is LABEL_STUDIO_URL that of the project?")
    return found


def _projects(context: JobContext, project_id: int | None) -> list[Project]:
    """One project, made known if it is not yet, or all known ones."""
    url = context.settings.installation_url
    if project_id is None:
        return context.store.projects.of_address(url)
    known = context.store.projects.find(project_id, url)
    if known is None and context.client is not None:
        config = str(context.client.get_project(project_id)["label_config"])
        known = context.store.projects.upsert(url, project_id, config)
    return [known or _project(context.store, project_id, url)]


def _json(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)

"""The command `argenseg stats`: how predictions fared, as tables, JSON or CSV."""

from __future__ import annotations  # its types are imported for type checkers only

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from backend.console.command_line import echo_csv, open_store, print_table, start
from labeling.corrections.slips import SLIP_PIXELS, SLIP_SHARE
from labeling.errors import LabelingError

if TYPE_CHECKING:
    from labeling.corrections.intervals import Figure
    from labeling.corrections.statistics import Row, Statistics


@click.command()
@click.option("--project", type=int, help="The project's number in Label Studio (default: all of LABEL_STUDIO_URL).")
@click.option("--since", type=click.DateTime(), help="Only annotations from this time on (UTC).")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="The first table as CSV, each figure with its interval and count.")
def stats(project: int | None, since: datetime | None, as_json: bool, as_csv: bool) -> None:
    """How predictions fared, by label, prompt, version and week, with 95 % intervals.

    Example: argenseg stats --project 1
    """
    from labeling.corrections.statistics import compute_statistics
    from labeling.store import CorrectionFilter

    settings = start(log_level="WARNING")
    url = settings.label_studio_url
    wanted = CorrectionFilter(project, url, since=since.replace(tzinfo=UTC) if since else None)
    with open_store(settings) as store:
        if project is not None and store.projects.find(project, url) is None:
            raise LabelingError(f"Project {project} is not known: no prediction and no event of it was ever seen.")
        statistics = compute_statistics(store.annotations.stream(wanted), blind_share=settings.blind_share)
    if as_json:
        click.echo(json.dumps(asdict(statistics)))
    elif as_csv:
        echo_csv([dict(_flat(row)) for row in statistics.rows])
    else:
        _print(statistics)


def _print(statistics: Statistics) -> None:
    headers = ("label", "prompt", "tasks", "kept", "to the pixel", "edited", "deleted", "added")
    overlaps = ("label", "prompt", "tasks", "IoU of edited", "of their edges", "found in vain", "time a task")
    empty = "No annotation that began from a prediction was submitted yet: submit some in Label Studio."
    for version, week in sorted(
        {(row.model_version or "–", row.week) for row in statistics.rows}, key=lambda key: key[1]
    ):
        rows = [row for row in statistics.rows if (row.model_version or "–", row.week) == (version, week)]
        click.echo(f"{version}, {week}")
        print_table(headers, map(_fates, rows))
        print_table(overlaps, map(_figures, rows))
    if not statistics.rows:
        click.echo(empty)
    bins = [
        (f"{each.low:.1f}–{each.high:.1f}", each.kept.count, f"{each.mean_score:.2f}", f"{each.mean_iou:.2f}",
         _percent(each.kept))
        for each in statistics.calibration
    ]  # fmt: skip
    if bins:
        click.echo("What scores are worth")
        print_table(("score", "regions", "mean score", "mean IoU", "not deleted"), bins)
    time = statistics.time_saved
    click.echo(f"{statistics.annotations} annotations, {statistics.skipped} skipped tasks")
    if statistics.rows:
        click.echo(
            "In brackets: 95 % intervals. kept: also where a slip of the mouse changed what nobody sees,\n"
            f"up to {SLIP_PIXELS} pixels or {SLIP_SHARE:.1%} of the mask; to the pixel: without those."
        )
    if statistics.untouched:
        click.echo(f"{statistics.untouched} more were made of predictions and never opened: they count nowhere")
    blind = _number(time.blind_s, 0, " s")
    click.echo(f"lead time with predictions {_number(time.assisted_s, 0, ' s')}, without (blind slice) {blind}")
    if time.ratio.value is not None:
        click.echo(f"with predictions it takes {_number(time.ratio, 2)} times as long")


def _fates(row: Row) -> list[object]:
    """What became of regions: a row of the first table."""
    shares = (row.accepted, row.unchanged, row.edited, row.deleted, row.added)
    return [row.label or "–", row.prompt, row.annotations, *map(_percent, shares)]


def _figures(row: Row) -> list[object]:
    """How good they were: a row of the second table."""
    overlaps = [_number(row.iou, 2), _number(row.boundary_iou, 2)]
    vain, time = _percent(row.false_positives), _number(row.lead_time_s, 0, " s")
    return [row.label or "–", row.prompt, row.annotations, *overlaps, vain, time]


def _flat(row: Row) -> Iterator[tuple[str, object]]:
    """Each figure as four columns: `iou`, `iou_low`, `iou_high`, `iou_count`."""
    from labeling.corrections.intervals import Figure

    for name, value in vars(row).items():
        if isinstance(value, Figure):
            yield name, value.value
            yield from ((f"{name}_{part}", getattr(value, part)) for part in ("low", "high", "count"))
        else:
            yield name, value


def _percent(figure: Figure) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return "–"
    return f"{figure.value:.0%} ({100 * figure.low:.0f}–{100 * figure.high:.0f})"


def _number(figure: Figure, digits: int, unit: str = "") -> str:
    if figure.value is None:
        return "–"
    interval = "too few" if figure.low is None else f"{figure.low:.{digits}f}–{figure.high:.{digits}f}"
    return f"{figure.value:.{digits}f}{unit} ({interval})"

"""The command `argenseg stats`: how predictions fared, as tables, JSON or CSV."""

from __future__ import annotations  # its types are imported for type checkers only

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from backend.console.command_line import echo_csv, open_store, print_table, start
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
    figures = ("accepted", "edited", "deleted", "added", "IoU", "boundary IoU", "false pos.", "lead time")
    print_table(("label", "prompt", "version", "week", "n", *figures), map(_shown, statistics.rows))
    bins = (
        (f"{each.low:.1f}–{each.high:.1f}", each.kept.count, f"{each.mean_score:.2f}", f"{each.mean_iou:.2f}",
         _percent(each.kept))
        for each in statistics.calibration
    )  # fmt: skip
    print_table(("score", "regions", "mean score", "mean IoU", "kept"), bins)
    time = statistics.time_saved
    click.echo(f"{statistics.annotations} annotations, {statistics.skipped} skipped tasks")
    if statistics.untouched:
        click.echo(f"{statistics.untouched} more were made of predictions and never opened: they count nowhere")
    blind = _number(time.blind_s, 0, " s")
    click.echo(f"lead time with predictions {_number(time.assisted_s, 0, ' s')}, without (blind slice) {blind}")
    if time.ratio.value is not None:
        click.echo(f"with predictions it takes {_number(time.ratio, 2)} times as long")


def _shown(row: Row) -> list[object]:
    """A row of the first table."""
    names = [row.label or "–", row.prompt, row.model_version or "–", row.week, row.annotations]
    shares = [_percent(figure) for figure in (row.accepted, row.edited, row.deleted, row.added)]
    overlaps = [_number(row.iou, 2), _number(row.boundary_iou, 2)]
    return [*names, *shares, *overlaps, _percent(row.false_positives), _number(row.lead_time_s, 0, " s")]


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
    return f"{figure.value:.0%} ({figure.low:.0%}–{figure.high:.0%})"


def _number(figure: Figure, digits: int, unit: str = "") -> str:
    if figure.value is None:
        return "–"
    interval = "too few" if figure.low is None else f"{figure.low:.{digits}f}–{figure.high:.{digits}f}"
    return f"{figure.value:.{digits}f}{unit} ({interval})"

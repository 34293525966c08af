"""A run's report: report.json, and report.html, one file that opens anywhere and that a person understands."""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from argenseg_model.evaluation import ItemResult, figures
from argenseg_model.files import replace_file
from labeling.gate import GateReport
from worker.finetune.learnt_from import LearntFrom
from worker.finetune.report_charts import Intervals, Line, place_intervals, place_line

_SHOWN = {"giou": "gIoU (mean IoU)", "ciou": "cIoU", "boundary_iou": "boundary IoU", "object_f1": "object F1",
          "false_positives": "drawn where the label is absent"}  # fmt: skip
_PICTURES = 8


@dataclass(frozen=True)
class _Picture:
    """A JPEG with what it shows."""

    base64: str
    caption: str


@dataclass(frozen=True)
class _Measured:
    """What the page shows of a candidate beside the live model. `figures` are rows: name, live, candidate."""

    live: str
    candidate: str
    changes: Intervals
    figures: tuple[tuple[str, str, str], ...]
    losses: Line | None
    ious: Line | None
    most_changed: tuple[tuple[_Picture, ...], ...]


def write_report(
    folder: Path,
    *,
    candidate: str,
    live: str,
    verdict: GateReport,
    learnt_from: LearntFrom,
    live_rows: Sequence[ItemResult],
    candidate_rows: Sequence[ItemResult],
) -> dict[str, Any]:
    """Write both files into `folder`, which has log.jsonl and, of the items of both models' rows by their numbers,
    live/pictures/ and candidate/pictures/; returns what the JSON holds.
    """
    report: dict[str, Any] = {
        "candidate": candidate,
        "live": live,
        "gate": verdict.to_json(),
        "learnt_from": learnt_from.to_json(),
        "figures": {
            side: {
                "holdout": figures([row for row in rows if not _is_replay(row)]),
                "replay": figures([row for row in rows if _is_replay(row)]),
            }
            for side, rows in (("live", live_rows), ("candidate", candidate_rows))
        },
    }
    most_changed = _most_changed(folder, live_rows, candidate_rows)
    report["most_changed"] = [
        {
            "number": each.number,
            "prompt": each.live.prompt,
            "live_iou": each.live.iou,
            "candidate_iou": each.candidate.iou,
        }
        for each in most_changed
    ]
    losses, ious = _curves(folder / "log.jsonl")
    measured = _Measured(
        live=live,
        candidate=candidate,
        changes=place_intervals(verdict.checks),
        figures=tuple(_figures(report["figures"])),
        losses=losses,
        ious=ious,
        most_changed=tuple(tuple(_pictures(folder, (live, candidate), item)) for item in most_changed),
    )
    title = f"{candidate}: {'passed the gate' if verdict.passed else 'did not pass the gate'}"
    _write(folder, report, title, verdict, learnt_from, measured)
    return report


def write_refusal(folder: Path, number: int, verdict: GateReport, learnt_from: LearntFrom) -> dict[str, Any]:
    """The same of run `number`, which ended before anything was learnt: why, and what there is to learn from."""
    report = {"gate": verdict.to_json(), "learnt_from": learnt_from.to_json()}
    _write(folder, report, f"Run {number}: no new version", verdict, learnt_from, None)
    return report


def _write(
    folder: Path,
    report: dict[str, Any],
    title: str,
    verdict: GateReport,
    learnt_from: LearntFrom,
    measured: _Measured | None,
) -> None:
    templates = Environment(
        loader=PackageLoader("worker.finetune"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = templates.get_template("report.html").render(
        title=title, verdict=verdict, learnt_from=learnt_from, measured=measured
    )
    for name, text in (("report.json", json.dumps(report, indent=2)), ("report.html", page)):
        with replace_file(folder / name) as partial:
            partial.write_text(text + "\n")


def _curves(log: Path) -> tuple[Line | None, Line | None]:
    """The loss of the masks' codes, and the mean IoU on some holdout images, by step."""
    curve = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    losses = [(line["step"], line["codes"]) for line in curve if "codes" in line]
    measured = [(line["step"], line["giou"]) for line in curve if line.get("giou") is not None]
    return place_line(losses), place_line(measured)


def _figures(of_models: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for part in ("holdout", "replay"):
        for key, shown in _SHOWN.items():
            live, candidate = (_number(of_models[side][part][key]) for side in ("live", "candidate"))
            yield f"{part}: {shown}", live, candidate
    for name, value in of_models["live"]["holdout"]["baselines"].items():
        yield f"holdout: mean IoU of a trivial answer ({name})", _number(value), ""


@dataclass(frozen=True)
class _Shown:
    """An item that is shown: the number of its pictures, and both models' rows."""

    number: int
    live: ItemResult
    candidate: ItemResult

    @property
    def change(self) -> float:
        return self.candidate.iou - self.live.iou


def _most_changed(folder: Path, live: Sequence[ItemResult], candidate: Sequence[ItemResult]) -> list[_Shown]:
    """Of each image the item with an object that changed most, the largest change first; of those that were drawn."""
    pairs = enumerate(zip(live, candidate, strict=True))
    items = [_Shown(number, before, after) for number, (before, after) in pairs]
    drawn = [each for each in items if each.live.area and _picture(folder, "live", each, "truth").is_file()]
    drawn.sort(key=lambda each: -abs(each.change))
    chosen: dict[str, _Shown] = {}
    for each in drawn:
        chosen.setdefault(each.live.image, each)
    return list(chosen.values())[:_PICTURES]


def _picture(folder: Path, side: str, shown: _Shown, what: str) -> Path:
    return folder / side / "pictures" / f"{shown.number}-{what}.jpg"


def _pictures(folder: Path, names: tuple[str, str], item: _Shown) -> Iterator[_Picture]:
    shown = [
        (_picture(folder, "live", item, "truth"), f"as corrected: {item.live.prompt}"),
        (_picture(folder, "live", item, "answer"), f"before: {names[0]}, IoU {item.live.iou:.3f}"),
        (_picture(folder, "candidate", item, "answer"),
         f"after: {names[1]}, IoU {item.candidate.iou:.3f} ({item.change:+.3f})"),
    ]  # fmt: skip
    for file, caption in shown:
        if file.is_file():
            yield _Picture(base64.b64encode(file.read_bytes()).decode(), caption)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _is_replay(row: ItemResult) -> bool:
    return row.source.split(":")[0] == "replay"

"""A run's report: report.json, and report.html, one file that opens anywhere and that a person understands."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from argenseg_model.evaluation import ItemResult, figures
from argenseg_model.files import replace_file
from labeling.gate import GateReport
from worker.finetune.learnt_from import LearntFrom

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.verdict { padding: .7rem 1rem; border-radius: .4rem; background: #fdecea } .verdict.passed { background: #e6f4ea }
table { border-collapse: collapse } td, th { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: right }
td:first-child, th:first-child { text-align: left } .no { color: #b3261e } .row { display: flex; gap: .7rem }
figure { margin: .5rem 0; flex: 1 } figure img { width: 100% } figcaption { color: #555; font-size: .85rem }
"""
_SHOWN = {"giou": "gIoU (mean IoU)", "ciou": "cIoU", "boundary_iou": "boundary IoU", "object_f1": "object F1",
          "false_positives": "drawn where the label is absent"}  # fmt: skip
_PICTURES = 8


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
    title = f"{candidate}: {'passed the gate' if verdict.passed else 'did not pass the gate'}"
    compared = f"<b>{escape(candidate)}</b> against <b>{escape(live)}</b> "
    shown = _most_changed(folder, live_rows, candidate_rows)
    body = f"""<h2>Changes, with their intervals</h2>{_intervals(report["gate"]["checks"])}
<h2>Figures</h2>{_table(report["figures"], (live, candidate))}
{_curves(folder / "log.jsonl")}
<h2>Holdout images that changed most</h2>{_pictures(folder, (live, candidate), shown)}"""
    _write(folder, report, _page(title, compared, verdict, learnt_from, body))
    return report


def write_refusal(folder: Path, number: int, verdict: GateReport, learnt_from: LearntFrom) -> dict[str, Any]:
    """The same of run `number`, which ended before anything was learnt: why, and what there is to learn from."""
    report = {"gate": verdict.to_json(), "learnt_from": learnt_from.to_json()}
    _write(folder, report, _page(f"Run {number}: no new version", "Nothing was measured ", verdict, learnt_from, ""))
    return report


def _write(folder: Path, report: dict[str, Any], page: str) -> None:
    for name, text in (("report.json", json.dumps(report, indent=2) + "\n"), ("report.html", page)):
        with replace_file(folder / name) as partial:
            partial.write_text(text)


def _page(title: str, compared: str, verdict: GateReport, learnt_from: LearntFrom, body: str) -> str:
    """`compared` and `body` are HTML."""
    title = escape(title)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>
<h1>{title}</h1>
<div class="verdict{" passed" * verdict.passed}">{compared}on holdout <code>{escape(verdict.snapshot)}</code>
{_list(verdict.reasons)}</div>
<h2>What it learnt from</h2>{_list(learnt_from.tell())}<p>Data set <code>{escape(learnt_from.data_set)}</code></p>
{body}</html>
"""


def _list(sentences: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in sentences)}</ul>"


def _curves(log: Path) -> str:
    curve = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    losses = [(line["step"], line["codes"]) for line in curve if "codes" in line]
    measured = [(line["step"], line["giou"]) for line in curve if line.get("giou") is not None]
    return f"""<h2>Learning</h2><div class="row">
<figure>{_plot(losses)}<figcaption>loss of the mask's codes</figcaption></figure>
<figure>{_plot(measured)}<figcaption>mean IoU on some holdout images</figcaption></figure></div>"""


def _table(all_figures: dict[str, Any], names: tuple[str, str]) -> str:
    rows = ""
    for part in ("holdout", "replay"):
        for key, shown in _SHOWN.items():
            values = [_number(all_figures[side][part][key]) for side in ("live", "candidate")]
            rows += f"<tr><td>{part}: {shown}<td>{values[0]}<td>{values[1]}"
    for name, value in all_figures["live"]["holdout"]["baselines"].items():
        rows += f"<tr><td>holdout: mean IoU of a trivial answer ({escape(name)})<td>{_number(value)}<td>"
    return f"<table><tr><th><th>{escape(names[0])}<th>{escape(names[1])}{rows}</table>"


def _intervals(checks: Sequence[dict[str, Any]]) -> str:
    """A line for each check: the change as a dot on its interval, 0 in the middle."""
    reach: float = max([0.05, *(abs(check[key] or 0) for check in checks for key in ("low", "high", "change"))]) * 1.1

    def x(value: float) -> float:
        return 650 + 140 * value / reach  # beside the longest name

    parts = []
    for number, check in enumerate(checks):
        y, colour = 22 + 30 * number, "#1e7d34" if check["passed"] else "#b3261e"
        low, high = check["low"], check["high"]
        bar = "" if low is None else f'<line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y}" y2="{y}" stroke-width="4"/>'
        name = f"{escape(check['name'])} ({check['images']} images)"
        parts.append(
            f'<text x="0" y="{y + 5}" fill="#222" stroke="none">{name}</text>'
            f'<g stroke="{colour}" fill="{colour}">{bar}<circle cx="{x(check["change"]):.1f}" cy="{y}" r="5"/></g>'
            f'<text x="810" y="{y + 5}" fill="{colour}" stroke="none">{check["change"]:+.3f}</text>'
        )
    height = 30 * len(checks) + 10
    zero = f'<line x1="650" x2="650" y1="5" y2="{height - 5}" stroke="#999" stroke-dasharray="3"/>'
    return f'<svg viewBox="0 0 880 {height}" width="880" font-size="14">{zero}{"".join(parts)}</svg>' if checks else "–"


def _plot(points: Sequence[tuple[float, float]]) -> str:
    """A line through (step, value) with the ends of both axes written out."""
    if len(points) < 2:
        return "too few points to plot"
    (x_low, x_high), (y_low, y_high) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
    y_span, x_span = (y_high - y_low) or 1.0, (x_high - x_low) or 1.0
    line = " ".join(f"{45 + 340 * (x - x_low) / x_span:.1f},{150 - 130 * (y - y_low) / y_span:.1f}" for x, y in points)
    marks = [(0, 24, y_high, ".3f"), (0, 154, y_low, ".3f"), (45, 172, x_low, ".0f"), (365, 172, x_high, ".0f")]
    texts = "".join(f'<text x="{x}" y="{y}">{value:{form}}</text>' for x, y, value, form in marks)
    path = f'<polyline points="{line}" fill="none" stroke="#1a73e8" stroke-width="2"/>'
    return f'<svg viewBox="0 0 400 180" font-size="11">{texts}{path}</svg>'


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


def _pictures(folder: Path, names: tuple[str, str], items: Sequence[_Shown]) -> str:
    rows = ""
    for item in items:
        shown = [
            (_picture(folder, "live", item, "truth"), f"as corrected: {item.live.prompt}"),
            (_picture(folder, "live", item, "answer"), f"before: {names[0]}, IoU {item.live.iou:.3f}"),
            (_picture(folder, "candidate", item, "answer"),
             f"after: {names[1]}, IoU {item.candidate.iou:.3f} ({item.change:+.3f})"),
        ]  # fmt: skip
        cells = "".join(
            f'<figure><img alt="" src="data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
            for file, caption in shown
            if file.is_file()
        )
        rows += f'<div class="row">{cells}</div>'
    return rows or "none"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _is_replay(row: ItemResult) -> bool:
    return row.source.split(":")[0] == "replay"

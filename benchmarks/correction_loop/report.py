"""The experiment for people: a plot (PNG) and a table (markdown) of what results.json holds."""

from pathlib import Path
from typing import Any

from argenseg_model.files import replace_file

_PANELS = {
    "iou": "IoU (mean over images)",
    "f1": "object F1 at IoU 0.5",
    "accepted": "regions accepted unedited",
    "changed": "pixels to change / pixels of nuclei",
}
_ELSEWHERE = {"fluorescence": "fluorescence images", "scenes": "drawn scenes"}
_AIM = 0.78


def write_report(content: dict[str, Any], out: Path) -> None:
    """loop.png and loop.md in `out`."""
    _plot(content, out / "loop.png")
    with replace_file(out / "loop.md") as partial:
        partial.write_text(_table(content))


def _table(content: dict[str, Any]) -> str:
    names = [*_PANELS, *_ELSEWHERE]
    lines = [
        "| corrected images | verdict | " + " | ".join(({**_PANELS, **_ELSEWHERE})[name] for name in names) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for record in content["rounds"]:
        figures = record.get("candidate", record["test"])
        cells = " | ".join(_cell(figures[name]) for name in names)
        lines.append(f"| {record['corrected']} | {record['verdict'] or 'the starter'} | {cells} |")
    if ceiling := content.get("ceiling"):
        lines.append("| all at once | ceiling | " + " | ".join(_cell(ceiling[name]) for name in names) + " |")
    baseline = " | ".join(_cell(content["otsu"].get(name)) for name in names)
    lines.append(f"| – | inverted Otsu | {baseline} |")
    return "\n".join(lines) + "\n"


def _cell(figure: list[float] | None) -> str:
    return "–" if figure is None else f"{figure[0]:.3f} ({figure[1]:.3f}–{figure[2]:.3f})"


def _plot(content: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rounds = content["rounds"]
    corrected = [record["corrected"] for record in rounds]
    figure, axes = plt.subplots(1, 5, figsize=(17, 3.8), layout="constrained")
    for axis, (name, title) in zip(axes[:4], _PANELS.items(), strict=True):
        _band(axis, corrected, [record["test"][name] for record in rounds], "active version", "#1a73e8")
        refused = [record for record in rounds if record["verdict"] == "refused"]
        axis.plot(
            [record["corrected"] for record in refused],
            [record["candidate"][name][0] for record in refused],
            "x", color="#b3261e", label="refused by the gate",
        )  # fmt: skip
        value, low, high = content["otsu"][name]
        axis.axhline(value, color="#888", linestyle="--", label="inverted Otsu")
        axis.axhspan(low, high, color="#888", alpha=0.12)
        if "ceiling" in content:
            axis.axhline(content["ceiling"][name][0], color="#e8710a", linewidth=1, label="all images at once")
        axis.set_title(title, fontsize=10)
    axes[0].axhline(_AIM, color="#1e7d34", linewidth=0.8, linestyle=":", label=f"aim {_AIM}")
    axes[0].legend(fontsize=8)
    for (name, title), colour in zip(_ELSEWHERE.items(), ("#e8710a", "#8430ce"), strict=True):
        _band(axes[4], corrected, [record["test"][name] for record in rounds], title, colour)
    axes[4].set_title("not forgotten: IoU elsewhere", fontsize=10)
    axes[4].legend(fontsize=8)
    for axis in axes:
        axis.set_xlabel("corrected images", fontsize=9)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.25)
    with replace_file(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    plt.close(figure)


def _band(axis: Any, x: list[int], figures: list[list[float]], label: str, colour: str) -> None:
    values, lows, highs = zip(*figures, strict=True)
    axis.plot(x, values, "o-", color=colour, label=label)
    axis.fill_between(x, lows, highs, color=colour, alpha=0.15)

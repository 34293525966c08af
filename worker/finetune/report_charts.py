"""Where the dots, bars and lines of a report's charts are, in px; `templates/report_charts.html` draws them."""

from collections.abc import Sequence
from dataclasses import dataclass

from labeling.gate import GateCheck

_ZERO = 650  # beside the longest name
_REACH = 140
_LEAST_REACH = 0.05  # of figures from 0 to 1: smaller changes stay small to the eye
_ROW = 30


@dataclass(frozen=True)
class Bar:
    """A check: the change as a `dot` at (dot, y), and its interval's `ends` where it has one."""

    name: str
    passed: bool
    change: float
    y: int
    dot: float
    ends: tuple[float, float] | None


@dataclass(frozen=True)
class Intervals:
    """All checks of a gate, one below the other."""

    bars: tuple[Bar, ...]
    height: int
    zero: int = _ZERO


@dataclass(frozen=True)
class Line:
    """A curve of at least two points as SVG has it, "x,y x,y …", and the ends of its axes."""

    points: str
    lowest: float
    highest: float
    first_step: float
    last_step: float


def place_intervals(checks: Sequence[GateCheck]) -> Intervals:
    """The checks' bars, all on the scale that the widest needs."""
    values = (abs(value or 0) for check in checks for value in (check.low, check.high, check.change))
    scale = _REACH / (max([_LEAST_REACH, *values]) * 1.1)

    def x(value: float) -> float:
        return _ZERO + scale * value

    bars = tuple(
        Bar(
            name=f"{check.name} ({check.images} images)",
            passed=check.passed,
            change=check.change,
            y=22 + _ROW * number,
            dot=x(check.change),
            ends=None if check.low is None or check.high is None else (x(check.low), x(check.high)),
        )
        for number, check in enumerate(checks)
    )
    return Intervals(bars, _ROW * len(checks) + 10)


def place_line(points: Sequence[tuple[float, float]]) -> Line | None:
    """A line through (step, value); None if there are too few points."""
    if len(points) < 2:
        return None
    (x_low, x_high), (y_low, y_high) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
    y_span, x_span = (y_high - y_low) or 1.0, (x_high - x_low) or 1.0
    line = " ".join(f"{45 + 340 * (x - x_low) / x_span:.1f},{150 - 130 * (y - y_low) / y_span:.1f}" for x, y in points)
    return Line(line, y_low, y_high, x_low, x_high)

"""Charts as `static/charts.js` draws them: JSON in the page, for data that never becomes a script."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Literal

from labeling.corrections.intervals import Figure


@dataclass(frozen=True)
class Series:
    """One line. `colour` is a variable of the style sheet; `low` and `high` are the interval's ends."""

    name: str
    colour: str
    values: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, name: str, number: int, figures: Iterable[Figure]) -> "Series":
        """Line `number` (from 1), a figure for each x."""
        found = list(figures)
        return cls(
            name,
            f"series-{number}",
            tuple(each.value for each in found),
            tuple(each.low for each in found),
            tuple(each.high for each in found),
            tuple(each.count for each in found),
        )


@dataclass(frozen=True)
class Chart:
    """Over time (`x`: seconds since 1970) or over scores (0..1). `top` is the end of the y axis, None: by the data."""

    kind: Literal["time", "score"]
    format: Literal["percent", "ratio", "seconds"]
    x: tuple[float, ...]
    series: tuple[Series, ...]
    top: float | None = 1.0
    period: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return all(value is None for each in self.series for value in each.values)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return asdict(self)


def over_time(days: Sequence[str], period: str, series: Iterable[Series], **options: Any) -> Chart:
    """A chart whose x are days such as "2026-11-23"."""
    x = tuple(datetime.combine(date.fromisoformat(each), time(), UTC).timestamp() for each in days)
    return Chart(kind="time", x=x, series=tuple(series), period=period, **options)

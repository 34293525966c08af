"""What could not be used of a file, reported in a bounded number of lines."""

from collections import Counter
from pathlib import Path

_SHOWN = 20


class Problems:
    """Collects them; the first are kept word by word, of the others the number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown: list[str] = []
        self._count: Counter[str] = Counter()

    def add(self, what: str, reason: object) -> None:
        """`what`: "annotation 7", whose first word is what is counted."""
        self._count[what.split()[0]] += 1
        if len(self._shown) < _SHOWN:
            self._shown.append(f"{self._path.name}, {what} is left out: {str(reason)[:200]}")

    def lines(self) -> tuple[str, ...]:
        """For a person."""
        more = self._count.total() - len(self._shown)
        reported = ", ".join(f"{count} {kind}s" for kind, count in sorted(self._count.items()))
        return (*self._shown, f"… and {more} more; in all {reported}.") if more > 0 else tuple(self._shown)

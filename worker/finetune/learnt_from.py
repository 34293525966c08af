"""What a run learns from, what is held out, and what was left out: counts for its report, and in words for people."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from labeling.gate import HeldOut

if TYPE_CHECKING:
    from argenseg_model.manifest import Manifest


LEFT_OUT = "left-out.json"  # beside the manifest: how much was left out, by the reason


@dataclass(frozen=True)
class LearntFrom:
    """Counts of a run's manifest.

    Attributes:
        images, annotations: what is new in `train`.
        masks, absent: its items: corrected masks, and labels that are not there.
        replay: items of base data in `train`.
        holdout_images: that have an object of the project's own to find, or an absent label.
        data_set: the manifest's digest, as the store knows it.
        steps: 0 where nothing was learnt.
        left_out: annotations, labels and prompts by the reason; empty for a manifest that was given.
    """

    images: int
    annotations: int
    masks: int
    absent: int
    replay: int
    holdout_images: int
    data_set: str
    steps: int
    left_out: dict[str, int]

    @classmethod
    def of(cls, manifest: "Manifest", path: Path, *, steps: int) -> Self:
        """Count the manifest that was read from `path`; the reasons are read from beside it."""
        train = manifest.split("train").items
        new = [item for item in train if not item.is_replay]
        return cls(
            images=len({item.image for item in new}),
            annotations=len({item.source.partition(":")[2] for item in new}),
            masks=sum(item.mask is not None for item in new),
            absent=sum(item.mask is None for item in new),
            replay=len(train) - len(new),
            holdout_images=len({item.image for item in manifest.split("holdout").items if not item.is_replay}),
            data_set=manifest.digest(),
            steps=steps,
            left_out=_read_left_out(path.with_name(LEFT_OUT)),
        )

    def to_json(self) -> dict[str, Any]:
        """A plain dict, for a file or a database column; `LearntFrom(**it)` is the same again."""
        return asdict(self)

    def tell_shortly(self) -> str:
        """One line."""
        left_out = f", {sum(self.left_out.values())} left out" if self.left_out else ""
        learnt = "learnt from" if self.steps else "would have learnt from"
        return f"{learnt} {_count(self.images, 'image')}, {self.holdout_images} held out{left_out}"

    def tell(self) -> list[str]:
        """A sentence for each thing."""
        learnt = f"Learnt in {self.steps} steps" if self.steps else "Nothing was learnt; there is to learn"
        return [
            f"{learnt} from {_count(self.images, 'image')} with {_count(self.masks, 'corrected mask')} and "
            f"{_count(self.absent, 'label')} that {'is' if self.absent == 1 else 'are'} not there, of "
            f"{_count(self.annotations, 'annotation')}.",
            f"Beside these, base data: {_count(self.replay, 'item')}, and drawn scenes.",
            f"Held out, to measure on: {_count(self.holdout_images, 'image')}.",
            *(f"Left out: {count}: {reason.rstrip('.')}." for reason, count in sorted(self.left_out.items())),
        ]


def held_out(manifest: "Manifest") -> list[HeldOut]:
    """The items of the holdout, for the gate to count."""
    return [
        HeldOut(item.image, item.group, item.source, int(item.decode_mask().sum()))
        for item in manifest.split("holdout").items
    ]


def _read_left_out(path: Path) -> dict[str, int]:
    with suppress(OSError, ValueError):
        counts: dict[str, int] = json.loads(path.read_text())
        return counts
    return {}


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"

"""Model versions as a family: which learnt from which, what the gate said, and where each is active."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from labeling.settings import Settings
from labeling.store import FinetuneRun, ModelVersion, Store
from labeling.versions import weights_name


@dataclass(frozen=True)
class Member:
    """A model of the family. `version` is None of one that no run made: a base. `depth` counts its ancestors.

    `active_for`: "default", "project 3". `run` is what made it, where that is known here.
    """

    name: str
    depth: int
    version: ModelVersion | None
    active_for: tuple[str, ...]
    run: FinetuneRun | None

    @property
    def checks(self) -> tuple[dict[str, Any], ...]:
        """The gate's checks (GateCheck as JSON); none where it has not judged."""
        return tuple(self._gate.get("checks") or ())

    @property
    def reasons(self) -> tuple[str, ...]:
        """The gate's sentences."""
        return tuple(self._gate.get("reasons") or ())

    @property
    def _gate(self) -> dict[str, Any]:
        return ((self.version.report if self.version else None) or {}).get("gate") or {}


def look_at_family(settings: Settings, store: Store) -> list[Member]:
    """Each base with all that descends from it, the newest child first. Versions whose parent is unknown are bases'."""
    versions = store.models.all()
    runs = {run.candidate: run for run in reversed(store.finetunes.newest(1000)) if run.candidate is not None}
    names = {each.name for each in versions}
    children: dict[str, list[ModelVersion]] = {}
    for version in versions:
        children.setdefault(version.parent, []).append(version)
    base = weights_name(settings.model)[0]
    roots = dict.fromkeys([base, *(parent for parent in children if parent not in names)])
    by_default = store.models.active() is None

    def descend(name: str, depth: int, version: ModelVersion | None) -> Iterator[Member]:
        is_ours = version is None and name == base
        active = (
            tuple(store.models.active_for(name)) if version is not None else ("default",) * (is_ours and by_default)
        )
        yield Member(name, depth, version, active, runs.get(name) if version is not None else None)
        for child in children.get(name, ()):
            yield from descend(child.name, depth + 1, child)

    return [member for root in roots for member in descend(root, 0, None)]

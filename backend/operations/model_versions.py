"""Fine-tuned model versions: what a promotion would do, doing it, going back, deleting weights."""

import shutil
from dataclasses import dataclass

from labeling.settings import Settings
from labeling.store import ModelVersion, Project, Store
from worker.finetune import promotion

BASE = "base"  # how the model of the settings is named where a version is asked for


@dataclass(frozen=True)
class PromotionPlan:
    """What promoting `version` (None: the model of the settings) does.

    `doubt` is what the gate says against it, "" where it accepted it. The open tasks of `predicted` are predicted with
    it first; none where Label Studio is not known (`is_connected`), or no project is without a version of its own.
    """

    version: ModelVersion | None
    project: Project | None
    doubt: str
    predicted: tuple[Project, ...]
    is_connected: bool

    @property
    def needs_consent(self) -> bool:
        """Whether a person should think twice: the gate did not accept it, or it changes several projects."""
        return bool(self.doubt) or (self.project is None and bool(self.predicted))


@dataclass(frozen=True)
class Promoted:
    """What is active now, by name, and a sentence for each project whose annotators go on seeing something else."""

    active: str
    unseen: tuple[str, ...]


def plan_promotion(settings: Settings, store: Store, name: str, project: Project | None) -> PromotionPlan:
    """Look before `promote`, with the same arguments. StoreError where there is no such version."""
    version = None if name == BASE else store.models.get(name)
    return PromotionPlan(
        version,
        project,
        doubt="" if version is None or version.state == "accepted" else _doubt(version),
        predicted=tuple(promotion.served_projects(settings, store, project)),
        is_connected=settings.label_studio_url is not None and settings.label_studio_api_key is not None,
    )


def promote(settings: Settings, store: Store, name: str, project: Project | None) -> Promoted:
    """Make a version (BASE: the model of the settings) active for a project, or for all that have none of their own.

    It waits until open tasks are predicted. Errors as those of `worker.finetune.promotion.promote`.
    """
    unseen = promotion.promote(settings, store, None if name == BASE else name, project)
    return Promoted(name, tuple(unseen))


def roll_back(settings: Settings, store: Store, project: Project | None) -> Promoted:
    """Make active what was so before, for a project or by default; else as `promote`."""
    version, unseen = promotion.roll_back(settings, store, project)
    return Promoted(settings.model if version is None else version.name, tuple(unseen))


def delete_weights(store: Store, name: str) -> None:
    """Delete the weights of a version; its row and its report stay. StoreError where it is active somewhere."""
    version = store.models.delete(name)
    shutil.rmtree(version.folder, ignore_errors=True)


def gate_reasons(version: ModelVersion) -> tuple[str, ...]:
    """The gate's sentences; none where it has not judged."""
    return tuple(((version.report or {}).get("gate") or {}).get("reasons", ()))


def _doubt(version: ModelVersion) -> str:
    word = "refused it" if version.state == "refused" else "has not judged it"
    return f"The gate {word}. {' '.join(gate_reasons(version))}".rstrip()

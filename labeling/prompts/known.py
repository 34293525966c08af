"""Prompts that a model was never taught: an empty answer to one of those says nothing about the picture. No torch."""

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from argenseg_model.known_names import Known, KnownNames
from labeling.prompts.label_config import LabelConfig
from labeling.prompts.plan import PromptPlan
from labeling.settings import Settings
from labeling.versions import model_folder

_KNOWS_ALL = KnownNames({}, frozenset())
_SHOWN_PROMPTS = 3


def known_names(settings: Settings, model: str) -> KnownNames:
    """The names that a model (a folder, hub id, or "starter") was taught, of its config.json.

    One that keeps no such list, is not on this host, or is loaded by a MODEL_LOADER is taken to know everything.
    """
    if settings.model_loader:
        return _KNOWS_ALL
    file = model_folder(model) / "config.json"
    try:
        return _read_names(str(file), file.stat().st_mtime_ns)
    except OSError:
        return _KNOWS_ALL


@lru_cache(maxsize=32)
def _read_names(file: str, modified_ns: int) -> KnownNames:
    try:
        config = json.loads(Path(file).read_text(encoding="utf-8"))
        names = {str(name): [str(form) for form in forms] for name, forms in (config["known_names"] or {}).items()}
        return KnownNames(names, frozenset(map(str, config.get("known_words") or ())))
    except (ValueError, KeyError, TypeError, AttributeError):
        return _KNOWS_ALL


def unknown_prompts(names: KnownNames, prompts: Iterable[str]) -> dict[str, Known]:
    """Those of the prompts that the model was not taught, and what of them it was."""
    looked_up = {prompt: names.look_up(prompt) for prompt in prompts}
    return {prompt: known for prompt, known in looked_up.items() if not known.is_known}


def unknown_notes(names: KnownNames, config: LabelConfig) -> list[str]:
    """A sentence for people about each label of a config whose prompts, or exceptions, the model was not taught."""
    notes = []
    for control in config.controls:
        for label in control.labels:
            where = f'Label "{label.label}"' if label.label is not None else f'The tag "{control.name}"'
            said = _said(unknown_prompts(names, (*label.prompts, *label.exclude)))
            notes += [f"{where} asks {said}."] if said else []
    return notes


def why_nothing_was_found(names: KnownNames, plan: PromptPlan) -> str | None:
    """Why an empty answer to a plan says nothing about the picture, in words that say what to do; None: it does."""
    unknown = unknown_prompts(names, (item.prompt for item in plan.items))
    if not unknown:
        return None
    said = _said(unknown) if len(plan.items) > 1 else str(next(iter(unknown.values())))
    return (
        f"{said[:1].upper()}{said[1:]}. It found nothing, which does not mean that nothing is there: ask with a name"
        " that it knows, or annotate some tasks and fine-tune."
    )


def _said(unknown: dict[str, Known]) -> str:
    shown = [f'"{prompt}": {known}' for prompt, known in list(unknown.items())[:_SHOWN_PROMPTS]]
    shown += [f"and {len(unknown) - _SHOWN_PROMPTS} more"] if len(unknown) > _SHOWN_PROMPTS else []
    return "; ".join(shown)

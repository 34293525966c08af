"""Which label is meant, and which wordings of its prompt are tried."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from argenseg_model.known_names import Known, KnownNames
from labeling.answers import questions
from labeling.errors import LabelConfigError
from labeling.prompts.known import unknown_prompts
from labeling.prompts.label_config import Control, LabelConfig, LabelPrompt
from labeling.prompts.plan import PromptedLabel, PromptPlan
from labeling.prompts.wording import SEPARATOR, split_prompts


@dataclass(frozen=True)
class Wording:
    """A wording as it was given, and what it asks of the model: as if it stood in the label config, or as it does."""

    text: str
    items: tuple[PromptedLabel, ...]
    is_current: bool

    @property
    def questions(self) -> tuple[str, ...]:
        """What it asks of the model about each image, what is excluded too: each costs a pass."""
        return questions(PromptPlan(self.items))

    def unknown(self, names: KnownNames) -> dict[str, Known]:
        """Its prompts that a model of these names was not taught, and what of them it was."""
        return unknown_prompts(names, (item.prompt for item in self.items))

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts, for a database column."""
        return {"text": self.text, "items": PromptPlan(self.items).to_json(), "is_current": self.is_current}

    @classmethod
    def from_json(cls, wording: dict[str, Any]) -> "Wording":
        """The inverse of `to_json`."""
        return cls(wording["text"], PromptPlan.from_json(wording["items"]).items, wording["is_current"])


def find_label(config: LabelConfig, name: str | None) -> tuple[Control, LabelPrompt]:
    """The label of this name, or the only one. LabelConfigError lists the labels if that does not name one."""
    labels = promptable_labels(config)
    found = [pair for pair in labels if name is None or pair[1].label == name]
    if len(found) != 1:
        names = ", ".join(repr(label.label) for _, label in labels if label.label is not None)
        raise LabelConfigError(f"Which label is meant? Give one of {names or 'none: the tag has no labels'}.")
    return found[0]


def promptable_labels(config: LabelConfig) -> list[tuple[Control, LabelPrompt]]:
    """All labels with their tags; of a plain tag, whose tasks bring their prompts, one without a name."""
    labels = [(control, label) for control in config.controls for label in control.labels]
    return labels or [(config.controls[0], LabelPrompt(None, (), (), config.controls[0].options))]


def make_wordings(control: Control, label: LabelPrompt, texts: Sequence[str]) -> list[Wording]:
    """The label's prompts of now, if it has some, and each of `texts`, which may be several prompts ("a; b")."""
    place = (control.name, control.to_name, control.type, label.exclude, label.options)
    asked = dict.fromkeys(prompts for prompts in (label.prompts, *map(split_prompts, texts)) if prompts)
    return [
        Wording(
            f"{SEPARATOR} ".join(prompts),
            tuple(PromptedLabel(label.label, prompt, *place) for prompt in prompts),
            is_current=prompts == label.prompts,
        )
        for prompts in asked
    ]


def all_questions(wordings: Sequence[Wording]) -> tuple[str, ...]:
    """Of all wordings; what several of them ask is one question."""
    return questions(PromptPlan(tuple(item for wording in wordings for item in wording.items)))

"""What the model is asked about one task: prompts, and the label and tag that each one's masks go to."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from labeling.prompts.focus import Focus
from labeling.prompts.interaction import Interaction
from labeling.prompts.label_config import Control, LabelConfig, LabelPrompt
from labeling.prompts.region_options import DEFAULT_OPTIONS, RegionOptions
from labeling.prompts.wording import clean_prompt, question_key, split_prompts


@dataclass(frozen=True)
class PromptedLabel:
    """One prompt, and where its mask goes: together with those of other prompts of the same label and tag.

    `label` is None for a plain tag such as <Brush>, which has no labels. What `exclude` finds is taken away. `focus` is
    where in the image the annotator pointed.
    """

    label: str | None
    prompt: str
    from_name: str
    to_name: str
    region_type: str
    exclude: tuple[str, ...] = ()
    options: RegionOptions = DEFAULT_OPTIONS
    focus: Focus | None = None


_LEAST_LETTERS = 3
_COMMON = frozenset(("all", "and", "any", "are", "both", "each", "every", "for", "from", "not", "that", "the", "with"))
_ITEMS = TypeAdapter(tuple[PromptedLabel, ...])


@dataclass(frozen=True)
class PromptPlan:
    """The prompts of one task, in the order of the label config."""

    items: tuple[PromptedLabel, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain lists and dicts, for a database column or a job; without what is as usual."""
        items: list[dict[str, Any]] = _ITEMS.dump_python(self.items, mode="json", exclude_defaults=True)
        return items

    @classmethod
    def from_json(cls, items: list[dict[str, Any]]) -> "PromptPlan":
        """The inverse of `to_json`, also of that of earlier releases."""
        return cls(_ITEMS.validate_python(items))

    def digest(self) -> str:
        """SHA-256 (hex) of the plan: equal plans have equal digests in every process and version of Python."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


def plan_prompts(config: LabelConfig, task_data: Mapping[str, Any], asked: Interaction | None = None) -> PromptPlan:
    """Decide what to ask for one task.

    Text that the annotator typed is asked alone, for one label. For a smart box or point the prompts of its label are
    asked, or the first label's if it has none. Otherwise every label's prompts are asked. `task_data["prompt"]`
    replaces those of the first label. An answer that somebody asked for has no score threshold, and no smallest area
    where it was pointed at.
    """
    drawn = [(control, label) for control in config.controls for label in control.labels]
    if not drawn:  # a plain tag: its prompts are in the tasks, or typed
        drawn = [(config.controls[0], LabelPrompt(None, (), (), config.controls[0].options))]
    own = split_prompts(task_data["prompt"]) if isinstance(task_data.get("prompt"), str) else ()
    if own:
        control, first = drawn[0]
        drawn[0] = control, replace(first, prompts=own)
    if asked is not None and asked.text is not None:
        control, label = _typed_for(asked.text, drawn)
        drawn = [(control, replace(label, prompts=split_prompts(asked.text), exclude=()))]
    elif asked is not None:
        same = drawn[:1] if asked.label is None else [pair for pair in drawn if pair[1].label == asked.label]
        drawn = same or [pair for pair in drawn[:1] if pair[1].label is None]
    focus = asked.focus if asked is not None else None
    return PromptPlan(
        tuple(item for control, label in drawn for item in _items(control, label, focus, asked is not None))
    )


def _items(control: Control, label: LabelPrompt, focus: Focus | None, is_interactive: bool) -> Iterator[PromptedLabel]:
    options = replace(label.options, score_threshold=0.0) if is_interactive else label.options
    options = options if focus is None else replace(options, min_area=0)
    for prompt in label.prompts:
        yield PromptedLabel(
            label.label, prompt, control.name, control.to_name, control.type, label.exclude, options, focus
        )


def _typed_for(text: str, drawn: Sequence[tuple[Control, LabelPrompt]]) -> tuple[Control, LabelPrompt]:
    """The label that a typed text is meant for: the one of which it holds the longest value, alias or prompt, in
    singular or plural; else the one of which it holds the longest word; else the first.
    """
    text = question_key(clean_prompt(text))
    for names_of in (_phrases, _words):
        found = [max((len(name) for name in names_of(label) if _holds(text, name)), default=0) for _, label in drawn]
        if max(found) > 0:
            return drawn[found.index(max(found))]
    return drawn[0]


def _phrases(label: LabelPrompt) -> list[str]:
    return [question_key(clean_prompt(name)) for name in (*label.names, *label.prompts)]


def _words(label: LabelPrompt) -> list[str]:
    words = [word for phrase in _phrases(label) for word in re.findall(r"\w+", phrase)]
    return [word for word in words if len(word) >= _LEAST_LETTERS and word not in _COMMON]


def _holds(text: str, name: str) -> bool:
    """Whether the text says it, as whole words. One letter is too often a word of its own to be a name in a text."""
    if len(name) == 1:
        return text == name
    forms = rf"{re.escape(name)}(?:e?s)?|{re.escape(name.removesuffix('s'))}"
    return bool(name) and re.search(rf"(?<!\w)(?:{forms})(?!\w)", text) is not None

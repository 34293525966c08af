"""What the model is asked about one task: prompts, and the label and tag that each one's masks go to."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from labeling.prompts.label_config import BrushControl, LabelConfig

MAX_PROMPT_CHARACTERS = 500


@dataclass(frozen=True)
class PromptedLabel:
    """One prompt, and where its mask goes. `label` is None for a plain <Brush>, which has no labels."""

    label: str | None
    prompt: str
    from_name: str
    to_name: str
    region_type: str


@dataclass(frozen=True)
class PromptPlan:
    """The prompts of one task, in the order of the label config."""

    items: tuple[PromptedLabel, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain lists and dicts, for a database column or a job."""
        return [asdict(item) for item in self.items]

    @classmethod
    def from_json(cls, items: list[dict[str, Any]]) -> "PromptPlan":
        """The inverse of `to_json`."""
        return cls(tuple(PromptedLabel(**item) for item in items))

    def digest(self) -> str:
        """SHA-256 (hex) of the plan: equal plans have equal digests in every process and version of Python."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


def plan_prompts(config: LabelConfig, task_data: Mapping[str, Any], typed_text: str | None = None) -> PromptPlan:
    """Decide what to ask for one task.

    Text that the annotator typed is one prompt alone; it goes to the only label whose name is in it, else to the first.
    Otherwise every label's prompts are asked; `task_data["prompt"]` replaces those of the first label.
    Prompts lose control characters and are cut at 500 characters; empty ones are left out.
    """
    brush = config.brush
    names = list(dict.fromkeys(item.label for item in brush.labels))
    first = names[0] if names else None
    if typed_text is not None:
        named = [name for name in names if _names(typed_text, name)]
        pairs = [(named[0] if len(named) == 1 else first, typed_text)]
    else:
        pairs = [(item.label, item.prompt) for item in brush.labels]
        own = task_data.get("prompt")
        if isinstance(own, str) and clean_prompt(own):
            pairs = [(first, own), *((label, prompt) for label, prompt in pairs if label != first)]
    return PromptPlan(tuple(_item(brush, label, text) for label, prompt in pairs if (text := clean_prompt(prompt))))


def clean_prompt(text: str) -> str:
    """One line without control characters, at most 500 characters."""
    visible = "".join(" " if unicodedata.category(character)[0] == "C" else character for character in text)
    return " ".join(visible.split())[:MAX_PROMPT_CHARACTERS].rstrip()


def _names(text: str, label: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text, re.IGNORECASE) is not None


def _item(brush: BrushControl, label: str | None, prompt: str) -> PromptedLabel:
    return PromptedLabel(label, prompt, brush.name, brush.to_name, brush.type)

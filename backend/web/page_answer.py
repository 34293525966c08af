"""What a page is answered that asks by a typed text. Label Studio shows its annotator regions and nothing else; but the
text field is one of them, and so it says there why nothing is offered.
"""

from typing import Any

from labeling.label_studio.messages import PredictRequest
from labeling.offers import shown_regions, without_known
from labeling.prompts.interaction import read_interaction
from labeling.prompts.label_config import LabelConfig, parse_label_config

_MAX_CHARACTERS = 200
_ABSENT, _KNOWN, _LATE = "nothing found", "is there already", "no answer in time, press Add again"


def for_page(message: PredictRequest, answer: Any, model_version: str) -> Any:
    """The answer to a typed text without what is on the page already; with nothing to offer, why, beside the text.

    `answer` is a prediction, with an "error" if there is one, or an empty list if it came too late. Answers to all else
    stay as they are.
    """
    context = message.context.result if message.context is not None else None
    if not context:
        return answer
    config = parse_label_config(message.label_config)
    asked = read_interaction(context, config)
    if asked is None or asked.text is None:
        return answer
    if not isinstance(answer, dict):
        return {"result": [_text_field(context, config, _LATE)], "score": None, "model_version": model_version}
    found = answer.get("result") or []
    offered = without_known(found, shown_regions(message.tasks[0]), config)
    if not offered:
        reason = _KNOWN if found else str(answer.get("error") or _ABSENT)[:_MAX_CHARACTERS]
        offered = [_text_field(context, config, reason)]
    return {**answer, "result": offered}


def _text_field(context: list[dict[str, Any]], config: LabelConfig, reason: str) -> dict[str, Any]:
    """The text field with the reason after its newest text. Label Studio takes it at once, as it is no mask."""
    field = [region for region in context if region.get("from_name") == config.text_prompt_tag][-1]
    texts = field["value"]["text"]
    texts = texts if isinstance(texts, list) else [texts]
    return {
        **{name: field[name] for name in ("id", "from_name", "to_name", "type") if name in field},
        "value": {"text": [*texts[:-1], f"{texts[-1]}: {reason}"]},
    }

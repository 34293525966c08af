"""What an annotation says about a prompt: the mask, and how sure we are that somebody looked.

- A label with one prompt: all its regions together are the answer, none is the answer "not there".
- A label with several prompts: each region belongs to the prompt that found it. Where the annotator added regions,
  nobody knows to which; the label is left out.
- A prompt that the annotator typed, and whose mask was kept, is a prompt of its own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from labeling.store import AnnotationRecord, CorrectionRecord

Care = Literal["edited", "accepted", "untouched"]
WEIGHTS: dict[Care, float] = {"edited": 1.0, "accepted": 0.5, "untouched": 0.25}
"""`edited`: the annotator changed something of the label; `accepted`: opened, looked at and submitted as it was;
`untouched`: turned into an annotation without being opened (in bulk), or an empty page submitted that no prediction was
on; not where it is marked as ground truth."""


@dataclass(frozen=True)
class Evidence:
    """One annotation's answer to a prompt. `masks` are the digests of its parts; none: it is not in the image."""

    prompt: str
    label: str | None
    masks: tuple[str, ...]
    care: Care
    annotation: str
    annotator_id: int | None
    at: datetime
    ground_truth: bool


@dataclass(frozen=True)
class LeftOut:
    """A label (None: all of them) of an annotation that says nothing we could use, and why."""

    annotation: str
    label: str | None
    reason: str


def evidence_of(annotation: AnnotationRecord) -> Iterator[Evidence | LeftOut]:
    """What a submitted annotation says, prompt by prompt. `annotation` must hold its excluded corrections too."""
    name = f"{annotation.project.project_id}/{annotation.annotation_id}"
    if annotation.excluded is not None:
        yield LeftOut(name, None, f"excluded: {annotation.excluded}")
        return
    if annotation.state != "submitted":
        yield LeftOut(name, None, annotation.state)
        return
    if annotation.unread:
        yield LeftOut(name, None, "it has regions that are no readable masks")
        return
    asked: dict[str | None, list[str]] = {}
    for each in annotation.asked:
        asked.setdefault(each.label, []).append(each.prompt)
    for label in dict.fromkeys([*asked, *(item.label for item in annotation.corrections)]):
        touching = [item for item in annotation.corrections if label in (item.label, item.label_before)]
        regions = [item for item in touching if item.label == label and item.kind != "deleted"]
        prompts = asked.get(label, [])
        if any(item.excluded is not None for item in touching):
            yield LeftOut(name, label, "one of its regions is excluded")
            continue
        care = _care(annotation, touching)
        if len(prompts) == 1:
            yield _evidence(annotation, name, prompts[0], label, regions, care)
        elif prompts and all(item.prompt in prompts for item in regions):
            for prompt in prompts:
                yield _evidence(
                    annotation, name, prompt, label, [item for item in regions if item.prompt == prompt], care
                )
        else:
            reason = "it has several prompts, and regions of none of them" if prompts else "no prompt was asked for it"
            yield LeftOut(name, label, reason)
        typed = [item for item in regions if item.interactive and item.prompt and item.prompt not in prompts]
        for prompt in dict.fromkeys(item.prompt for item in typed if item.prompt):
            yield _evidence(annotation, name, prompt, label, [item for item in typed if item.prompt == prompt], care)


def _care(annotation: AnnotationRecord, touching: Iterable[CorrectionRecord]) -> Care:
    if any(item.kind != "accepted" for item in touching):
        return "edited"
    is_empty = annotation.prediction_id is None and not annotation.corrections and not annotation.ground_truth
    return "untouched" if annotation.is_untouched or is_empty else "accepted"


def _evidence(
    annotation: AnnotationRecord, name: str, prompt: str, label: str | None, regions: list[CorrectionRecord], care: Care
) -> Evidence:
    masks = tuple(item.mask_after for item in regions if item.mask_after is not None)
    return Evidence(prompt, label, masks, care, name, annotation.annotator_id, annotation.at, annotation.ground_truth)

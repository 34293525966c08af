"""What of an answer is offered on the page: what is there already is not offered again."""

from collections.abc import Mapping, Sequence
from typing import Any

from labeling.answers import ALIKE_IOU
from labeling.corrections.annotated_regions import AnnotatedRegion, read_regions
from labeling.label_studio.messages import Task
from labeling.prompts.label_config import LabelConfig
from labeling.prompts.region_options import DEFAULT_OPTIONS, RegionOptions


def shown_regions(task: Task) -> Sequence[Any]:
    """The regions on the page that asks, as far as Label Studio tells: of its annotator's newest draft, else of the
    newest prediction. None of a task with annotations and no draft: it does not tell whose annotation is open.
    """
    for versions in (task.drafts, task.annotations, task.predictions):
        known = [each for each in versions if isinstance(each, dict)] if isinstance(versions, list) else []
        if known and versions is task.annotations:
            return []
        if known:
            newest = max(known, key=lambda each: str(each.get("updated_at") or each.get("created_at") or ""))
            return result if isinstance(result := newest.get("result"), list) else []
    return []


def without_known(offered: Sequence[dict[str, Any]], shown: Sequence[Any], config: LabelConfig) -> list[dict[str, Any]]:
    """The offered regions but those that are about the same as one of the `shown`: of the same label or, with
    overlaps="best", of any.
    """
    present, _ = read_regions(shown, config.image.name)
    if not present:
        return list(offered)
    options = {(control.name, each.label): each.options for control in config.controls for each in control.labels}
    read, _ = read_regions(offered)
    return [region for region in offered if not _is_known(read.get(str(region.get("id"))), region, present, options)]


def _is_known(
    mask: AnnotatedRegion | None,
    region: dict[str, Any],
    present: Mapping[str, AnnotatedRegion],
    options: Mapping[tuple[str, str | None], RegionOptions],
) -> bool:
    if mask is None or mask.shape is None:
        return False
    its = options.get((str(region.get("from_name")), mask.label), DEFAULT_OPTIONS)
    return any(
        mask.shape.iou(other.shape) >= ALIKE_IOU
        for other in present.values()
        if other.shape is not None and (its.overlaps == "best" or other.label == mask.label)
    )

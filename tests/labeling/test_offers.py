from typing import Any

import numpy as np
import pytest

from labeling.label_studio.messages import Task
from labeling.offers import shown_regions, without_known
from labeling.prompts.label_config import LabelConfig, parse_label_config
from labeling.regions.kinds import draw_regions, region_dict


def region(left: int, label: str = "cell", name: str = "r") -> dict[str, Any]:
    """A square of 10 px, `left` px from the left."""
    mask = np.zeros((40, 60), np.bool_)
    mask[5:15, left : left + 10] = True
    tag = {"kind": "brushlabels", "from_name": "mask", "to_name": "image", "score": 0.9}
    return region_dict(draw_regions("brushlabels", mask)[0], label=label, region_id=name, **tag)


def config(overlaps: str = "keep") -> LabelConfig:
    labels = '<Label value="cell"/><Label value="debris"/>'
    return parse_label_config(
        f'<View><Image name="image" value="$image"/><BrushLabels name="mask" toName="image" overlaps="{overlaps}">'
        f'{labels}</BrushLabels><TextArea name="prompt" toName="image"/></View>'
    )


def names(regions: list[dict[str, Any]]) -> list[str]:
    return [each["id"] for each in regions]


def test_what_is_there_already_is_not_offered_again() -> None:
    offered = [region(1, name="same"), region(6, name="half"), region(30, name="new")]
    assert names(without_known(offered, [region(0, name="there")], config())) == ["half", "new"]


def test_another_label_may_name_the_same_thing_unless_only_the_best_is_wanted() -> None:
    there = [region(0, "debris")]
    assert names(without_known([region(0)], there, config())) == ["r"]
    assert without_known([region(0)], there, config("best")) == []


def test_what_cannot_be_read_hides_nothing() -> None:
    broken = [{**region(0), "value": {"rle": "?"}}, {"type": "textarea", "value": {"text": ["cells"]}}, "no region"]
    assert names(without_known([region(0)], broken, config())) == ["r"]


def version(name: str, at: str) -> dict[str, Any]:
    return {"result": [{"id": name}], "updated_at": at}


@pytest.mark.parametrize(
    ("drafts", "annotations", "predictions", "shown"),
    [
        ([version("old", "2026-11-01"), version("new", "2026-11-02")], [version("a", "2026-11-03")], [], ["new"]),
        ([], [version("whose", "2026-11-01")], [version("p", "2026-11-01")], []),
        ([], [], [version("p1", "2026-11-01"), version("p2", "2026-11-02")], ["p2"]),
        (None, None, None, []),
        ("x", 3, [{"result": 5}], []),
    ],
)
def test_the_annotators_draft_is_what_the_page_shows_else_the_newest_prediction(
    drafts: Any, annotations: Any, predictions: Any, shown: list[str]
) -> None:
    task = Task(id=1, data={}, drafts=drafts, annotations=annotations, predictions=predictions)
    assert [each["id"] for each in shown_regions(task)] == shown

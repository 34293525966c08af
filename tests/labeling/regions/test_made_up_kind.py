"""A new kind of region is one module and one line in kinds.py: shown with one that nobody has, end to end."""

import shutil
import subprocess
import sys
from pathlib import Path

import labeling

MODULE = '''
"""Regions of pixel runs: [row, first column, last column]."""

import numpy as np

from labeling.regions.cropped_mask import CroppedMask


def draw(mask, tolerance):
    rows, columns = np.nonzero(mask.full())
    return [{"runs": [[row, column, column] for row, column in zip(rows.tolist(), columns.tolist())]}]


def read(value, width, height):
    mask = np.zeros((height, width), np.bool_)
    for row, first, last in value["runs"]:
        mask[row, first : last + 1] = True
    return CroppedMask.of(mask)
'''
LINE = '    "runs": _Shape(runs.read, runs.draw),\n'

END_TO_END = """
from types import SimpleNamespace

import numpy as np

from labeling.answers import build_answer
from labeling.corrections.compare import compare_annotation
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.store import PredictedRegionRecord

config = parse_label_config(
    '<View><Image name="image" value="$image"/>'
    '<RunsLabels name="tag" toName="image" smart="true"><Label value="cell"/></RunsLabels></View>'
)
assert [control.type for control in config.controls] == ["runslabels"], config
assert any("gets no answer" in note for note in config.notes), "it takes no smart boxes"

mask = np.zeros((12, 16), np.bool_)
mask[2:6, 3:8] = mask[8:11, 10:14] = True
answer = SimpleNamespace(mask=mask, score=0.9)
prediction = build_answer(plan_prompts(config, {}), config, {"cell": answer}, "v1")
assert [region["type"] for region in prediction.result] == ["runslabels"] * 2, "one for each object"
assert (sum(region.mask for region in prediction.regions) == mask).all()

regions = [
    PredictedRegionRecord(1, each.region_id, each.label, each.prompt, each.score, each.shape, "v1", interactive=False)
    for each in prediction.regions
]
drawn = {region["id"]: region for region in prediction.result}
predicted = SimpleNamespace(
    image_tag="image",
    input_tags=(),
    find=lambda task, name: next((region for region in regions if region.region_id == name), None),
    of_prediction=lambda number: regions,
    drawn=lambda region: drawn[region.region_id],
    sent_prediction=lambda task, number, or_newest: 1,
    prediction=lambda number: SimpleNamespace(model_version="v1", asked=()),
)
first, second = prediction.result
edited = {**second, "value": {**second["value"], "runs": second["value"]["runs"][:6]}}
annotation = compare_annotation({"id": 7, "task": 4, "result": [first, edited]}, predicted)
kept, changed = annotation.corrections
assert (kept.kind, kept.region_type, kept.label, kept.iou) == ("accepted", "runslabels", "cell", 1.0), kept
assert (changed.kind, changed.iou, changed.changed_pixels) == ("edited", 0.5, 6), changed
"""


def test_a_made_up_kind_is_predicted_and_corrected(tmp_path: Path) -> None:
    package = Path(labeling.__file__).parent
    shutil.copytree(package, tmp_path / "labeling", ignore=shutil.ignore_patterns("__pycache__"))
    kinds = tmp_path / "labeling" / "regions" / "kinds.py"
    (tmp_path / "labeling" / "regions" / "runs.py").write_text(MODULE)
    table, imports = "_SHAPES = {\n", "from labeling.regions import "
    source = kinds.read_text()
    assert source.count(table) == source.count(imports) == 1
    kinds.write_text(source.replace(table, table + LINE).replace(imports, imports + "runs, "))
    script = tmp_path / "end_to_end.py"  # beside this copy of the package, which so is the one that is imported
    script.write_text(f"import sys\nsys.path.append({str(package.parent)!r})\n{END_TO_END}")
    ran = subprocess.run(
        [sys.executable, "-P", script], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr

"""Which pictures a report shows: one of each image, what changed most first."""

import re
from pathlib import Path

from argenseg_model.evaluation import ItemResult
from labeling.gate import GateCheck, GateReport
from worker.finetune.learnt_from import LearntFrom
from worker.finetune.report import write_report

LEARNT_FROM = LearntFrom(1, 1, 1, 0, 0, 9, "0a1b", 2, {})


def row(image: int, prompt: str, iou: float, *, area: int = 9, source: str = "correction:1") -> ItemResult:
    return ItemResult(
        image=f"{image}.png", group=f"{image}", prompt=prompt, label=None, source=source, area=area, size="small",
        drawn=9, intersection=9, union=9, iou=iou, boundary_iou=iou, matched=1, predicted=1, actual=1, score=0.5,
        baselines={"otsu": 0.4, "inverted otsu": 0.1, "everything": 0.2, "nothing": 0.0},
    )  # fmt: skip


def test_one_item_of_each_image_what_changed_most_first(tmp_path: Path) -> None:
    live, candidate = [], []
    for image in range(10):
        live += [row(image, "a <cell>", 0.5), row(image, "b", 0.5), row(image, "absent", 1.0, area=0)]
        change = 0.01 * image * (-1) ** image
        candidate += [
            row(image, "a <cell>", 0.5), row(image, "b", 0.5 + change), row(image, "absent", 0.0, area=0),
        ]  # fmt: skip
    scene = row(10, "a star", 0.1, source="replay:scene")
    for side in ("live", "candidate"):
        (tmp_path / side / "pictures").mkdir(parents=True)
        for number in range(len(live)):
            for name in ("truth", "answer"):
                (tmp_path / side / "pictures" / f"{number}-{name}.jpg").write_bytes(b"%d" % number)
    verdict = GateReport(True, True, "0a1b", (), ())
    write_report(
        tmp_path, candidate="starter-1.1", live="starter-1", verdict=verdict, learnt_from=LEARNT_FROM,
        live_rows=[*live, scene], candidate_rows=[*candidate, scene],
    )  # fmt: skip
    page = (tmp_path / "report.html").read_text()
    changes = re.findall(r"IoU 0\.\d+ \(([+-]0\.\d+)\)", page)
    assert changes == ["-0.090", "+0.080", "-0.070", "+0.060", "-0.050", "+0.040", "-0.030", "+0.020"]
    assert page.count("as corrected: b") == 8 and "data:image/jpeg;base64,Mjg=" in page  # item 28: b of image 9


def test_no_interval_is_drawn_over_its_name(tmp_path: Path) -> None:
    name = "drawn where the label is absent, beside the first model"
    check = GateCheck(name, False, 120, 0.1, 0.9, 0.0, -0.8, 0.8, "")
    write_report(
        tmp_path, candidate="starter-1.1", live="starter-1", verdict=GateReport(False, True, "0a1b", (check,), ()),
        learnt_from=LEARNT_FROM, live_rows=[row(0, "a", 0.5)], candidate_rows=[row(0, "a", 0.5)],
    )  # fmt: skip
    [line] = re.findall(r'<line x1="([\d.]+)" x2="([\d.]+)" y1="22"', (tmp_path / "report.html").read_text())
    assert 7.2 * len(f"{name} (120 images)") < float(line[0]) < float(line[1]) < 810  # px of a letter; the number


def test_what_people_and_models_wrote_is_text_on_the_page(tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"
    check = GateCheck(script, False, 120, 0.1, 0.9, 0.0, -0.8, 0.8, "")
    (tmp_path / "live" / "pictures").mkdir(parents=True)
    (tmp_path / "live" / "pictures" / "0-truth.jpg").write_bytes(b"0")
    rows = [row(0, script, 0.5)]
    verdict = GateReport(False, True, script, (check,), (script,))
    write_report(
        tmp_path, candidate=script, live=script, verdict=verdict, learnt_from=LEARNT_FROM, live_rows=rows,
        candidate_rows=rows,
    )  # fmt: skip
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 10  # title and both names twice; snapshot, reason, check, caption

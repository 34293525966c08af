"""Wordings compared on annotated tasks: which are used, what is measured, what people see."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from argenseg_model.known_names import KnownNames
from backend.console import prompt_trial as cli
from backend.console.cli import main
from backend.operations import prompt_trial as trial
from labeling.errors import LabelConfigError
from labeling.prompts.label_config import parse_label_config
from labeling.settings import Settings
from labeling.store import Store
from labeling.trials.annotated_tasks import annotated_tasks
from labeling.trials.measures import WordingResult
from labeling.trials.wordings import find_label, make_wordings
from worker.errors import WorkerError

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image">'
    '<Label value="ball" prompt="a red thing" exclude="something green"/><Label value="sky"/></RectangleLabels></View>'
)
LOADER = "tests.backend.console.colours:colours"


def picture(**squares: int) -> str:
    """40 x 30 px as a data: URL; a 10 x 10 square at the given column, 5 px from the top, in each named colour."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    for colour, column in squares.items():
        pixels[5:15, column : column + 10, ["red", "green", "blue"].index(colour)] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def ball(column: int, height: int = 10, size: tuple[int, int] = (40, 30)) -> dict[str, Any]:
    width, full = size
    value = {"x": 100 * column / 40, "y": 100 * 5 / 30, "width": 25, "height": 100 * height / 30, "rotation": 0}
    value |= {"rectanglelabels": ["ball"]}
    region = {"type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": value}
    return {"id": f"r{column}", "original_width": width, "original_height": full, "image_rotation": 0, **region}


def annotation(*regions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "result": list(regions),
        "was_cancelled": False,
        "updated_at": "2026-01-01",
        "ground_truth": False,
        **fields,
    }


class Client:
    """A Label Studio with tasks of (image, annotations)."""

    def __init__(self, *tasks: tuple[str, list[dict[str, Any]]]) -> None:
        self._tasks = tasks

    def close(self) -> None:
        pass

    def get_project(self, project_id: int) -> dict[str, Any]:
        return {"id": project_id, "label_config": CONFIG}

    def list_tasks(self, project_id: int) -> list[dict[str, Any]]:
        return [
            {"id": number, "data": {"image": image}, "total_annotations": len(annotations)}
            for number, (image, annotations) in enumerate(self._tasks, start=1)
        ]

    def list_annotations(self, task_id: int) -> list[dict[str, Any]]:
        return self._tasks[task_id - 1][1]


TASKS = (
    (picture(red=5), [annotation(ball(5))]),
    (picture(red=5, green=25), [annotation(ball(5, height=5))]),
    (picture(blue=5), [annotation()]),  # somebody looked, and there is no ball
    (picture(red=5), []),
    (picture(red=5), [annotation(ball(5), was_cancelled=True)]),
    ("data:image/png;base64,AAAA", [annotation(ball(5))]),
    (picture(red=5), [annotation(ball(5, size=(400, 300)))]),
)


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(cli, "require_client", lambda _: Client(*TASKS))
    return lambda *texts, limit=20, as_json=True: cli.try_in_project(
        settings, 3, "ball", texts, limit, as_json=as_json, loader=LOADER
    )


def test_the_projects_live_version_is_asked(run: Any, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    run(limit=1)
    assert json.loads(capsys.readouterr().out)["model"].startswith("starter")
    with Store.open(settings.database_url, settings.blob_url) as store:
        store.models.add("tuned", str(settings.data_dir / "tuned"), "starter")
        store.models.set_active("tuned", store.projects.upsert(settings.installation_url, 3, CONFIG))
    run(limit=1)
    assert json.loads(capsys.readouterr().out)["model"] == "tuned"


def test_wordings_are_measured_on_annotated_tasks(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run("blue", "a green or a red thing", "red; blue")
    report = json.loads(capsys.readouterr().out)
    assert (report["label"], report["tasks"]) == ("ball", 3) and report["seconds_per_question"] > 0
    assert [each["task"] for each in report["left_out"]] == [6, 7]
    assert "another size" in report["left_out"][1]["problem"]
    by_prompt = {each["prompt"]: each for each in report["prompts"]}
    assert list(by_prompt) == ["a red thing", "blue", "a green or a red thing", "red; blue"]
    now, blue = by_prompt["a red thing"], by_prompt["blue"]
    assert (now["is_current"], blue["is_current"]) == (True, False)
    assert now["iou"] == pytest.approx(0.75) and now["iou_interval"] == pytest.approx([0.5, 1.0])
    assert (now["object_f1"], now["false_positives"], now["tasks_without_label"]) == (1.0, 0, 1)
    assert (blue["iou"], blue["object_f1"], blue["false_positives"]) == (0.0, 0.0, 1)
    assert by_prompt["a green or a red thing"]["iou"] == pytest.approx(0.75)  # the label excludes what is green
    assert by_prompt["red; blue"]["false_positives"] == 1
    assert [each["questions"] for each in report["prompts"]] == [2, 2, 2, 3]  # each with what is excluded


def test_time_is_told_for_a_question_and_for_what_a_wording_asks(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    label = parse_label_config(CONFIG).controls[0].labels[0]
    wordings = make_wordings(parse_label_config(CONFIG).controls[0], label, ["blue", "red; blue"])
    results = [WordingResult(each) for each in wordings]
    tried = [trial.TriedTask(1, seconds=4.0), trial.TriedTask(2, seconds=12.0), trial.TriedTask(3, problem="gone")]
    assert trial.seconds_per_question(tried, results) == 2.0  # four questions: two prompts more, and what is excluded
    report = trial.TrialReport(tuple(results), tuple(tried))
    cli._report(report, "ball", "starter-1", KnownNames({}, frozenset()), as_json=False)
    reported = capsys.readouterr().out
    assert "2 annotated tasks, 2.00 s a question" in reported
    rows = [re.split(r"\s{2,}", line.strip()) for line in reported.splitlines() if "00 s" in line]
    wanted = {"a red thing (now)": "4.00 s", "blue": "4.00 s", "red; blue": "6.00 s"}
    assert {row[0]: row[-1] for row in rows[1:]} == wanted


def test_people_see_a_table(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run("[b]blue", as_json=False)
    output = capsys.readouterr().out
    assert "a red thing (now)" in output and "0.750 (0.50–1.00)" in output and "1 of 1" in output
    assert "[b]blue" in output and "Task 6 is left out" in output
    assert output.index("a red thing") < output.index("blue")  # the best one first


def test_words_that_the_model_was_not_taught_are_told(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run("ein Ball; a red thing")
    now, german = json.loads(capsys.readouterr().out)["prompts"]
    assert now["unknown"] == [] and "was not taught 'ein'" in german["unknown"][0]
    run("ein Ball; a red thing", as_json=False)
    assert '"ein Ball": the model was not taught' in capsys.readouterr().out


def test_the_names_that_a_model_was_taught_are_listed(tmp_path: Path) -> None:
    environment = {"ARGENSEG_DATA_DIR": str(tmp_path)}
    listed = CliRunner().invoke(main, ["prompts", "names"], env=environment).output
    assert "nuclei" in listed and "cell nucleus" in listed and "largest" in listed
    (tmp_path / "config.json").write_text("{}")
    listed = CliRunner().invoke(main, ["prompts", "names", "--model", str(tmp_path)], env=environment).output
    assert "any words may be asked" in listed


def test_the_first_annotated_tasks_are_enough(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(limit=1)
    assert json.loads(capsys.readouterr().out)["tasks"] == 1


def test_ground_truth_counts_before_the_newest() -> None:
    config = parse_label_config(CONFIG)
    label = config.controls[0].labels[0]
    some = [
        annotation(ball(5), updated_at="2026-03"),
        annotation(updated_at="2026-02"),
        annotation(updated_at="2026-04"),
    ]
    client: Any = Client((picture(), some), (picture(), [{**some[0], "ground_truth": True}, some[2]]))
    tasks = annotated_tasks(client, 1, config, label.label, 9)
    assert [len(task.regions) for task in tasks] == [0, 1]


def test_a_smart_box_that_stayed_is_no_truth() -> None:
    smart = '<RectangleLabels name="ask" toName="image" smart="true"><Label value="ball"/></RectangleLabels></View>'
    config = parse_label_config(CONFIG.replace("</View>", smart))
    client: Any = Client((picture(), [annotation(ball(5), {**ball(20), "from_name": "ask"})]))
    (task,) = annotated_tasks(client, 1, config, config.controls[0].labels[0].label, 9)
    assert [region.region_id for region in task.regions] == ["r5"]


def test_several_labels_need_a_name() -> None:
    for name in (None, "moon"):
        with pytest.raises(LabelConfigError, match="one of 'ball', 'sky'"):
            find_label(parse_label_config(CONFIG), name)
    plain = parse_label_config('<View><Image name="i" value="$i"/><Brush name="b" toName="i"/></View>')
    control, label = find_label(plain, None)
    assert [each.items[0].region_type for each in make_wordings(control, label, ["a cell"])] == ["brush"]
    assert make_wordings(control, label, [" ; "]) == []


def test_a_project_without_annotations_says_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "require_client", lambda _: Client(TASKS[3]))
    with pytest.raises(WorkerError, match="no submitted annotation"):
        cli.try_in_project(settings, 3, "ball", ("blue",), 20, as_json=True, loader=LOADER)


def test_the_command_is_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGENSEG_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    runner = CliRunner()
    assert "Compare wordings" in runner.invoke(main, ["prompts", "try", "--help"]).output
    refused = runner.invoke(main, ["prompts", "try", "--project", "3", "--prompt", "a"])
    assert refused.exit_code == 3 and "LABEL_STUDIO_URL" in refused.output

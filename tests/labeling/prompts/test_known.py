"""What a model's config.json says that it was taught, and what people are told of other words."""

import json
from pathlib import Path

import pytest

from labeling.prompts.interaction import Interaction
from labeling.prompts.known import known_names, unknown_notes, why_nothing_was_found
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.settings import Settings

CONFIG = parse_label_config(
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="Nucleus" prompt="all nuclei; the largest nucleus"/><Label value="Hund" exclude="cats"/>'
    '</BrushLabels><TextArea name="prompt" toName="image"/></View>'
)  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> str:
    write(tmp_path, known_names={"nuclei": ["nucleus", "nuclei"]}, known_words=["all", "the", "largest"])
    return str(tmp_path)


def write(folder: Path, **config: object) -> None:
    (folder / "config.json").write_text(json.dumps({"model_name": "tiny", **config}))


def test_labels_whose_words_were_not_taught_are_named_with_the_nearest_names(model: str) -> None:
    assert unknown_notes(known_names(Settings(), model), CONFIG) == [
        'Label "Hund" asks "Hund": the model was not taught \'hund\'; it knows, for example, nuclei; "cats": the model'
        " was not taught 'cats'; it knows, for example, nuclei."
    ]


@pytest.mark.parametrize(
    ("typed", "reason"),
    [("nuclei", None), ("the largest nucleus; all nuclei", None), ("alle Zellkerne", "'alle', 'zellkerne'"),
     ("nuclei; dogs", "'dogs'"), ("all", "It names nothing")],
)  # fmt: skip
def test_an_empty_answer_means_something_only_if_all_that_was_asked_is_known(
    typed: str, reason: str | None, model: str
) -> None:
    why = why_nothing_was_found(known_names(Settings(), model), plan_prompts(CONFIG, {}, Interaction(typed)))
    assert (why is None) == (reason is None)
    assert reason is None or (reason in str(why) and "fine-tune" in str(why))


@pytest.mark.parametrize("config", [{}, {"known_names": None}, {"known_names": {}}, {"known_names": ["nuclei"]}])
def test_a_model_that_keeps_no_list_knows_everything(config: dict[str, object], tmp_path: Path) -> None:
    write(tmp_path, **config)
    for model in (str(tmp_path), str(tmp_path / "nowhere"), "owner/on-the-hub"):
        assert unknown_notes(known_names(Settings(), model), CONFIG) == []


def test_a_model_of_another_loader_is_not_judged_by_our_files(model: str) -> None:
    other = Settings.model_validate({"MODEL_LOADER": "package:loader"})
    assert unknown_notes(known_names(other, model), CONFIG) == []


def test_what_a_new_version_was_taught_is_read_anew(model: str) -> None:
    assert unknown_notes(known_names(Settings(), model), CONFIG)
    write(Path(model), known_names={"nuclei": ["nucleus", "nuclei"], "Hund": ["Hund"], "cats": ["cats"]},
          known_words=["all", "the", "largest"])  # fmt: skip
    assert unknown_notes(known_names(Settings(), model), CONFIG) == []

import json
import os
from pathlib import Path

import pytest

from labeling import versions
from labeling.prompts.label_config import parse_label_config
from labeling.versions import model_version, weights_name

CONFIG = parse_label_config(
    '<View><Image name="i" value="$i"/><BrushLabels name="b" toName="i"><Label value="car"/></BrushLabels></View>'
)
OTHER = parse_label_config(CONFIG.xml.replace('value="car"', 'value="car" prompt="every car"'))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_name": "starter-7"}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_options_change_a_version_also_where_the_tasks_bring_the_prompts(model: Path) -> None:
    plain = '<View><Image name="i" value="$i"/><Brush name="b" toName="i"/></View>'
    for xml, tag in ((CONFIG.xml, "BrushLabels"), (plain, "Brush")):
        changed = xml.replace(f"<{tag} ", f'<{tag} instances="true" ')
        assert model_version(str(model), parse_label_config(xml)) != model_version(
            str(model), parse_label_config(changed)
        )


def test_a_version_is_a_name_and_six_digits(model: Path) -> None:
    version = model_version(str(model), CONFIG)
    assert version.startswith("starter-7 · ")
    assert len(version.removeprefix("starter-7 · ")) == 6


def test_a_version_changes_with_the_prompts_and_with_the_weights(model: Path) -> None:
    version = model_version(str(model), CONFIG)
    assert version != model_version(str(model), OTHER)
    (model / "model.safetensors").write_bytes(b"Weights")
    assert version != model_version(str(model), CONFIG)


def test_another_of_the_tasks_images_is_another_version(model: Path) -> None:
    xml = '<View><Image name="i" value="$image"/><Brush name="b" toName="i" prompt="every cell"/></View>'
    versions = [
        model_version(str(model), parse_label_config(xml.replace("$image", key))) for key in ("$image", "$photo")
    ]
    assert len(set(versions)) == 2


def test_a_copy_of_a_model_has_the_same_version(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for file in model.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
        os.utime(copy / file.name, (1, 1))
    assert weights_name(str(copy)) == weights_name(str(model))


@pytest.mark.parametrize("config", ["no json", "[]", '{"model_name": 5}', '{"model_name": " "}', None])
def test_a_model_without_a_name_has_its_folders(model: Path, config: str | None) -> None:
    (model / "config.json").unlink() if config is None else (model / "config.json").write_text(config)
    assert weights_name(str(model))[0] == "my-model"


def test_a_large_file_is_sampled_and_its_change_seen(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_SAMPLE_BYTES", 64)
    file = model / "model.safetensors"
    file.write_bytes(bytes(64 * 64 * 4))
    digest = weights_name(str(model))[1]
    file.write_bytes(bytes(64 * 64 * 4 - 1) + b"x")
    assert weights_name(str(model))[1] != digest


def test_a_hub_id_is_named_without_being_loaded() -> None:
    name, digest = weights_name("inclusionAI/ARGenSeg-8B")
    assert name == "ARGenSeg-8B"
    assert digest != weights_name("inclusionAI/ARGenSeg-2B")[1]


def test_the_starter_has_a_version() -> None:
    assert " · " in model_version("starter", CONFIG)

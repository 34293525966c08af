"""What a starter's run is given besides corrections."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from argenseg_model.manifest import Manifest, ManifestItem, encode_mask
from worker.finetune.base_data import ABSENT, CULTURES, add_base_data
from worker.finetune.scenes_holdout import ABSENT as ABSENT_ON_SCENES
from worker.finetune.scenes_holdout import write_scenes_holdout


def data_set(folder: Path, pictures: list[str], *, prompt: str = "every car", **changes: Any) -> Manifest:
    """An image of noise to learn from, the others held out."""
    folder.mkdir()
    items = []
    for number, name in enumerate(pictures):
        noise = np.random.default_rng(number).integers(0, 255, (256, 256, 3)).astype(np.uint8)
        Image.fromarray(noise).save(folder / name)
        mask = np.zeros((256, 256), bool)
        mask[5:20, 5:30] = True
        same = {"width": 256, "height": 256, "weight": 1.0, "label": "car", "group": name}
        split = "holdout" if number else "train"
        item = {"image": name, "prompt": prompt, "mask": encode_mask(mask), "source": "correction:1", "split": split}
        items.append(ManifestItem(**(item | same | changes)))
    return Manifest.write(folder / "manifest.jsonl", items)


def test_a_starter_replays_nuclei_and_is_asked_for_what_is_not_there(tmp_path: Path) -> None:
    made = data_set(tmp_path / "set", ["a.png", "b.png", "c.png"])
    whole = add_base_data(made, "all.jsonl", is_starter=True)
    assert Manifest.read(tmp_path / "set" / "all.jsonl").items == whole.items
    assert whole.items[:3] == made.items
    negatives = [item for item in whole.items if item.source == "negative:foreign"]
    assert [item.image for item in negatives] == ["b.png"] * ABSENT + ["c.png"] * ABSENT
    assert all(item.mask is None and "car" not in item.prompt.replace("carpet", "") for item in negatives)
    replay = [item for item in whole.items if item.is_replay]
    assert Counter(item.split for item in replay) == CULTURES
    pictures = set()
    for item in replay:
        with Image.open(whole.image_path(item)) as picture:
            assert picture.size == (item.width, item.height)
            pictures.add(picture.tobytes())
        assert item.decode_mask().any()
    assert len(pictures) == len(replay)
    assert add_base_data(made, "again.jsonl", is_starter=True).digest() == whole.digest()


def test_other_models_get_the_data_set_alone(tmp_path: Path) -> None:
    made = data_set(tmp_path / "set", ["a.png", "b.png"])
    assert add_base_data(made, "all.jsonl", is_starter=False).items == made.items


def test_a_few_absent_labels_of_the_data_set_are_not_enough(tmp_path: Path) -> None:
    made = data_set(tmp_path / "set", ["a.png", "b.png"], mask=None, source="negative:1")
    foreign = [i for i in add_base_data(made, "all.jsonl", is_starter=True).items if i.source == "negative:foreign"]
    assert len(foreign) == ABSENT


def test_scenes_ask_for_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    scenes = write_scenes_holdout(tmp_path / "scenes")
    absent = [item for item in scenes.items if item.mask is None]
    images = {item.image for item in scenes.items}
    assert 0.9 * ABSENT_ON_SCENES * len(images) <= len(absent) <= 0.6 * len(scenes.items)
    assert not [item for item in scenes.items if "nucle" in item.prompt.lower()]
    assert write_scenes_holdout(tmp_path / "scenes").digest() == scenes.digest()

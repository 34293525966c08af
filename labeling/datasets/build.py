"""Make an immutable data set of the corrections: a manifest, its images beside it, and where it all comes from."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from argenseg_model.errors import ARGenSegError
from argenseg_model.manifest import Manifest, ManifestItem, encode_mask, line_of, write_items
from labeling.datasets.agreement import agreed
from labeling.datasets.evidence import WEIGHTS, Evidence, LeftOut, evidence_of
from labeling.datasets.gathered import Gathered
from labeling.datasets.images import ANOTHER_IMAGE, ImageKeeper, KeptImage
from labeling.datasets.splits import HOLDOUT_SHARE, place_images
from labeling.errors import ImageFetchError, LabelingError, StoreError
from labeling.store import AnnotationRecord, CorrectionFilter, ImageSplit, Store


@dataclass(frozen=True)
class DataSetOptions:
    """What goes into a data set: one project's corrections (Label Studio's number) or all, of one Label Studio or of
    all, and how images are drawn.

    `wanted` chooses among annotations, by `model_version` those that began from it; and by `label` among their prompts.
    """

    project_id: int | None = None
    label_studio_url: str | None = None
    holdout_share: float = HOLDOUT_SHARE
    parent_digest: str | None = None
    wanted: CorrectionFilter = field(default_factory=CorrectionFilter)


@dataclass(frozen=True)
class DataSet:
    """A data set on disk. `left_out` counts the reasons why annotations, labels and prompts are not in it."""

    digest: str
    path: Path
    left_out: dict[str, int]
    lineage: dict[str, Any] = field(repr=False)

    @property
    def manifest(self) -> Manifest:
        """Its items, read from its file: all at once."""
        return Manifest.read(self.path)

    @property
    def sides(self) -> list[str]:
        """How many images each side has, in words, and as how many they count: a group of look-alikes as one."""
        counts = [(side, self.lineage["images"][side], self.lineage["groups"][side]) for side in ("train", "holdout")]
        return [
            f"{side}: {images} images" + (f", of which some look alike: they count as {groups}" * (groups < images))
            for side, images, groups in counts
        ]


def build_data_set(
    store: Store,
    keeper: ImageKeeper,
    folder: Path,
    options: DataSetOptions,
    *,
    on_tick: Callable[[], None] = lambda: None,
) -> DataSet:
    """Write `folder`/manifest.jsonl and its images, and record the data set in the store.

    Only submitted annotations count, in their newest state: no prediction that nobody submitted, no skipped task. The
    same corrections and exclusions make the same digest. StoreError if the store fails; a transient ImageFetchError if
    an image cannot be had just now: an outage must not make a set smaller. `on_tick` is called for each annotation
    and item; what it raises ends this.
    """
    wanted = options.wanted
    whole = replace(
        wanted,
        project_id=options.project_id,
        label_studio_url=options.label_studio_url,
        label=None,
        model_version=None,
        began_from=wanted.model_version,
        with_excluded=True,
    )
    left_out: Counter[str] = Counter()
    path, seen = folder / "manifest.jsonl", _Seen()
    with Gathered.begin() as gathered:
        _collect(store, keeper, store.annotations.stream(whole), wanted.label, gathered, left_out, on_tick)
        sides = store.datasets.place_images(
            lambda known: place_images(known, list(gathered.images()), options.holdout_share)
        )

        def items() -> Iterator[ManifestItem]:
            for image, prompt, evidence in gathered.answers():
                on_tick()
                item = _item(store, image, sides[image.hashed.sha256], prompt, evidence)
                if isinstance(item, str):
                    left_out[item] += 1
                else:
                    _write_image(store, folder / item.image, image.hashed.sha256)
                    seen.add(item)
                    yield item

        folder.mkdir(parents=True, exist_ok=True)
        write_items(path, items())
        annotations = gathered.annotations()
    lineage = {
        "options": asdict(options),
        "annotations": annotations,
        "left_out": dict(sorted(left_out.items())),
        "exclusions": sorted({reason for reason in left_out if reason.startswith("excluded")}),
        "weights": WEIGHTS,
        "images": {side: seen.images[side] for side in ("train", "holdout")},
        "groups": {side: len(seen.groups[side]) for side in ("train", "holdout")},
        "items": seen.items,
        "holdout": seen.holdout.hexdigest(),
    }
    digest = seen.all.hexdigest()
    store.datasets.save(digest, path, options.parent_digest, lineage)
    return DataSet(digest, path, dict(left_out), lineage)


@dataclass
class _Seen:
    """What is known of the items that were written: their number, digests as of `Manifest.digest`, images, groups."""

    items: int = 0
    all: Any = field(default_factory=hashlib.sha256)
    holdout: Any = field(default_factory=hashlib.sha256)
    images: Counter[str] = field(default_factory=Counter)
    last_image: str = ""
    groups: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, item: ManifestItem) -> None:
        line = line_of(item)
        self.items += 1
        self.all.update(line)
        if item.split == "holdout":
            self.holdout.update(line)
        self.images[item.split] += item.image != self.last_image  # all items of an image come together
        self.last_image = item.image
        self.groups[item.split].add(item.group)


def _collect(
    store: Store,
    keeper: ImageKeeper,
    annotations: Iterable[AnnotationRecord],
    label: str | None,
    gathered: Gathered,
    left_out: Counter[str],
    on_tick: Callable[[], None],
) -> None:
    """Gather evidence, and the images, which are fetched once for each task."""
    for annotation in annotations:
        on_tick()
        found = list(evidence_of(annotation))
        usable = [each for each in found if isinstance(each, Evidence) and label in (None, each.label)]
        left_out.update(each.reason for each in found if isinstance(each, LeftOut))
        if not usable or annotation.task_id is None:
            continue
        image = gathered.image_of(annotation.project.id, annotation.task_id)
        if image is None:
            image = _find_image(store, keeper, annotation, annotation.task_id)
            gathered.note_task(annotation.project.id, annotation.task_id, image)
        if isinstance(image, str):
            left_out[image] += len(usable)
            continue
        if not image.was_annotated_in(annotation):
            left_out[ANOTHER_IMAGE] += len(usable)
            continue
        for each in usable:
            gathered.add(image.hashed.sha256, each)


def _find_image(store: Store, keeper: ImageKeeper, annotation: AnnotationRecord, task_id: int) -> KeptImage | str:
    known = store.images.of_tasks(annotation.project, [task_id]).get(task_id)
    if known is None:
        return "the task's image is not known"
    try:
        return keeper.keep(annotation.project, known)
    except StoreError:
        raise
    except (LabelingError, ARGenSegError) as error:
        if isinstance(error, LabelingError) and error.is_transient:
            exclude = f"argenseg corrections exclude task {task_id} --project {annotation.project.project_id}"
            raise ImageFetchError(
                f"Task {task_id}: {error} If its image is gone for good: {exclude}", is_transient=True
            ) from error
        return f"image: {error}"


def _item(
    store: Store, image: KeptImage, placed: ImageSplit, prompt: str, evidence: list[Evidence]
) -> ManifestItem | str:
    """A line of the manifest, or why there is none."""
    if placed.side == "quarantine":
        return "the image resembles images of train and of holdout"
    size = image.height, image.width

    def mask_of(each: Evidence) -> NDArray[np.bool_]:
        return _union((store.corrections.read_mask(digest) for digest in each.masks), size)

    try:
        answer = agreed(evidence, mask_of)
        if answer is None:
            return "annotators disagree"
        if placed.side == "holdout" and answer.care == "untouched":
            return "nobody looked at it: no truth to measure by"
        mask = mask_of(answer)
    except ValueError:
        return "the masks have another size than the image"
    return ManifestItem(
        image=_image_name(image),
        width=image.width,
        height=image.height,
        prompt=prompt,
        mask=encode_mask(mask),
        weight=WEIGHTS[answer.care],
        split=cast(Literal["train", "holdout"], placed.side),
        source=f"{'correction' if mask.any() else 'negative'}:{answer.annotation}",
        label=answer.label or None,
        group=placed.group,
    )


def _union(masks: Iterable[NDArray[np.bool_]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """ValueError if a mask has another size."""
    union = np.zeros(size, np.bool_)
    for mask in masks:
        if mask.shape != size:
            raise ValueError(f"a mask is {mask.shape}, the image {size}")
        union |= mask
    return union


def _image_name(image: KeptImage) -> str:
    return f"images/{image.hashed.sha256[:2]}/{image.hashed.sha256}{image.suffix}"


def _write_image(store: Store, path: Path, sha256: str) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(store.images.read(sha256))
    unfinished.replace(path)

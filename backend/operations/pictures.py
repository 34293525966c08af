"""Pictures of predictions and corrections: the task's image, fetched as a worker does, with masks drawn over it."""

import io
import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property

from PIL import Image

from argenseg_model.errors import ImageError
from argenseg_model.images import FORMATS, load_image
from labeling.errors import ImageFetchError, LabelingError, StoreError
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.images import fetch_image
from labeling.overlays import Window, around, cut, draw_change, draw_instances, fitted, whole
from labeling.prompts.label_colours import label_colours
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.task_values import task_value
from labeling.regions.cropped_mask import CroppedMask
from labeling.settings import Settings
from labeling.store import Project, ShownCorrection, Store, TrialTask

JPEG = "image/jpeg"

_MOST_PIXELS = 64_000_000  # of an image that is only looked at; decoded it takes up to 9 bytes a pixel
_LARGE_PIXELS = 12_000_000  # from here on one at a time
_PAPER = (238, 240, 245)  # in place of an image that cannot be had
_GAP_PX, _GAP = 6, (128, 136, 148)
_QUALITY = 84


@dataclass(frozen=True)
class Illustrator:
    """Draws pictures, JPEG files of a few dozen kilobytes. Any number of threads may use it."""

    settings: Settings
    store: Store
    _one_large: threading.Lock = field(default_factory=threading.Lock)

    def of_prediction(self, prediction_id: int, box_px: int) -> bytes:
        """A prediction's image with all its regions in their labels' colours, at most `box_px` wide and high.

        ImageFetchError, ImageError, LabelingError or StoreError tell why there is none.
        """
        prediction = self.store.predictions.get(prediction_id)
        project = prediction.project
        reference = task_value(prediction.task_data, parse_label_config(project.label_config).image_key)
        if not isinstance(reference, str) or not reference:
            raise LabelingError("The task's data name no image.")
        known = self.store.images.of_tasks(project, [prediction.task_id]).get(prediction.task_id)
        sha256 = known.sha256 if known is not None and known.reference == reference else None
        regions = self.store.predictions.regions(prediction_id)
        content = self._content(project, prediction.task_id, reference, sha256)
        with self._decoded(content) as image:
            _check_size(image, [region.shape for region in regions])
            window = whole(*image.size)
            picture = cut(image, window, fitted(window, box_px))
        colours = label_colours(project.label_config, list(dict.fromkeys(region.label for region in regions)))
        shapes = [region.shape for region in regions]
        return _jpeg(draw_instances(picture, window, shapes, [colours[region.label] for region in regions]))

    def of_correction(self, correction: ShownCorrection, box_px: int) -> bytes:
        """Two pictures side by side, of `box_px` each, of the part of the image that it is about.

        On the left the region as it was predicted, on the right what was kept, removed and gained. Where the image
        cannot be had, on plain paper. StoreError if the masks are not there.
        """
        before, after = (
            None if digest is None else self.store.blobs.get_cropped(digest)
            for digest in (correction.mask_before, correction.mask_after)
        )
        masks = [mask for mask in (before, after) if mask is not None]
        if not masks:
            raise StoreError(f"Correction {correction.id} has no masks.")
        width, height = masks[0].width, masks[0].height
        window = around(masks, width, height)
        size = fitted(window, box_px)
        picture = self._part(correction, masks, window, size) or Image.new("RGB", size, _PAPER)
        left = picture if before is None else draw_change(picture, window, before, before)
        pair = Image.new("RGB", (2 * size[0] + _GAP_PX, size[1]), _GAP)
        pair.paste(left, (0, 0))
        pair.paste(draw_change(picture, window, before, after), (size[0] + _GAP_PX, 0))
        return _jpeg(pair)

    def of_trial(
        self, project: Project, task: TrialTask, truth: CroppedMask | None, found: CroppedMask, box_px: int
    ) -> bytes:
        """A task's image with what a wording found: rightly, missed (as if removed), and too much (as if gained).

        ImageFetchError, ImageError, LabelingError or StoreError tell why there is none.
        """
        reference = task_value(task.data, parse_label_config(project.label_config).image_key)
        known = self.store.images.of_tasks(project, [task.task_id]).get(task.task_id)
        sha256 = known.sha256 if known is not None and known.reference == reference else None
        with self._decoded(self._content(project, task.task_id, reference, sha256)) as image:
            _check_size(image, [found])
            window = whole(*image.size)
            picture = cut(image, window, fitted(window, box_px))
        return _jpeg(draw_change(picture, window, truth, found))

    def _part(
        self, correction: ShownCorrection, masks: list[CroppedMask], window: Window, size: tuple[int, int]
    ) -> Image.Image | None:
        try:
            content = self._content(
                correction.project, correction.task_id, correction.image_reference, correction.image_sha256
            )
            with self._decoded(content) as image:
                _check_size(image, masks)
                return cut(image, window, size)
        except (ImageFetchError, ImageError) as error:
            if isinstance(error, ImageFetchError) and error.is_transient:
                raise
            return None

    @cached_property
    def _client(self) -> LabelStudioClient | None:
        return LabelStudioClient.from_settings(self.settings)

    def _content(self, project: Project, task_id: int, reference: str | None, sha256: str | None) -> bytes:
        """The image's file: as it is kept, or in the cache, or fetched."""
        if sha256 is not None:
            if self.store.images.holds(sha256):
                return self.store.images.read(sha256)
            cached = self.settings.image_cache / sha256
            if cached.is_file():
                return cached.read_bytes()
        if reference is None:
            raise ImageFetchError("It is not known which image this was.")
        client = self._client if self._client is not None and self._client.url == project.label_studio_url else None
        return fetch_image(reference, client, self.settings, task_id=task_id).read_bytes()

    def _decoded(self, content: bytes) -> "_Decoded":
        return _Decoded(content, min(_MOST_PIXELS, self.settings.max_image_pixels), self._one_large)


class _Decoded:
    """An image while it is looked at; of large ones one at a time is in memory."""

    def __init__(self, content: bytes, max_pixels: int, one_large: threading.Lock) -> None:
        self._content, self._max_pixels = content, max_pixels
        self._turn = one_large if _pixels(content) > _LARGE_PIXELS else nullcontext()

    def __enter__(self) -> Image.Image:
        self._turn.__enter__()
        try:
            return load_image(self._content, self._max_pixels)
        except BaseException:
            self._turn.__exit__(None, None, None)
            raise

    def __exit__(self, *_: object) -> None:
        self._turn.__exit__(None, None, None)


def _pixels(content: bytes) -> int:
    """By the header; 0 for what is no image, which is refused where it is read."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return image.width * image.height
    except Exception:  # noqa: BLE001 (Pillow raises nearly anything for damaged files)
        return 0


def _check_size(image: Image.Image, masks: list[CroppedMask]) -> None:
    if any((mask.width, mask.height) != image.size for mask in masks):
        raise ImageFetchError("The task shows another image now than when this was drawn.")


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()

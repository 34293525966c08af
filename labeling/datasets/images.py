"""The image files behind tasks, kept for good beside the masks: Label Studio may lose them, and the cache does."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image

from argenseg_model.images import load_image
from labeling.datasets.perceptual_hash import perceptual_hash
from labeling.datasets.splits import HashedImage
from labeling.errors import ImageFetchError, StoreError
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.images import fetch_image
from labeling.settings import Settings
from labeling.store import AnnotationRecord, Project, Store, TaskImage

ANOTHER_IMAGE = "the task shows another image now than when it was annotated"


@dataclass(frozen=True)
class KeptImage:
    """An image by its content, with its upright size in px. `reference` is what the task's data says of it."""

    hashed: HashedImage
    width: int
    height: int
    suffix: str
    reference: str

    def was_annotated_in(self, annotation: AnnotationRecord) -> bool:
        """Whether an annotation was made on this image, by all that is known."""
        if annotation.image_sha256 is not None:
            return annotation.image_sha256 == self.hashed.sha256
        return annotation.image_reference in (None, self.reference)


@dataclass(frozen=True)
class ImageKeeper:
    """Finds the images of tasks, in the store first."""

    store: Store
    client: LabelStudioClient | None
    settings: Settings

    def keep(self, project: Project, image: TaskImage) -> KeptImage:
        """The image that the task showed when it was annotated, fetched and kept if it was not yet.

        ImageFetchError or ImageError if it cannot be had or read, or if there is another one in its place by now.
        """
        content = self._kept(image.sha256)
        if content is None:
            content = self._fetch(project, image).read_bytes()
        sha256 = self.store.images.keep(content)
        if image.sha256 not in (None, sha256):
            raise ImageFetchError("The image is another one now than when it was predicted.")
        picture = load_image(content)
        width, height = picture.size
        hashed = HashedImage(sha256, perceptual_hash(picture))
        self.store.images.record(project, image.task_id, image.reference, sha256=sha256, width=width, height=height)
        return KeptImage(hashed, width, height, _suffix(content), image.reference)

    def fetch(self, project: Project, image: TaskImage) -> None:
        """Keep the file of an image that is not kept yet, unless its task was erased or changed meanwhile.

        ImageFetchError or ImageError as in `keep`: a damaged file may be put right later, and is not kept.
        """
        path = self._fetch(project, image)
        content = path.read_bytes()
        width, height = load_image(content).size
        if not self.store.images.keep_of_task(project, image, content, width, height):
            path.unlink(missing_ok=True)  # of the cache

    def _fetch(self, project: Project, image: TaskImage) -> Path:
        """Through the project's own Label Studio: another one may have another image under the same path."""
        client = self.client if self.client is not None and self.client.url == project.label_studio_url else None
        return fetch_image(image.reference, client, self.settings, task_id=image.task_id)

    def _kept(self, sha256: str | None) -> bytes | None:
        try:
            return None if sha256 is None else self.store.images.read(sha256)
        except StoreError as error:
            if error.is_transient:
                raise
            return None


_SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"II*\0": ".tif", b"MM\0*": ".tif", b"RIFF": ".webp"}


def exif_orientation(content: bytes) -> int:
    """1 for an upright picture, or where a damaged block of EXIF says nothing; 2 to 8 for one that is to be turned."""
    try:
        with Image.open(BytesIO(content)) as image:
            reported = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 (Pillow raises nearly anything for damaged metadata)
        return 1
    return reported if isinstance(reported, int) and 2 <= reported <= 8 else 1


def _suffix(content: bytes) -> str:
    return next((suffix for start, suffix in _SUFFIXES.items() if content.startswith(start)), ".img")

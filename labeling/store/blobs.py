"""Content-addressed blobs: a file is named by the SHA-256 of what is in it, local or on any store that fsspec knows."""

import hashlib
import io
import os
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import fsspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.errors import StoreError
from labeling.regions import one_bit_png
from labeling.regions.cropped_mask import CroppedMask

_WRITES = 16  # at a time
_NEW_S = 3600.0  # longer than any transaction
_DIGEST = re.compile("[0-9a-f]{64}")


class BlobStore:
    """Blobs below one folder or URL, such as "/data/blobs" or "s3://bucket/blobs"."""

    def __init__(self, url: str) -> None:
        try:
            self._filesystem, root = fsspec.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise StoreError(f"The blob folder cannot be used: {error}. Check BLOB_URL.") from error
        self.root = str(root).rstrip("/")
        self._is_local = isinstance(self._filesystem, fsspec.get_filesystem_class("file"))

    def put(self, content: bytes) -> str:
        """Store bytes and return their digest (hex). A blob is whole as soon as it has its name."""
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        try:
            if self._filesystem.exists(path):
                if self._is_local:
                    with suppress(OSError):  # of another user: it is there all the same
                        os.utime(path)  # for `delete_unless_new`
                return digest
            self._filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            if self._is_local:
                _write_whole(Path(path), content)
            else:
                self._filesystem.pipe_file(path, content)  # an object appears whole
        except OSError as error:
            raise StoreError(
                f"A blob could not be written: {error}. Check BLOB_URL and its free space.", is_transient=True
            ) from error
        return digest

    def put_file(self, path: Path) -> str:
        """Store a file's content and return its digest; no more than some of it is in memory."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not self.holds(digest):
            try:
                self._filesystem.makedirs(self._path(digest).rsplit("/", 1)[0], exist_ok=True)
                unfinished = f"{self._path(digest)}.{uuid.uuid4().hex}.part"
                self._filesystem.put_file(str(path), unfinished)
                self._filesystem.mv(unfinished, self._path(digest))
            except OSError as error:
                raise StoreError(
                    f"A blob could not be written: {error}. Check BLOB_URL and its free space.", is_transient=True
                ) from error
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes behind a digest; StoreError if they are missing or are not those that were stored."""
        try:
            content: bytes = self._filesystem.cat_file(self._path(digest))
        except FileNotFoundError:
            raise StoreError(f"Blob {digest} is missing. Restore the blob folder from a backup.") from None
        except OSError as error:
            raise StoreError(f"Blob {digest} could not be read: {error}. Check BLOB_URL.", is_transient=True) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise StoreError(f"Blob {digest} is damaged. Restore the blob folder from a backup.")
        return content

    def holds(self, digest: str) -> bool:
        """Whether there is a blob of this digest."""
        try:
            return bool(self._filesystem.exists(self._path(digest)))
        except OSError as error:
            raise StoreError(f"Blobs cannot be looked at: {error}. Check BLOB_URL.", is_transient=True) from error

    def digests(self) -> Iterator[str]:
        """The digests of all blobs, in no order; what else lies in the folder is left out.

        They are listed a folder at a time, a 256th of them.
        """
        for folder in self._listed(self.root):
            for path in self._listed(folder):
                name = path.rsplit("/", 1)[-1]
                if _DIGEST.fullmatch(name):
                    yield name

    def _listed(self, folder: str) -> list[str]:
        try:
            self._filesystem.invalidate_cache(folder)  # a bucket's listings would be kept in memory
            return [str(path) for path in self._filesystem.ls(folder, detail=False)]
        except (FileNotFoundError, NotADirectoryError):  # a bucket's folder is there while something is in it
            return []
        except OSError as error:
            raise StoreError(f"Blobs cannot be looked at: {error}. Check BLOB_URL.", is_transient=True) from error

    def delete(self, digest: str) -> None:
        """Forget a blob; nothing happens if there is none."""
        try:
            self._filesystem.rm_file(self._path(digest))
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(
                f"Blob {digest} could not be deleted: {error}. Check BLOB_URL.", is_transient=True
            ) from error

    def delete_unless_new(self, digest: str) -> None:
        """Forget a blob that nothing names, unless it was stored, or stored again, in the last hour: somebody may be
        about to name it. Of a bucket only the first time counts.
        """
        try:
            modified = self._filesystem.modified(self._path(digest))
        except (OSError, NotImplementedError):  # gone, or it will be said by `delete`
            modified = None
        if modified is None or time.time() - modified.timestamp() > _NEW_S:
            self.delete(digest)

    def put_mask(self, mask: NDArray[np.bool_]) -> str:
        """Store a mask (height, width) as a 1-bit PNG."""
        return self.put_masks([CroppedMask.of(mask)])[0]

    def put_masks(self, masks: Sequence[CroppedMask]) -> list[str]:
        """Store masks as 1-bit PNGs, several at a time: a disk or a bucket takes longer than the picture."""
        with ThreadPoolExecutor(_WRITES) as pool:
            return list(pool.map(lambda mask: self.put(one_bit_png.encode(mask)), masks))

    def get_mask(self, digest: str) -> NDArray[np.bool_]:
        """The mask, bool (height, width), behind a digest."""
        with Image.open(io.BytesIO(self.get(digest)), formats=["PNG"]) as image:
            return _is_drawn(image)

    def get_cropped(self, digest: str) -> CroppedMask:
        """The mask behind a digest, cropped to what is drawn."""
        with Image.open(io.BytesIO(self.get(digest)), formats=["PNG"]) as image:
            box = left, top, _, _ = image.getbbox() or (0, 0, 0, 0)
            return CroppedMask(_is_drawn(image.crop(box)), top, left, image.height, image.width)

    def _path(self, digest: str) -> str:
        return f"{self.root}/{digest[:2]}/{digest}"


def _is_drawn(image: Image.Image) -> NDArray[np.bool_]:
    return np.array(image).view(np.uint8) > 0  # Pillow's True is the byte 255, numpy's is 1


def _write_whole(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        with unfinished.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)

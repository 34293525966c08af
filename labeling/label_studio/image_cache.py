"""A folder of fetched images, named by the SHA-256 of their bytes; several processes may use it.

<sha256>            an image; its modification time is when it was last used
references/<3 digits> what a reference led to, by the first digits of its own SHA-256: "reference's image's"; its
                    modification time is when that was downloaded. The next one with these digits takes its place.
total               how many bytes the images have together; counted anew whenever that is over the quota
lock                held while `total` or a set of images is changed
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from labeling.errors import ImageOutage

_KEPT_SHARE = 0.9  # of the quota is what is left after cleaning up, so that the next image does not clean up again
_UNFINISHED_S = 3600.0  # after which a download's file is that of a process that was killed


class ImageCache:
    """At most `max_bytes` of images, those used longest ago removed first, but none that was used in the last `busy_s`:
    somebody may be about to open it. Errors of the disk are ImageOutages.
    """

    def __init__(self, folder: Path, max_bytes: int, busy_s: float) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._busy_s = busy_s

    def find(self, reference: str, max_age_s: float) -> Path | None:
        """The image that a reference led to, if that was downloaded at most `max_age_s` ago and is still here."""
        digest, entry = self._entry(reference)
        try:
            if time.time() - entry.stat().st_mtime > max_age_s:
                return None
            of_reference, name = entry.read_text().split()
            if of_reference != digest:
                return None
            os.utime(self.folder / name)
            return self.folder / name
        except (OSError, ValueError):
            return None

    def add(self, chunks: Iterable[bytes], check: Callable[[Path], None], reference: str | None = None) -> Path:
        """Keep an image and return its file; `check` looks at it first, and nothing is left behind if it raises.

        `reference`: what `find` shall find it by.
        """
        with self._disk_errors():
            self.folder.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as file:
                unfinished = Path(file.name)
                try:
                    for chunk in chunks:
                        digest.update(chunk)
                        file.write(chunk)
                    file.flush()
                    check(unfinished)
                    image = self._keep(unfinished, self.folder / digest.hexdigest())
                finally:
                    unfinished.unlink(missing_ok=True)
            if reference is not None:
                self._remember(reference, image.name)
            return image

    def _keep(self, unfinished: Path, image: Path) -> Path:
        with FileLock(self.folder / "lock"):
            added = 0 if image.exists() else unfinished.stat().st_size
            unfinished.replace(image)
            os.utime(image)
            total = self._read_total() + added
            if total > self._max_bytes:
                total = self._clean_up(keep=image)
            (self.folder / "total").write_text(str(total))
        return image

    def _read_total(self) -> int:
        try:
            return int((self.folder / "total").read_text())
        except (OSError, ValueError):
            return self._max_bytes  # not known: the next image counts

    def _clean_up(self, keep: Path) -> int:
        """Remove what was used longest ago, and what killed processes left; the bytes that stay."""
        now, total, images = time.time(), 0, []
        for item in os.scandir(self.folder):
            if not item.is_file():
                continue
            status = item.stat()
            if item.name.endswith(".part"):
                if now - status.st_mtime > _UNFINISHED_S:
                    Path(item.path).unlink(missing_ok=True)
            elif len(item.name) == 2 * hashlib.sha256().digest_size:
                total += status.st_size
                images.append((status.st_mtime, status.st_size, Path(item.path)))
        if total <= self._max_bytes:
            return total
        for used, size, image in sorted(images):
            if total <= self._max_bytes * _KEPT_SHARE or now - used < self._busy_s:
                break
            if image != keep:
                image.unlink(missing_ok=True)
                total -= size
        return total

    def _remember(self, reference: str, name: str) -> None:
        digest, entry = self._entry(reference)
        entry.parent.mkdir(exist_ok=True)
        fresh = entry.with_suffix(f".{uuid4().hex}")
        fresh.write_text(f"{digest} {name}")
        fresh.replace(entry)

    def _entry(self, reference: str) -> tuple[str, Path]:
        digest = hashlib.sha256(reference.encode()).hexdigest()
        return digest, self.folder / "references" / digest[:3]

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ImageOutage(f"Images cannot be stored: {reason}. Check ARGENSEG_DATA_DIR.") from error

"""Limits of age on what only grows: events, answers on the page, fetched images. The sweeper keeps them, once an hour.

Never touched: corrections with their masks, answers that were taken, images of submitted tasks, predictions that were
sent, model versions.
"""

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labeling.settings import Settings
from labeling.store import Store
from worker.finetune.leftovers import remove_leftovers

_DAY_S = 86400.0
_IMAGE = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Pruned:
    """How many went, or would go: events, answers on the page, and cached images with their bytes."""

    events: int
    answers: int
    images: int
    image_bytes: int

    def __str__(self) -> str:
        images = f"{self.images} cached images ({self.image_bytes / 1e6:.1f} MB)"
        return f"{self.events} events, {self.answers} answers on the page, {images}"


def prune(settings: Settings, store: Store, *, dry_run: bool = False) -> Pruned:
    """Delete what is older than the settings keep it (KEEP_..._DAYS; 0: for ever), or only count it. StoreError."""
    events = answers = 0
    if settings.keep_events_days:
        before = _before(settings.keep_events_days)
        events = store.retention.old_events(before) if dry_run else store.retention.forget_events(before)
    if settings.keep_answers_days:
        before = _before(settings.keep_answers_days)
        answers = store.retention.old_interactive(before) if dry_run else store.retention.forget_interactive(before)
    images = _old_images(settings)
    size = sum(bytes_ for _, bytes_ in images)
    if not dry_run:
        for image, _ in images:
            image.unlink(missing_ok=True)
        remove_leftovers(settings, store)  # of runs that ended while nobody drove them
    return Pruned(events, answers, len(images), size)


def _before(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def _old_images(settings: Settings) -> list[tuple[Path, int]]:
    """Cached images that nobody used for so long; they are fetched again where they are wanted."""
    folder, oldest = settings.image_cache, time.time() - settings.keep_cached_images_days * _DAY_S
    if not settings.keep_cached_images_days or not folder.is_dir():
        return []
    found = []
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # another sweeper, or the cache itself, removes some too
            if _IMAGE.fullmatch(file.name) and (status := file.stat()).st_mtime < oldest:
                found.append((file, status.st_size))
    return found

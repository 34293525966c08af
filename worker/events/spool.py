"""Webhook events that could not be stored at once: one fsynced JSON file each, stored later, then deleted.

Written by the web process when the database is locked or its disk is full; drained by the sweeper.
"""

import json
import logging
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labeling.errors import RefusedByStore
from labeling.settings import Settings
from labeling.store import Store
from labeling.store.database import to_json_text

logger = logging.getLogger(__name__)


def spool_folder(settings: Settings) -> Path:
    """Where the events wait."""
    return settings.data_dir / "spool"


def write_event(
    folder: Path,
    action: str,
    payload: dict[str, Any],
    label_studio_url: str | None = None,
    *,
    idempotency_key: str | None = None,
) -> Path:
    """Write an event so that it survives a crash of the machine. OSError if the disk does not take it.

    `label_studio_url` is where it came from; `idempotency_key` what the store knows it by, if that has it after all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
    temporary, path = folder / f"{name}.tmp", folder / f"{name}.json"
    try:
        event = {
            "action": action,
            "payload": payload,
            "label_studio_url": label_studio_url,
            "idempotency_key": idempotency_key,
        }
        with temporary.open("w", encoding="utf-8") as file:
            file.write(to_json_text(event))  # in the request of an annotator who waits
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(folder)
    return path


def probe(folder: Path) -> bool:
    """Whether the folder takes an event just now."""
    temporary = folder / f"{uuid.uuid4().hex}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(b"{}")
            file.flush()
            os.fsync(file.fileno())
        temporary.unlink()
    except OSError:
        return False
    return True


def drain(
    folder: Path, store: Store, label_studio_url: str, *, on_tick: Callable[[], None] = lambda: None
) -> list[int]:
    """Store the waiting events, oldest first, and return their ids. StoreError stops it: the rest waits for next time.

    A file goes when its event is committed. One that is no event, or that the database refuses for good, is kept under
    the name `*.unreadable`. Events that do not say where they came from came from `label_studio_url`. `on_tick` is
    called before each one.
    """
    event_ids = []
    for path in sorted(folder.glob("*.json")):
        on_tick()
        try:
            event = json.loads(path.read_text(encoding="utf-8"))
            action, payload = str(event["action"]), dict(event["payload"])
            origin = str(event.get("label_studio_url") or label_studio_url)
            key = str(event.get("idempotency_key") or path.stem)
        except FileNotFoundError:  # another sweeper was first
            continue
        except (ValueError, KeyError, TypeError):
            _set_aside(path, "it holds no event")
            continue
        try:
            event_ids.append(store.events.record(action, payload, label_studio_url=origin, idempotency_key=key))
        except RefusedByStore as error:
            _set_aside(path, str(error))
            continue
        path.unlink(missing_ok=True)
    return event_ids


def _set_aside(path: Path, reason: str) -> None:
    logger.error("%s is kept as %s.unreadable: %s", path.name, path.stem, reason)
    path.rename(path.with_suffix(".unreadable"))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Evidence on its way into a data set, by image and prompt: in a temporary file, because there may be more of it than
fits into memory.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Self

from labeling.datasets.evidence import Evidence
from labeling.datasets.images import KeptImage
from labeling.datasets.splits import HashedImage
from labeling.errors import StoreError

_TABLES = """
CREATE TABLE images (sha256 TEXT PRIMARY KEY, perceptual_hash TEXT, width INT, height INT, suffix TEXT, reference TEXT);
CREATE TABLE tasks (project INT, task INT, sha256 TEXT, reference TEXT, reason TEXT, PRIMARY KEY (project, task));
CREATE TABLE evidence (id INTEGER PRIMARY KEY, sha256 TEXT, prompt TEXT, label TEXT, masks TEXT, care TEXT,
                       annotation TEXT, annotator_id INT, at TEXT, ground_truth INT);
"""
_COLUMNS = "sha256, prompt, label, masks, care, annotation, annotator_id, at, ground_truth"


class Gathered:
    """What was gathered so far: which image each task shows, and what annotations say about it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    @contextmanager
    def begin(cls) -> Iterator[Self]:
        """An empty one; its file (SQLite's own temporary one) goes with the `with` block. StoreError if it fails."""
        try:
            with closing(sqlite3.connect("", isolation_level=None)) as database:
                database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES)
                yield cls(database)
        except sqlite3.Error as error:
            raise StoreError(
                f"What goes into a data set cannot be gathered in a temporary file: {error}. Free some space, or set"
                " TMPDIR to another folder.",
                is_transient=True,
            ) from error

    def note_task(self, project_row_id: int, task_id: int, image: KeptImage | str) -> None:
        """The image that a task shows, or why there is none."""
        if isinstance(image, str):
            row: tuple[object, ...] = (project_row_id, task_id, None, None, image)
        else:
            facts = (image.hashed.sha256, image.hashed.perceptual_hash, image.width, image.height, image.suffix)
            self._database.execute("INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?, ?)", (*facts, image.reference))
            row = (project_row_id, task_id, image.hashed.sha256, image.reference, None)
        self._database.execute("INSERT INTO tasks VALUES (?, ?, ?, ?, ?)", row)

    def image_of(self, project_row_id: int, task_id: int) -> KeptImage | str | None:
        """What was noted; None if nothing was."""
        query = (
            "SELECT reason, sha256, perceptual_hash, width, height, suffix, tasks.reference FROM tasks"
            " LEFT JOIN images USING (sha256) WHERE project = ? AND task = ?"
        )
        row = self._database.execute(query, (project_row_id, task_id)).fetchone()
        if row is None:
            return None
        reason, sha256, perceptual_hash, width, height, suffix, reference = row
        return str(reason) if sha256 is None else _image(sha256, perceptual_hash, width, height, suffix, reference)

    def add(self, sha256: str, evidence: Evidence) -> None:
        """What an annotation says about an image."""
        said = (sha256, evidence.prompt, evidence.label, json.dumps(evidence.masks), evidence.care)
        values = (*said, evidence.annotation, evidence.annotator_id, evidence.at.isoformat(), evidence.ground_truth)
        self._database.execute(f"INSERT INTO evidence ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def images(self) -> Iterator[HashedImage]:
        """Those that something was said about, by content."""
        query = (
            "SELECT sha256, perceptual_hash FROM images WHERE sha256 IN (SELECT sha256 FROM evidence) ORDER BY sha256"
        )
        return (HashedImage(*row) for row in self._database.execute(query))

    def answers(self) -> Iterator[tuple[KeptImage, str, list[Evidence]]]:
        """What was said about an image and prompt, in the order in which it was added; by content and prompt."""
        query = (
            f"SELECT images.*, {_COLUMNS.replace('sha256, ', '')} FROM evidence JOIN images USING (sha256)"
            " ORDER BY evidence.sha256, prompt, id"
        )
        for (_, prompt), rows in groupby(self._database.execute(query), key=itemgetter(0, 6)):
            some = list(rows)
            yield _image(*some[0][:6]), str(prompt), [_evidence(*row[6:]) for row in some]

    def annotations(self) -> list[str]:
        """Those that said something, in order."""
        return [name for (name,) in self._database.execute("SELECT DISTINCT annotation FROM evidence ORDER BY 1")]


def _image(sha256: str, perceptual_hash: str, width: int, height: int, suffix: str, reference: str) -> KeptImage:
    return KeptImage(HashedImage(sha256, perceptual_hash), width, height, suffix, reference)


def _evidence(
    prompt: str, label: str | None, masks: str, care: str, annotation: str, annotator: int | None, at: str, truth: int
) -> Evidence:
    at_time, parts = datetime.fromisoformat(at), tuple(json.loads(masks))
    return Evidence(prompt, label, parts, care, annotation, annotator, at_time, bool(truth))  # type: ignore[arg-type]

"""Tell what kind of file annotations are in, and read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from argenseg_model.annotated_sets.coco import read_coco
from argenseg_model.annotated_sets.json_files import read_json
from argenseg_model.annotated_sets.problems import Problems
from argenseg_model.annotated_sets.refer import read_references
from argenseg_model.images import SUFFIXES
from argenseg_model.manifest import Manifest, ManifestError, Split


@dataclass(frozen=True)
class AnnotatedSet:
    """What was read, and what was left out of it: a line for a person for each thing, at most some dozens."""

    manifest: Manifest
    problems: tuple[str, ...] = ()


def read_annotated_set(path: str | Path, split: Split = "holdout", part: str | None = None) -> AnnotatedSet:
    """Read a manifest (.jsonl), COCO's instances (.json) or RefCOCO's references (refs(unc).p, or the same as .json).

    - A manifest says itself which items are trained on; `split` and `part` are for the others.
    - COCO: an item for each image and category, whose mask holds all its objects; and, with an empty mask, for a few
      categories that an image has nothing of. Pictures lie in `images/` beside the file, or beside it.
    - References: an item for each sentence; `instances.json` lies beside them. `part` is theirs, "val", "testA", ...

    What cannot be used in COCO's and RefCOCO's files is left out and reported. Raises ManifestError for a file of
    another kind, or of which nothing can be used.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir():
        raise ManifestError(f"{path}: is a folder; name the file with the annotations in it (.jsonl, .json or .p)")
    if suffix in SUFFIXES:
        raise ManifestError(
            f"{path}: is an image, no manifest; name the file with the annotations (.jsonl, .json or .p), "
            "or segment it: argenseg segment IMAGE --prompt TEXT --out DIR"
        )
    problems = Problems(path)
    if suffix in (".p", ".pkl", ".pickle"):
        items = read_references(path, split, part, problems)
    elif suffix == ".json":
        content = read_json(path)
        is_coco = isinstance(content, Mapping)
        items = read_coco(path, content, split, problems) if is_coco else read_references(path, split, part, problems)
    else:
        return AnnotatedSet(Manifest.read(path))
    if not items:
        raise ManifestError(f"{path}: nothing in it can be used. {' '.join(problems.lines()[:3])}".rstrip())
    return AnnotatedSet(Manifest(path.absolute().parent, tuple(items)), problems.lines())

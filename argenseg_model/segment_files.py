"""Segment image files into a folder: `masks/PROMPT/IMAGE.png`, `overlays/PROMPT/IMAGE.png` and `results.jsonl`."""

import json
import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from PIL import Image

from argenseg_model.errors import ARGenSegError, ImageError
from argenseg_model.files import partial_path, replace_file
from argenseg_model.images import SUFFIXES, load_image
from argenseg_model.loading_ahead import load_ahead
from argenseg_model.overlays import COLOURS, draw_overlay

MASKS, OVERLAYS, RESULTS, RUN = "masks", "overlays", "results.jsonl", "run.json"


class SegmentedPrompt(Protocol):
    """What is used of a `SegmentationResult`."""

    @property
    def mask(self) -> np.ndarray: ...
    @property
    def score(self) -> float: ...


class Segmenter(Protocol):
    """What is used of `ARGenSeg`."""

    def segment(
        self, images: Sequence[Image.Image], prompts: Sequence[str], template: str
    ) -> Sequence[Sequence[SegmentedPrompt]]: ...


@dataclass(frozen=True)
class ResultLine:
    """A line of `results.jsonl`: one image and one prompt.

    Attributes:
        image: as given; for an image of a given folder, the folder as given with the path inside it.
        prompt: as given.
        mask: path of the 8-bit PNG (0 or 255, upright original size) relative to the output folder; None on error.
        score: 0..1; None on error.
        area_px: foreground pixels; None on error.
        seconds: the prompt's share of the time the image took, waiting for it and writing included.
        error: None, or why there is no mask.
    """

    image: str
    prompt: str
    mask: str | None
    score: float | None
    area_px: int | None
    seconds: float
    error: str | None


def find_images(sources: Iterable[str], out: Path) -> list[str]:
    """The files as given, and for a folder the image files in it and below (by suffix, sorted).

    Hidden files and what an earlier run wrote into `out` are left out. A folder without images stays in the list as it
    is: it becomes an error line, like a file that is missing.
    """
    written = [(out / part).resolve() for part in (MASKS, OVERLAYS)]
    return [image for source in sources for image in _images_of(source, written)]


def _images_of(source: str, written: Sequence[Path]) -> list[str]:
    folder = Path(source)
    try:
        if folder.is_dir():
            images = [
                str(path)
                for path in sorted(folder.rglob("*"))
                if path.suffix.lower() in SUFFIXES
                and path.is_file()
                and not any(part.startswith(".") for part in path.relative_to(folder).parts)
                and not any(path.resolve().is_relative_to(part) for part in written)
            ]
            return images or [source]
    except OSError:  # a name that is too long, a folder that may not be searched: load_image will say so
        pass
    return [source]


class ResumeError(ARGenSegError):
    """What lies in the output folder is not the beginning of this run, or nobody said what is to become of it."""


Finished = Mapping[tuple[str, str, str | None], ResultLine]
"""Lines of an earlier run by image, prompt and mask."""


def begin_run(out: Path, run: Mapping[str, str], *, resume: bool = False, overwrite: bool = False) -> Finished:
    """Note in `out` (made if need be) what its results are made with, and return those of an earlier run to keep.

    Nothing is kept unless `resume`. A line is kept when its mask is there and not older than its image; those of a run
    that was killed count too.
    Raises ResumeError when the earlier run was not `run`, or has results and neither `resume` nor `overwrite` is said;
    OSError when `out` cannot be written.
    """
    results, note = out / RESULTS, out / RUN
    has_results = results.exists() or partial_path(results).exists()  # which a killed run leaves
    if has_results and not (resume or overwrite):
        raise ResumeError(
            f"{out} holds results of an earlier run, which this one would drop. Name another folder, or give --resume"
            " (keep what is finished) or --overwrite (begin again)"
        )
    out.mkdir(parents=True, exist_ok=True)
    written = json.dumps(run, indent=2) + "\n"
    is_same = note.is_file() and note.read_text(encoding="utf-8", errors="replace") == written
    finished: dict[tuple[str, str, str | None], ResultLine] = {}
    if is_same and resume:
        lines = [line for file in (results, partial_path(results)) if file.is_file() for line in _read_lines(file)]
        finished = {(line.image, line.prompt, line.mask): line for line in lines if _is_up_to_date(line, out)}
        with replace_file(results) as partial:  # the next run may be killed as well
            partial.write_text("".join(map(_as_json, finished.values())), encoding="utf-8")
    elif resume and has_results:
        raise ResumeError(
            f"{out} was not made with this model and template; give --overwrite instead of --resume to start afresh"
        )
    elif not is_same:  # its results must not be taken for this run's, should this one be killed
        results.unlink(missing_ok=True)
        partial_path(results).unlink(missing_ok=True)
    with replace_file(note) as partial:
        partial.write_text(written, encoding="utf-8")
    return finished


def _read_lines(file: Path) -> list[ResultLine]:
    lines = []
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(ResultLine(**json.loads(text)))
        except (ValueError, TypeError):  # cut off when the run was killed
            continue
    return lines


def _is_up_to_date(line: ResultLine, out: Path) -> bool:
    try:
        return line.mask is not None and (out / line.mask).stat().st_mtime >= Path(line.image).stat().st_mtime
    except OSError:
        return False


def segment_files(
    segmenter: Segmenter,
    images: Sequence[str],
    prompts: Sequence[str],
    out: Path,
    template: str = "class",
    report: Callable[[list[ResultLine]], None] = lambda lines: None,
    finished: Finished = MappingProxyType({}),
) -> list[ResultLine]:
    """Segment every image by every prompt and write masks, overlays and `results.jsonl` into `out` (made if need be).

    An image that cannot be read or segmented becomes lines with an error, and the next one follows. `report` gets the
    lines of each image when it is done. Every file appears whole, by renaming; `results.jsonl` describes this run and
    appears at its end, or on Ctrl-C or when a mask cannot be written, then with the images that were done.
    The next images are decoded in threads meanwhile (see `loading_ahead`).
    An image whose lines are all in `finished`, with the masks that it would get now, is not segmented again.
    Raises OSError when `out` cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    image_names, prompt_names = _UniqueNames(), _UniqueNames()
    folders = [prompt_names.of(prompt) for prompt in prompts]
    done: list[ResultLine] = []
    stopped: KeyboardInterrupt | OSError | None = None
    names = [f"{image_names.of(Path(image).stem)}.png" for image in images]
    paths_of = [[f"{folder}/{name}" for folder in folders] for name in names]
    kept = [_finished_lines(finished, image, prompts, paths) for image, paths in zip(images, paths_of, strict=True)]
    pictures = load_ahead([image for image, lines in zip(images, kept, strict=True) if not lines], _load_image)
    with (
        closing(pictures),
        replace_file(out / RESULTS) as partial,
        partial.open("w", encoding="utf-8") as file,
    ):
        for image, paths, lines in zip(images, paths_of, kept, strict=True):
            if stopped and not lines:
                continue
            try:
                if not lines:
                    try:
                        _, picture = next(pictures)
                        lines = _segment_file(segmenter, image, picture, prompts, paths, out, template)
                    except OSError as error:
                        stopped = error
                        continue
                file.write("".join(map(_as_json, lines)))
                file.flush()  # what is done can be resumed even when this process is killed
                done += lines
                report(lines)
            except KeyboardInterrupt as pressed:
                stopped = pressed
        if stopped and not done:
            raise stopped
    if stopped:
        raise stopped
    return done


def _finished_lines(
    finished: Finished, image: str, prompts: Sequence[str], paths: Sequence[str]
) -> list[ResultLine] | None:
    keys = [(image, prompt, f"{MASKS}/{path}") for prompt, path in zip(prompts, paths, strict=True)]
    return [finished[key] for key in keys] if all(key in finished for key in keys) else None


def _as_json(line: ResultLine) -> str:
    return json.dumps(asdict(line)) + "\n"


def _segment_file(
    segmenter: Segmenter,
    image: str,
    load: Callable[[], Image.Image],
    prompts: Sequence[str],
    paths: Sequence[str],
    out: Path,
    template: str,
) -> list[ResultLine]:
    start = time.perf_counter()
    try:
        picture = load()
        results = segmenter.segment([picture], prompts, template=template)[0]
    except (ARGenSegError, MemoryError, RuntimeError) as error:  # torch tells lack of memory by a RuntimeError
        reason = str(error) if isinstance(error, ARGenSegError) else f"{type(error).__name__}: {error}"
        seconds = _share(start, prompts)
        return [ResultLine(image, prompt, None, None, None, seconds, reason) for prompt in prompts]
    for number, (result, path) in enumerate(zip(results, paths, strict=True)):
        overlay = draw_overlay(picture, result.mask, COLOURS[number % len(COLOURS)])
        _write_png(Image.fromarray(result.mask.astype(np.uint8) * 255), out / MASKS / path)
        _write_png(overlay, out / OVERLAYS / path)
    seconds = _share(start, prompts)
    return [
        ResultLine(image, prompt, f"{MASKS}/{path}", float(result.score), int(result.mask.sum()), seconds, None)
        for result, prompt, path in zip(results, prompts, paths, strict=True)
    ]


def _load_image(image: str) -> Image.Image:
    """The picture in a file. Of folders only those without any image are among the images (see `find_images`)."""
    with suppress(OSError):  # load_image will say so
        if Path(image).is_dir():
            raise ImageError(
                f"{image}: no image is in this folder; images are known by their suffix: {', '.join(sorted(SUFFIXES))}"
            )
    return load_image(image)


def _share(start: float, prompts: Sequence[str]) -> float:
    return round((time.perf_counter() - start) / len(prompts), 4)


def _write_png(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as partial:
        picture.save(partial, format="PNG")


class _UniqueNames:
    """File names out of free text: readable on every system, short, never the same one twice (whatever the case)."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, text: str) -> str:
        readable = re.sub(r"[^\w.]+", "-", unicodedata.normalize("NFC", text))[:50].strip("-.") or "unnamed"
        numbered = chain([readable], (f"{readable}-{number}" for number in count(2)))
        name = next(name for name in numbered if name.casefold() not in self._taken)
        self._taken.add(name.casefold())
        return name

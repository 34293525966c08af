"""Masks, overlays and results of many images: whatever happens on the way, what is there is whole."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from argenseg_model.segment_files import ResultLine, ResumeError, begin_run, find_images, segment_files
from tests.argenseg_model.bright_segmenter import BrightnessSegmenter, BrightRegion, files, pixels, run, square, written

FIELDS = ["image", "prompt", "mask", "score", "area_px", "seconds", "error"]
ROOT = Path(__file__).parents[2]


def test_masks_overlays_and_results_are_written(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    image = square(tmp_path / "cell.png")
    lines = run([image], ["bright", "green dog"], out)
    assert files(out) == [
        *("masks/bright/cell.png", "masks/green-dog/cell.png"),
        *("overlays/bright/cell.png", "overlays/green-dog/cell.png"),
        "results.jsonl",
    ]
    truth = np.zeros((30, 40), bool)
    truth[4:14, 4:14] = True
    for prompt, expected in {"bright": truth, "green-dog": ~truth & truth}.items():
        mask = Image.open(out / "masks" / prompt / "cell.png")
        assert mask.mode == "L" and np.array_equal(mask, expected * np.uint8(255))
        overlay = pixels(out / "overlays" / prompt / "cell.png")
        assert np.array_equal((overlay != pixels(image)).any(2), expected)
    first, second = written(out)
    assert list(first) == list(second) == FIELDS
    assert first | {"seconds": 0} == {
        "image": str(image), "prompt": "bright", "mask": "masks/bright/cell.png",
        "score": 0.75, "area_px": 100, "seconds": 0, "error": None,
    }  # fmt: skip
    assert (second["mask"], second["area_px"], second["error"]) == ("masks/green-dog/cell.png", 0, None)
    assert 0 < first["seconds"] < 60
    assert [line.prompt for line in lines] == ["bright", "green dog"]


def test_masks_are_upright_at_the_original_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    Image.open(square(tmp_path / "upright.png", size=(30, 50))).rotate(90, expand=True).save(
        tmp_path / "lying.png", exif=exif
    )
    run([tmp_path / "upright.png", tmp_path / "lying.png"], ["bright"], tmp_path)
    lying = Image.open(tmp_path / "masks/bright/lying.png")
    assert lying.size == (30, 50)
    assert lying == Image.open(tmp_path / "masks/bright/upright.png")


def test_a_bad_image_is_reported_and_the_next_one_follows(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(square(tmp_path / "good.png").read_bytes()[:-40])
    reported: list[list[ResultLine]] = []
    images = [str(tmp_path / name) for name in ("bad.png", "missing.png", "good.png")]
    segment_files(BrightnessSegmenter(), images, ["bright", "dark"], tmp_path, report=reported.append)
    bad, _, missing, _, good, _ = lines = written(tmp_path)
    assert [[line.prompt for line in lines] for lines in reported] == [["bright", "dark"]] * 3
    assert "is damaged or incomplete" in bad["error"] and "no such file" in missing["error"]
    for line in lines[:4]:
        assert (line["mask"], line["score"], line["area_px"]) == (None, None, None)
        assert line["seconds"] >= 0
    assert good["error"] is None
    assert files(tmp_path / "masks") == ["bright/good.png", "dark/good.png"]


def test_what_the_model_refuses_or_lacks_memory_for_becomes_an_error_line(tmp_path: Path) -> None:
    class Exhausted(BrightnessSegmenter):
        def segment(self, *_: object, **__: object) -> list[list[BrightRegion]]:
            raise RuntimeError("CUDA out of memory")

    image = str(square(tmp_path / "a.png"))
    assert run([image], ["bright"], tmp_path, template="reasoning")[0].error == "a threshold does not reason"
    assert segment_files(Exhausted(), [image], ["x"], tmp_path)[0].error == "RuntimeError: CUDA out of memory"


def test_equal_names_do_not_collide(tmp_path: Path) -> None:
    images = [
        square(tmp_path / name, at) for at, name in enumerate(["a/x.png", "b/x.png", "c/X.png", "a/x.bmp", "a/x-2.png"])
    ]
    lines = run(images, ["bright", "Bright", "dark!", "dark?"], tmp_path / "out")
    masks = [line.mask for line in lines]
    assert len({mask.casefold() for mask in masks}) == len(images) * 4
    assert files(tmp_path / "out/masks") == sorted(mask.removeprefix("masks/") for mask in masks)
    for at, image in enumerate(images):
        line = next(line for line in lines if line.image == str(image))
        assert np.argwhere(pixels(tmp_path / "out" / line.mask))[0].tolist() == [at, at]


@pytest.mark.parametrize(
    "prompt", ["/etc/../x", "..", "日本語 – все клетки", "a" * 600, "\N{COMBINING ACUTE ACCENT}", "-", "🙂" * 99]
)
def test_any_prompt_and_name_gives_files_inside_the_folder(tmp_path: Path, prompt: str) -> None:
    name = prompt.replace("/", "_").encode()[:240].decode(errors="ignore")
    image = square(tmp_path / "in" / f"i{name}.png")
    (line,) = run([image], [prompt], tmp_path / "out")
    (mask,) = files(tmp_path / "out" / "masks")
    assert line.mask == f"masks/{mask}" and mask.count("/") == 1
    assert written(tmp_path / "out")[0]["prompt"] == prompt


def test_folders_give_their_images_but_not_what_was_written(tmp_path: Path) -> None:
    out = tmp_path / "in"
    for name in ("b.PNG", "a.png", "deep/c.tif", ".hidden/d.png", ".e.png"):
        square(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    expected = [str(tmp_path / "in" / name) for name in ("a.png", "b.PNG", "deep/c.tif")]
    for _ in range(2):  # the second time, the output of the first lies in the same folder
        assert find_images([str(tmp_path / "in")], out) == expected
        run(expected, ["bright"], out)
    assert find_images(["x.png", str(tmp_path / "in/deep"), "x.png"], out) == ["x.png", expected[2], "x.png"]


def test_sources_without_images_become_error_lines(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sources = [str(tmp_path / "empty"), "n" * 5000]
    assert find_images(sources, tmp_path / "out") == sources
    errors = [line.error for line in run(sources, ["bright"], tmp_path / "out")]
    assert "no image is in this folder" in errors[0] and "check the path" in errors[1]


def test_a_second_run_replaces_the_results(tmp_path: Path) -> None:
    run([square(tmp_path / "a.png"), square(tmp_path / "b.png")], ["bright"], tmp_path)
    run([square(tmp_path / "a.png", at=9)], ["bright"], tmp_path)
    assert [line["image"] for line in written(tmp_path)] == [str(tmp_path / "a.png")]
    assert np.argwhere(pixels(tmp_path / "masks/bright/a.png"))[0].tolist() == [9, 9]


def test_ctrl_c_keeps_the_results_of_what_is_done(tmp_path: Path) -> None:
    def stop_after_two(lines: list[ResultLine]) -> None:
        if lines[0].image.endswith("b.png"):
            raise KeyboardInterrupt

    images = [str(square(tmp_path / name)) for name in ("a.png", "b.png", "c.png")]
    with pytest.raises(KeyboardInterrupt):
        segment_files(BrightnessSegmenter(), images, ["bright"], tmp_path / "out", report=stop_after_two)
    assert [Path(line["image"]).name for line in written(tmp_path / "out")] == ["a.png", "b.png"]


def test_a_full_disk_keeps_the_results_of_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = Image.Image.save

    def save_until_the_disk_is_full(image: Image.Image, path: Path, **options: str) -> None:
        if "b.png" in path.name:
            raise OSError(28, "No space left on device")
        save(image, path, **options)

    images = [str(square(tmp_path / name)) for name in ("a.png", "b.png", "c.png")]
    monkeypatch.setattr(Image.Image, "save", save_until_the_disk_is_full)
    with pytest.raises(OSError, match="No space left"):
        segment_files(BrightnessSegmenter(), images, ["bright"], tmp_path / "out")
    assert [Path(line["image"]).name for line in written(tmp_path / "out")] == ["a.png"]


class CountingSegmenter(BrightnessSegmenter):
    def __init__(self) -> None:
        self.calls = 0

    def segment(self, images: Sequence[Image.Image], prompts: Sequence[str], template: str) -> list[list[BrightRegion]]:
        self.calls += 1
        return super().segment(images, prompts, template)


RUN = {"model": "otsu", "template": "class"}


def resume(images: Sequence[str], prompts: Sequence[str], out: Path, stop_at: str = "", **run: str) -> int:
    """Images that were segmented, and not kept; Ctrl-C is pressed when `stop_at` is done."""

    def report(lines: list[ResultLine]) -> None:
        if stop_at and lines[0].image.endswith(stop_at):
            raise KeyboardInterrupt

    segmenter = CountingSegmenter()
    finished = begin_run(out, RUN | run, resume=True)
    try:
        segment_files(segmenter, images, prompts, out, report=report, finished=finished)
    except KeyboardInterrupt:
        assert stop_at
    return segmenter.calls


def test_a_run_is_resumed(tmp_path: Path) -> None:
    images = [str(square(tmp_path / name)) for name in ("a.png", "b.png", "c.png", "d.png")]
    (tmp_path / "c.png").write_text("damaged")
    out, prompts = tmp_path / "out", ["bright", "dark"]
    assert resume(images, prompts, out, stop_at="b.png") == 2
    assert resume(images, prompts, out) == 1  # c cannot be read, d is new
    whole = written(out)
    assert [(Path(line["image"]).name, bool(line["error"])) for line in whole[::2]] == [
        *(("a.png", False), ("b.png", False), ("c.png", True), ("d.png", False))
    ]
    square(tmp_path / "c.png")  # the error is tried again,
    os.utime(images[1], (2e9, 2e9))  # an image that has changed,
    (out / "masks/dark/d.png").unlink()  # and one whose mask is gone
    assert resume(images, prompts, out) == 3
    assert resume([*images[:1], *images[2:]], prompts, out) == 0
    assert resume([images[0], images[2]], ["bright", "green"], out) == 2
    with pytest.raises(ResumeError, match="was not made with this model"):
        resume(images, prompts, out, model="another")


def test_results_are_dropped_only_when_that_is_said(tmp_path: Path) -> None:
    images, out = [str(square(tmp_path / "a.png"))], tmp_path / "out"
    resume(images, ["bright"], out)
    with pytest.raises(ResumeError, match=r"--resume .* or --overwrite"):
        begin_run(out, RUN)
    assert len(written(out)) == 1
    begin_run(out, RUN, overwrite=True)


def test_a_link_in_place_of_the_unfinished_file_leads_nowhere(tmp_path: Path) -> None:
    theirs, out = tmp_path / "theirs", tmp_path / "out"
    theirs.write_text("precious")
    (out / "masks" / "bright").mkdir(parents=True)
    for name in (".results.jsonl.part", ".run.json.part", "masks/bright/.a.png.part"):
        (out / name).symlink_to(theirs)
    begin_run(out, RUN, overwrite=True)
    (out / ".results.jsonl.part").unlink(missing_ok=True)
    (out / ".results.jsonl.part").symlink_to(theirs)
    run([square(tmp_path / "a.png")], ["bright"], out)
    assert theirs.read_text() == "precious"
    assert len(written(out)) == 1 and not (out / "results.jsonl").is_symlink()


def test_a_killed_run_is_resumed_and_ctrl_c_loses_nothing_of_it(tmp_path: Path) -> None:
    images = [str(square(tmp_path / name)) for name in ("a.png", "b.png", "c.png")]
    out = tmp_path / "out"
    resume(images, ["bright"], out)
    lines = (out / "results.jsonl").read_text()
    (out / "results.jsonl").unlink()
    (out / ".results.jsonl.part").write_text(lines[:-9])  # killed while it wrote the last line
    new = [str(square(tmp_path / name)) for name in ("new.png", "newer.png")]
    assert resume([*new, *images], ["bright"], out, stop_at="new.png") == 1
    assert [Path(line["image"]).name for line in written(out)] == ["new.png", "a.png", "b.png"]
    assert resume([*new, *images], ["bright"], out) == 2


def test_resuming_with_another_model_drops_nothing_that_a_killed_run_left(tmp_path: Path) -> None:
    images, out = [str(square(tmp_path / "a.png"))], tmp_path / "out"
    resume(images, ["bright"], out)
    (out / "results.jsonl").rename(out / ".results.jsonl.part")  # it was killed
    with pytest.raises(ResumeError, match="was not made with this model"):
        resume(images, ["bright"], out, model="another")
    assert resume(images, ["bright"], out) == 0


def test_results_of_another_model_are_not_taken_up_after_a_kill(tmp_path: Path) -> None:
    images, out = [str(square(tmp_path / "a.png"))], tmp_path / "out"
    resume(images, ["bright"], out)
    begin_run(out, RUN | {"model": "another"}, overwrite=True)  # and is killed at once
    assert resume(images, ["bright"], out, model="another") == 1


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from PIL import Image
from argenseg_model.segment_files import segment_files
from tests.argenseg_model.bright_segmenter import BrightnessSegmenter

save, written = Image.Image.save, []

def save_half_and_die(image, path, **options):
    save(image, path, **options)
    written.append(path)
    if len(written) == 6:  # the first overlay of the second image
        os.truncate(path, path.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

Image.Image.save = save_half_and_die
segment_files(BrightnessSegmenter(), sys.argv[2:], ["bright", "dark"], Path(sys.argv[1]))
"""


def test_a_killed_run_leaves_no_half_written_file_and_the_next_run_cleans_up(tmp_path: Path) -> None:
    images = [str(square(tmp_path / name)) for name in ("a.png", "b.png", "c.png")]
    out = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, out, *images], env=environment, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    whole = [name for name in files(out) if not Path(name).name.startswith(".")]
    assert whole == [
        *("masks/bright/a.png", "masks/bright/b.png", "masks/dark/a.png"),
        *("overlays/bright/a.png", "overlays/dark/a.png"),
    ]
    for name in whole:
        Image.open(out / name).load()
    assert len(files(out)) > len(whole)  # the half-written one has its temporary name
    run(images, ["bright", "dark"], out)
    assert not [name for name in files(out) if Path(name).name.startswith(".")]
    assert len(written(out)) == 6

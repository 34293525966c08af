"""The cache folder: found again for a while, never over its quota, whatever several processes do to it."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labeling.errors import ImageFetchError
from labeling.label_studio.image_cache import ImageCache

KILOBYTE = 1000


def nothing_wrong(path: Path) -> None:
    assert path.stat().st_size


def content(number: int) -> bytes:
    return number.to_bytes(4) * (KILOBYTE // 4)


def images(cache: ImageCache) -> set[str]:
    return {file.name for file in cache.folder.iterdir() if len(file.name) == 64}


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.fixture
def cache(tmp_path: Path) -> ImageCache:
    return ImageCache(tmp_path / "images", 10 * KILOBYTE, busy_s=60)


def test_the_same_bytes_are_one_file(cache: ImageCache) -> None:
    first, second = (cache.add([b"ab", b"c"], nothing_wrong, url) for url in ("http://a", "http://b"))
    assert first == second == cache.folder / hashlib.sha256(b"abc").hexdigest()
    assert (cache.folder / "total").read_text()
    assert images(cache) == {first.name}


def test_a_reference_is_found_until_it_is_too_old(cache: ImageCache) -> None:
    image = cache.add([content(1)], nothing_wrong, "http://a")
    assert cache.find("http://a", 60) == image
    assert cache.find("http://b", 60) is None
    age(next((cache.folder / "references").iterdir()), 61)
    assert cache.find("http://a", 60) is None


def test_a_removed_image_is_not_found(cache: ImageCache) -> None:
    cache.add([content(1)], nothing_wrong, "http://a").unlink()
    assert cache.find("http://a", 60) is None


def test_a_reference_whose_place_was_taken_is_not_found(cache: ImageCache) -> None:
    """References share 4,096 places."""
    place: dict[str, str] = {}
    for number in range(10_000):
        digits = hashlib.sha256(str(number).encode()).hexdigest()[:3]
        if digits in place:
            break
        place[digits] = str(number)
    first = cache.add([content(1)], nothing_wrong, place[digits])
    second = cache.add([content(2)], nothing_wrong, str(number))
    assert first != second
    assert cache.find(str(number), 60) == second
    assert cache.find(place[digits], 60) is None


def test_a_damaged_entry_is_not_found(cache: ImageCache) -> None:
    cache.add([content(1)], nothing_wrong, "http://a")
    for damage in ("", "x", "x y z"):
        next((cache.folder / "references").iterdir()).write_text(damage)
        assert cache.find("http://a", 60) is None


def test_what_was_used_longest_ago_goes_first(cache: ImageCache) -> None:
    kept = [cache.add([content(number)], nothing_wrong, f"http://{number}") for number in range(10)]
    for number, image in enumerate(kept):
        age(image, 1000 - number)
    assert cache.find("http://0", 60) == kept[0]  # used now
    newest = cache.add([content(10)], nothing_wrong)
    left = images(cache)
    assert {kept[0].name, newest.name} <= left
    assert kept[1].name not in left and kept[2].name not in left
    assert len(left) == 9  # 90 % of the quota
    assert (cache.folder / "total").read_text() == str(9 * KILOBYTE)


def test_what_is_in_use_stays_over_the_quota(cache: ImageCache) -> None:
    for number in range(12):
        cache.add([content(number)], nothing_wrong)
    assert len(images(cache)) == 12
    for image in images(cache):
        age(cache.folder / image, 61)
    cache.add([content(12)], nothing_wrong)
    assert len(images(cache)) == 9


@pytest.mark.parametrize("total", ["", "nonsense", None])
def test_a_lost_total_is_counted_anew(cache: ImageCache, total: str | None) -> None:
    cache.add([content(1)], nothing_wrong)
    (cache.folder / "total").unlink() if total is None else (cache.folder / "total").write_text(total)
    cache.add([content(2)], nothing_wrong)
    assert (cache.folder / "total").read_text() == str(2 * KILOBYTE)


def test_nothing_is_left_of_an_image_that_is_refused(cache: ImageCache) -> None:
    def refuse(path: Path) -> None:
        raise ImageFetchError("no image")

    with pytest.raises(ImageFetchError, match="no image"):
        cache.add([content(1)], refuse, "http://a")
    assert not list(cache.folder.iterdir())


def test_the_files_of_killed_downloads_go(cache: ImageCache) -> None:
    cache.folder.mkdir()
    old, young = cache.folder / "old.part", cache.folder / "young.part"
    for file in (old, young):
        file.write_bytes(content(0))
    age(old, 3601)
    for number in range(11):
        cache.add([content(number)], nothing_wrong)
    assert not old.exists() and young.exists()


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImageFetchError, match="ARGENSEG_DATA_DIR") as error:
        ImageCache(tmp_path / "file" / "images", KILOBYTE, 0).add([b"a"], nothing_wrong)
    assert error.value.is_transient


MANY = """
import sys
from pathlib import Path
from labeling.label_studio.image_cache import ImageCache
cache = ImageCache(Path(sys.argv[1]), 20_000, busy_s=0)
for number in range(100):
    cache.add([bytes([number]) * 1000], lambda path: None, f"http://{number}")
    cache.find(f"http://{number - 1}", 60)
"""


def test_processes_share_a_folder(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", MANY, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    left = [file for file in tmp_path.iterdir() if len(file.name) == 64]
    assert 0 < len(left) <= 20
    assert (tmp_path / "total").read_text() == str(1000 * len(left))
    for file in left:
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name

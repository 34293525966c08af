import hashlib
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labeling.errors import StoreError
from labeling.regions.cropped_mask import CroppedMask
from labeling.store.blobs import BlobStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(folder: Path) -> BlobStore:
    return BlobStore(str(folder))


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def test_a_blob_is_named_by_its_content_and_written_once(blobs: BlobStore, folder: Path) -> None:
    digest = blobs.put(b"mask")
    assert digest == hashlib.sha256(b"mask").hexdigest() == blobs.put(b"mask")
    assert blobs.get(digest) == b"mask"
    assert [file.name for file in files(folder)] == [digest]


@pytest.mark.parametrize("url", ["file://{folder}", "{folder}/", "memory://{folder}"])
def test_any_file_system_that_fsspec_knows(url: str, folder: Path) -> None:
    blobs = BlobStore(url.format(folder=folder))
    assert blobs.get(blobs.put(b"mask")) == b"mask"


@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=70)))
@settings(max_examples=50)
def test_any_mask_survives(mask: np.ndarray) -> None:
    blobs = BlobStore("memory://masks")
    digest = blobs.put_mask(mask)
    read, cropped, expected = blobs.get_mask(digest), blobs.get_cropped(digest), CroppedMask.of(mask)
    assert (cropped.top, cropped.left, cropped.crop.shape) == (expected.top, expected.left, expected.crop.shape)
    for each in (read, cropped.full()):
        assert each.dtype == np.bool_
        assert np.array_equal(each, mask)
        assert np.array_equal(each.view(np.uint8), mask.astype(np.uint8))  # True is 1, for whoever counts or packs


def test_a_mask_is_a_small_png(blobs: BlobStore) -> None:
    content = blobs.get(blobs.put_mask(np.zeros((3000, 4000), np.bool_)))
    assert content.startswith(b"\x89PNG")
    assert len(content) < 10_000


def test_many_masks_are_stored_in_their_order(blobs: BlobStore) -> None:
    masks = [np.arange(40).reshape(5, 8) == index for index in range(40)]
    digests = blobs.put_masks([CroppedMask.of(mask) for mask in masks])
    assert digests == [blobs.put_mask(mask) for mask in masks]
    assert all(np.array_equal(blobs.get_mask(digest), mask) for digest, mask in zip(digests, masks, strict=True))
    assert blobs.put_masks([]) == []


def test_masks_wait_for_the_disk_together(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: time.sleep(0.1))
    began = time.monotonic()
    blobs.put_masks([CroppedMask.of(np.arange(40).reshape(5, 8) == index) for index in range(40)])
    assert time.monotonic() - began < 2


def test_a_missing_blob(blobs: BlobStore) -> None:
    with pytest.raises(StoreError, match="missing") as error:
        blobs.get("0" * 64)
    assert not error.value.is_transient


def test_a_damaged_blob(blobs: BlobStore, folder: Path) -> None:
    digest = blobs.put(b"mask")
    files(folder)[0].write_bytes(b"mosk")
    with pytest.raises(StoreError, match="damaged"):
        blobs.get(digest)


@given(st.text(max_size=70))
def test_a_digest_that_is_none_reads_nothing(digest: str) -> None:
    with pytest.raises(StoreError):
        BlobStore("memory://masks").get(digest)


def test_a_write_that_fails_leaves_nothing(blobs: BlobStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space") as error:
        blobs.put(b"mask")
    assert error.value.is_transient
    assert not files(folder)


def test_many_writers_of_one_blob(blobs: BlobStore, folder: Path) -> None:
    content = bytes(100_000)
    threads = [threading.Thread(target=blobs.put, args=(content,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [file.stat().st_size for file in files(folder)] == [100_000]


def test_a_url_that_cannot_be_used() -> None:
    with pytest.raises(StoreError, match="BLOB_URL"):
        BlobStore("unheard-of://bucket")

"""An image is on one side for good, and nothing that looks like it is on the other."""

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labeling.datasets.perceptual_hash import NEAR_BITS, HashTable, _orientations, distances, perceptual_hash
from labeling.datasets.splits import HashedImage, place_images
from labeling.errors import StoreError
from labeling.store import ImageSplit, Store


def hashed(bits: int) -> HashedImage:
    """An image that has the lowest `bits` bits of its perceptual hash set."""
    look = f"{(1 << bits) - 1:064x}"
    return HashedImage(hashlib.sha256(look.encode()).hexdigest(), look)


# along this line, images at most NEAR_BITS bits apart resemble each other: chains, clusters and loners
IMAGES = st.lists(st.integers(0, 256).map(hashed), max_size=25, unique=True)


def place(known: dict[str, ImageSplit], images: list[HashedImage], share: float) -> dict[str, ImageSplit]:
    return known | {each.sha256: each for each in place_images(list(known.values()), images, share)}


@given(IMAGES, st.lists(st.integers(1, 5), max_size=25), st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=25))
@settings(deadline=None)
def test_no_draw_can_leak(images: list[HashedImage], sizes: list[int], shares: list[float]) -> None:
    """Images come in any order and in any portions, the share changes, and everything is drawn again and again."""
    placed: dict[str, ImageSplit] = {}
    start = 0
    for size, share in zip([*sizes, len(images)], shares, strict=False):
        before = placed
        placed = place(place(placed, images[start : start + size], share), images[:start], 1 - share)
        assert all(placed[sha256].side == each.side for sha256, each in before.items())
        start += size
    used = [each for each in placed.values() if each.side != "quarantine"]
    for first in used:
        near = distances(first.perceptual_hash, [each.perceptual_hash for each in used]) <= NEAR_BITS
        for second, is_near in zip(used, near, strict=True):
            assert not is_near or (first.side, first.group) == (second.side, second.group)
    assert len({(each.group, each.side) for each in used}) == len({each.group for each in used})


def test_the_share_is_about_right_and_the_draw_repeats() -> None:
    images = [HashedImage(hashlib.sha256(bytes([n % 256, n // 256])).hexdigest(), f"{n:064x}") for n in range(400)]
    alone = [place_images([], [image], 0.25)[0].side for image in images]
    assert alone == [place_images([], [image], 0.25)[0].side for image in images]
    assert 70 < alone.count("holdout") < 130


def test_an_image_between_two_sides_is_quarantined_and_so_is_what_resembles_it() -> None:
    left, right = hashed(0), hashed(2 * NEAR_BITS)
    known = {
        left.sha256: ImageSplit(left.sha256, left.perceptual_hash, "a", "train"),
        right.sha256: ImageSplit(right.sha256, right.perceptual_hash, "b", "holdout"),
    }
    between, beside = hashed(NEAR_BITS), hashed(NEAR_BITS + 1)
    placed = place(place(known, [between], 0.2), [beside], 0.2)
    assert placed[between.sha256].side == placed[beside.sha256].side == "quarantine"
    assert (placed[left.sha256].side, placed[right.sha256].side) == ("train", "holdout")


def picture(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (9, 12, 3), np.uint8)
    return Image.fromarray(coarse).resize((240, 180), Image.Resampling.BICUBIC)


def changed(image: Image.Image) -> dict[str, Image.Image]:
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=50)
    brighter = np.clip(np.asarray(image, np.float64) * 1.1, 0, 255).astype(np.uint8)
    return {
        "re-encoded": Image.open(jpeg),
        "smaller": image.resize((120, 90)),
        "brighter": Image.fromarray(brighter),
        "cropped": image.crop((2, 2, 238, 178)),
        "mirrored": image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "turned": image.transpose(Image.Transpose.ROTATE_90).resize((90, 120)),
        "turned and mirrored": image.transpose(Image.Transpose.TRANSVERSE).crop((2, 2, 178, 238)),
    }


@pytest.mark.parametrize(
    "change", ["re-encoded", "smaller", "brighter", "cropped", "mirrored", "turned", "turned and mirrored"]
)
def test_what_looks_the_same_is_near_and_what_does_not_is_far(change: str) -> None:
    own = [perceptual_hash(picture(seed)) for seed in range(20)]
    for seed, look in enumerate(own):
        near = distances(perceptual_hash(changed(picture(seed))[change]), own)
        assert near[seed] <= NEAR_BITS
        assert np.delete(near, seed).min() > NEAR_BITS, look


def test_a_mirrored_image_joins_the_side_of_its_own_and_changes_none() -> None:
    own = HashedImage("a" * 64, perceptual_hash(picture(1)))
    turned = HashedImage("b" * 64, perceptual_hash(changed(picture(1))["turned"]))
    mirrored = HashedImage("c" * 64, perceptual_hash(changed(picture(1))["mirrored"]))
    known = ImageSplit(own.sha256, own.perceptual_hash, "g", "holdout")
    (joined,) = place_images([known], [own, mirrored], 0.0)
    assert (joined.sha256, joined.group, joined.side) == (mirrored.sha256, "g", "holdout")
    other = ImageSplit(
        turned.sha256, turned.perceptual_hash, "h", "train"
    )  # placed before turned ones were seen as near
    (between,) = place_images([known, other], [own, turned, mirrored], 0.0)
    assert (between.sha256, between.side) == (mirrored.sha256, "quarantine")


def test_the_store_keeps_sides(store: Store) -> None:
    images = [hashed(0), hashed(200)]
    first = store.datasets.place_images(lambda known: place_images(known, images, 0.5))
    assert store.datasets.place_images(lambda known: place_images(known, images, 0.9)) == first
    other = {"train": "holdout", "holdout": "train"}
    with pytest.raises(StoreError, match="stays there"):
        store.datasets.place_images(
            lambda known: [ImageSplit(each.sha256, each.perceptual_hash, "g", other[each.side]) for each in known]
        )
    assert store.datasets.place_images(lambda known: []) == first


def test_a_table_of_hashes_finds_what_comparing_each_with_all_finds() -> None:
    rng = np.random.default_rng(0)
    hashes = [rng.bytes(32).hex() for _ in range(300)]
    for number in range(0, 300, 3):  # every third one is like the one before, mirrored or turned, up to 70 bits away
        bits = np.unpackbits(list(_orientations(hashes[number - 1]))[number % 8])
        bits[rng.choice(256, int(rng.integers(0, 70)), replace=False)] ^= 1
        hashes[number] = np.packbits(bits).tobytes().hex()
    table = HashTable(hashes[:100])
    for each in hashes[100:]:
        table.add(each)
    expected = [np.flatnonzero(distances(each, hashes) <= NEAR_BITS).tolist() for each in hashes]
    assert [table.near(each) for each in hashes] == expected
    assert sum(map(len, expected)) > 400

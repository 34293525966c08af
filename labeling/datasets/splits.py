"""Train or holdout: drawn once for each image, by its content, together with all that look nearly the same.

What was drawn stays: a new image joins the group of those it resembles. One that resembles images of both sides belongs
to neither (quarantine), and so does one that resembles such an image: else what is measured would have been trained on.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from labeling.datasets.perceptual_hash import HashTable
from labeling.store import ImageSplit

HOLDOUT_SHARE = 0.2


@dataclass(frozen=True)
class HashedImage:
    """An image by the SHA-256 of its file, and what it looks like."""

    sha256: str
    perceptual_hash: str


def place_images(
    known: Sequence[ImageSplit], images: Sequence[HashedImage], holdout_share: float = HOLDOUT_SHARE
) -> list[ImageSplit]:
    """Sides and groups of images that have none yet, and of known ones whose groups became one with another.

    Groups grow together (union of what resembles each other), but no side ever changes. The draw depends on the first
    image of a group alone: repeated, or on another machine, it is the same.
    """
    placed = {each.sha256: each for each in known}
    order = list(placed)  # as in the table
    table = HashTable([each.perceptual_hash for each in known])
    changed: dict[str, ImageSplit] = {}
    for image in images:
        if image.sha256 in placed:
            continue
        alike = [placed[order[number]] for number in table.near(image.perceptual_hash)]
        sides = {each.side for each in alike}
        if not alike:
            group, side = f"p-{image.sha256[:16]}", _draw(image.sha256, holdout_share)
        elif len(sides) == 1 and "quarantine" not in sides:
            group, side = alike[0].group, alike[0].side
            merged = {each.group for each in alike} - {group}
            joining = [other for other in placed.values() if other.group in merged] if merged else []
            for each in joining:
                placed[each.sha256] = changed[each.sha256] = replace(each, group=group)
        else:
            group, side = f"q-{image.sha256[:16]}", "quarantine"
        new = ImageSplit(image.sha256, image.perceptual_hash, group, side)
        placed[image.sha256] = changed[image.sha256] = new
        order.append(image.sha256)
        table.add(image.perceptual_hash)
    return list(changed.values())


def _draw(sha256: str, holdout_share: float) -> str:
    number = int(hashlib.sha256(f"side of {sha256}".encode()).hexdigest()[:8], 16)
    return "holdout" if number / 2**32 < holdout_share else "train"

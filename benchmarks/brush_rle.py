"""How much faster our brush RLE is than label-studio-sdk's: ratios of medians, both timed in turn in one run.

PYTHONPATH=. python benchmarks/brush_rle.py

Both take a mask and give the same list. Times are those of the processor, so that other programs disturb less; how
busy the machine was is printed.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from label_studio_sdk.converter.brush import decode_rle, mask2rle

from benchmarks.idleness import describe_idleness
from labeling.regions.brush_rle import decode, encode

SIZES = [(1024, 1024), (3000, 4000)]
RUNS = 15


def main() -> None:
    print(describe_idleness())
    print("(height, width)  mask    encode ours/sdk ms  ratio    decode ours/sdk ms  ratio")
    for height, width in SIZES:
        for kind in ("smooth", "jagged"):
            mask = make_mask(height, width, kind)
            rle = encode(mask)
            assert rle == mask2rle(mask), "the two encoders must agree"
            assert np.array_equal(decode(rle, width, height), mask)
            ours, theirs = alternate(partial(encode, mask), partial(mask2rle, mask))
            our_decode, their_decode = alternate(partial(decode, rle, width, height), partial(decode_rle, rle))
            print(
                f"({height}, {width})".ljust(16),
                f"{kind}  {ours:7.1f} / {theirs:7.1f}  {theirs / ours:6.1f}x",
                f"  {our_decode:7.1f} / {their_decode:7.1f}  {their_decode / our_decode:6.1f}x",
            )


def make_mask(height: int, width: int, kind: str) -> np.ndarray:
    """Blobs (uint8, 0 or 255); "jagged" ones have noisy edges."""
    rng = np.random.default_rng(0)
    field = cv2.resize(rng.standard_normal((12, 16)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    if kind == "jagged":
        field += 0.1 * rng.standard_normal(field.shape).astype(np.float32)
    return (field > 0.5).astype(np.uint8) * 255


def alternate(a: Callable[[], object], b: Callable[[], object]) -> tuple[float, float]:
    """Median milliseconds of the processor of both, run in turn so that a drift of the machine meets both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(RUNS):
        for call, taken in zip((a, b), times, strict=True):
            start = time.process_time()
            call()
            taken.append((time.process_time() - start) * 1000)
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main()

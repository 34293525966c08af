"""What another prompt about the same image takes, against one about an image that is new.

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/same_image.py      about a minute and a half on one core

The starter in this process, on a simulated microscope picture. In turn: a prompt with nothing kept of images, the
first prompt that something is kept of, the second; the same wording for all three, whose answers must be the same.
Ratios of medians of CPU time, against the first of the three.
"""

import io
import os
import statistics
import time

import numpy as np
import torch
from idleness import describe_idleness
from PIL import Image

from argenseg_model import ARGenSeg, SegmentationResult
from backend.console.demo.sample_project import NUCLEI

TURNS = 7
CACHE_BYTES = 2**28


def main() -> None:
    print(describe_idleness())
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    model = ARGenSeg.from_pretrained("starter")
    with Image.open(io.BytesIO(NUCLEI.images()["culture_12"])) as file:
        picture = file.convert("RGB")
    for side in (256, 512):
        image = picture.crop((0, 0, side, side))
        times: dict[str, list[float]] = {"nothing kept": [], "first prompt": [], "second prompt": []}
        for turn in range(TURNS + 1):
            prompt = f"all nuclei {turn}"
            model.prefix_cache.clear()
            answers = []
            for kind, max_bytes in zip(times, (0, CACHE_BYTES, CACHE_BYTES), strict=True):
                model.prefix_cache.max_bytes = max_bytes
                began = time.process_time()
                answers.append(model.segment(image, prompt)[0][0])
                if turn:  # the first warms up
                    times[kind].append(time.process_time() - began)
            assert all(is_same(answers[0], answer) for answer in answers)
        kept = model.prefix_cache.bytes / 2**20
        print(f"{side} px image, {len(answers[0].tokens)} tiles, {kept:.0f} MiB kept")
        alone = statistics.median(times["nothing kept"])
        for kind, seconds in times.items():
            median = statistics.median(seconds)
            print(f"    {kind:14} {median:6.3f} s   {median / alone:.2f}x")
    print(describe_idleness())


def is_same(one: SegmentationResult, other: SegmentationResult) -> bool:
    return np.array_equal(one.tokens, other.tokens) and np.array_equal(one.mask, other.mask)


if __name__ == "__main__":
    main()

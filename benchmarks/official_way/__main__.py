"""A mask by this package, beside the way the official code works, on the same random weights: ratios by stage.

    PYTHONPATH=. OMP_NUM_THREADS=1 python -m benchmarks.official_way [--turns N]      about a minute a turn

A mid-size model (see midsize.py) on one picture. In each turn: one prompt the official way; one prompt by
`ARGenSeg.segment`; eight prompts by it, with the pictures in float32 and in bfloat16. Ids must be equal, pictures
within a grey level (bfloat16: reported). Times are the processor's, medians of the turns; operations are counted by
torch.
"""

import argparse
import statistics
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from PIL import Image

from argenseg_model import ARGenSeg
from argenseg_model.processing import picture_to_uint8
from benchmarks.idleness import describe_idleness
from benchmarks.official_way.midsize import PROMPTS, midsize_model, sample_picture
from benchmarks.official_way.stages import NAMES, Stages
from benchmarks.official_way.straightforward import segment_straightforwardly

OFFICIAL, ONE, EIGHT, ONE_BF16, EIGHT_BF16 = (
    "official way", "ours, 1 prompt", "ours, 8 prompts", "ours, 1, bf16 picture", "ours, 8, bf16 pictures",
)  # fmt: skip
OURS = {ONE: (1, False), EIGHT: (8, False), ONE_BF16: (1, True), EIGHT_BF16: (8, True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3, help="each asks the official way another prompt (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe_idleness())
    model, image = midsize_model(), sample_picture()
    with watched(model, Stages()):
        model.segment(image, PROMPTS[0])  # warms up
    rows: dict[str, list[Stages]] = {name: [] for name in (OFFICIAL, *OURS)}
    largest = {False: 0, True: 0}
    for turn in range(arguments.turns):
        asked = turn % len(PROMPTS)
        stages = Stages()
        codes, picture = segment_straightforwardly(model, image, PROMPTS[asked], stages)
        rows[OFFICIAL].append(stages)
        expected = picture_to_uint8(picture[None])[0]
        for name, (count, in_bf16) in OURS.items():
            prompts = PROMPTS[asked : asked + 1] if count == 1 else PROMPTS
            stages = Stages()
            got_codes, got_pictures = segment(model, image, prompts, in_bf16, stages)
            place = prompts.index(PROMPTS[asked])
            assert np.array_equal(got_codes[place], codes.numpy()), f"{name}: other ids than the official way's"
            difference = int(np.abs(got_pictures[place].astype(int) - expected).max())
            largest[in_bf16] = max(largest[in_bf16], difference)
            rows[name].append(stages)
    flops = {OFFICIAL: Stages(counts_flops=True)}
    segment_straightforwardly(model, image, PROMPTS[0], flops[OFFICIAL])
    for name in (ONE, EIGHT):
        flops[name] = Stages(counts_flops=True)
        segment(model, image, PROMPTS[: OURS[name][0]], False, flops[name])
    report(rows, flops)
    print(f"ids equal; pictures within {largest[False]} of 255 grey levels, in bfloat16 within {largest[True]}")
    print(describe_idleness())


def segment(
    model: ARGenSeg, image: Image.Image, prompts: tuple[str, ...], in_bf16: bool, stages: Stages
) -> tuple[np.ndarray, np.ndarray]:
    """Codes and uint8 pictures of the prompts."""
    model.image_tokenizer.decodes_in_bf16 = in_bf16
    with watched(model, stages) as pictures:
        results = model.segment(image, list(prompts))[0]
    model.image_tokenizer.decodes_in_bf16 = False
    return np.stack([result.tokens[0] for result in results]), picture_to_uint8(torch.cat(pictures))


@contextmanager
def watched(model: ARGenSeg, stages: Stages) -> Iterator[list[torch.Tensor]]:
    """While it lasts, the model's own methods tell `stages` what they take; yields the pictures."""
    vqvae, pictures = model.image_tokenizer, []

    def watch(owner: object, method: str, stage: str | None) -> None:
        plain = getattr(owner, method)

        def measured(*args: object, **kwargs: object) -> object:
            with stages.measured(stage) if stage else nullcontext():
                result = plain(*args, **kwargs)
            if method == "decode":
                pictures.append(result)
            return result

        setattr(owner, method, measured)

    in_stages = (
        (model, "image_features", "image"),
        (model, "extend_images", "prompt"),
        (model, "fill_rows", "preamble"),
        (model, "decode_masks", "visual tokens"),
        (vqvae, "decode", "pictures"),
    )
    for owner, method, stage in in_stages:
        watch(owner, method, stage)
    try:
        yield pictures
    finally:
        for owner, method, _ in in_stages:
            delattr(owner, method)


def report(rows: dict[str, list[Stages]], flops: dict[str, Stages]) -> None:
    masks = {OFFICIAL: 1} | {name: count for name, (count, _) in OURS.items()}
    print(f"\na mask takes{'':12}", *(f"{name:>14}" for name in NAMES), f"{'all':>14}{'ratio':>8}")
    official = statistics.median(stages.total for stages in rows[OFFICIAL])
    for name, turns in rows.items():
        medians = [statistics.median(turn.totals[stage] for turn in turns) / masks[name] for stage in NAMES]
        total = statistics.median(turn.total for turn in turns) / masks[name]
        print(f"{name:24}", *(f"{value:12.3f} s" for value in medians), f"{total:12.3f} s{official / total:7.1f}x")
    for name, counted in flops.items():
        values = [counted.totals[stage] / masks[name] / 1e9 for stage in NAMES]
        ratio = flops[OFFICIAL].total / (sum(values) * 1e9)
        print(f"{name + ', GFLOP':24}", *(f"{value:14.1f}" for value in values), f"{sum(values):14.1f}{ratio:7.1f}x")


if __name__ == "__main__":
    main()

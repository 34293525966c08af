"""How much of the GPU worker's time an object of a crowded 12-megapixel image takes, beside the straightforward way.

PYTHONPATH=. python benchmarks/many_objects.py

Ours: from the model's mask to regions and the pictures that the store keeps, for 1,000 objects, over 1,000. The
straightforward way: each object is a mask of the whole image, which is drawn, read back, read once more to be
validated, and stored. Times are those of the processor.
"""

import io
import time
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

import labeling.answers
from benchmarks.idleness import describe_idleness
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.regions import brush_rle, one_bit_png
from labeling.regions.kinds import MAX_REGIONS, draw_regions

HEIGHT, WIDTH, COUNT, SAMPLE = 3000, 4000, 1000, 10
CONFIG = (
    '<View><Image name="image" value="$image"/><{kind} name="tag" toName="image" instances="true">'
    '<Label value="cell"/></{kind}></View>'
)


@dataclass(frozen=True)
class Found:
    mask: np.ndarray
    score: float = 0.9


def main() -> None:
    print(describe_idleness())
    labeling.answers.most_regions = lambda *_: MAX_REGIONS  # type: ignore[assignment]
    print(f"an object of {COUNT} on {WIDTH} x {HEIGHT} px:   ours ms   straightforward ms    ratio")
    for kind in ("Brush", "Bitmask", "Polygon", "Vector", "Rectangle"):
        config = parse_label_config(CONFIG.format(kind=f"{kind}Labels"))
        plan = plan_prompts(config, {})
        labeling.answers.build_answer(plan, config, {"cell": Found(discs(1))}, "v")  # imports
        began = time.process_time()
        prediction = labeling.answers.build_answer(plan, config, {"cell": Found(discs(COUNT))}, "v")
        assert len(prediction.regions) == COUNT
        for region in prediction.regions:
            one_bit_png.encode(region.shape)
        ours = (time.process_time() - began) / COUNT * 1000
        masks = [region.mask for region in prediction.regions[:SAMPLE]]
        began = time.process_time()
        for mask in masks:
            straightforward(kind.lower(), mask)
        theirs = (time.process_time() - began) / SAMPLE * 1000
        print(f"{kind:36}{ours:10.2f}{theirs:21.1f}{theirs / ours:8.0f}x")


def straightforward(kind: str, mask: np.ndarray) -> None:
    """Draw, read back, read again, store."""
    if kind == "brush":
        rle = brush_rle.encode(mask)
        for _ in range(2):
            assert (brush_rle.decode(rle, WIDTH, HEIGHT) >= 128).any()
    elif kind == "bitmask":
        picture, png = Image.fromarray(mask.view(np.uint8), mode="P"), io.BytesIO()
        picture.putpalette([0] * 6)
        picture.save(png, "PNG", bits=1, transparency=b"\x00\xff")
        for _ in range(2):
            assert (np.asarray(Image.open(png).convert("RGBA").getchannel("A")) >= 128).any()
    else:
        (drawn,) = draw_regions(kind, mask)
        for _ in range(2):
            assert drawn.mask.any()
    Image.fromarray(mask).save(io.BytesIO(), "PNG")


def discs(count: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for index in range(count):
        cv2.circle(mask, (index % 40 * 100 + 50, index // 40 * 100 + 50), 14 + index % 3, 1, -1)
    return mask > 0


if __name__ == "__main__":
    main()

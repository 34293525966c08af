"""What `argenseg segment FOLDER` holds in memory at 200 and at 2,000 images, and at one of 100 megapixels.

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/folder_memory.py [--images 200 2000]

Each in a process of its own, with the starter on images of 256 x 256 px made for it; the most memory resident (VmHWM),
and a ratio to the first. It must not grow with the number of images.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.idleness import describe_idleness

SIDE = 256
_CHILD = """
import sys
from pathlib import Path
from argenseg_model import ARGenSeg
from argenseg_model.segment_files import find_images, segment_files
source, out = sys.argv[1:]
images = find_images([source], Path(out))
lines = segment_files(ARGenSeg.from_pretrained("starter"), images, ["all nuclei"], Path(out))
assert all(line.error is None for line in lines), lines
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[200, 2000], help="numbers (%(default)s)")
    parser.add_argument("--large", action="store_true", help="also an image of 10,000 x 10,000 px: 2,500 tiles")
    arguments = parser.parse_args()
    print(describe_idleness())
    first = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for count in arguments.images:
            source = Path(folder) / str(count)
            make_images(source, count)
            most = measure(source, Path(folder) / f"out-{count}")
            first = first or most
            print(f"{count:6} images: {most:7.0f} MiB   {most / first:.2f}x")
        if arguments.large:
            source = Path(folder) / "large"
            source.mkdir()
            Image.new("RGB", (10_000, 10_000), "grey").save(source / "large.png")
            most = measure(source, Path(folder) / "out-large")
            print(f" 100 Mpixel: {most:8.0f} MiB   {most / first:.2f}x")
    print(describe_idleness())


def make_images(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(folder / f"{number}.png")


def measure(source: Path, out: Path) -> float:
    """The most memory of a process that segments the folder, MiB."""
    command = [sys.executable, "-c", _CHILD, str(source), str(out)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024


if __name__ == "__main__":
    main()

"""What a busy program beside it costs a process with the model: with threads that spin while they wait, and that sleep.

    PYTHONPATH=. python benchmarks/busy_neighbour.py [--cores 2] [--turns 5]      about a minute

In turn, each in a process of its own with the starter: alone and sleeping; beside as many busy loops as cores, with
OpenMP's default; beside them, as `argenseg_model.threads` sets it. All are bound to the same cores. Seconds a person
waits for a mask of 256 x 256 px, medians, and ratios against the first.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

from argenseg_model.threads import torch_environment
from benchmarks.idleness import describe_idleness

ANSWERS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=2, help="and busy loops, and threads (%(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        return answer()
    print(describe_idleness())
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}
    spinning, sleeping = plain | {"OMP_NUM_THREADS": str(arguments.cores)}, torch_environment(plain)
    waits: dict[str, list[float]] = {}
    for _ in range(arguments.turns):
        measure(waits, "alone, sleeping", sleeping, 0)
        measure(waits, "beside busy loops, spinning", spinning, arguments.cores)
        measure(waits, "beside busy loops, sleeping", sleeping, arguments.cores)
    alone = statistics.median(waits["alone, sleeping"])
    for name, seconds in waits.items():
        print(f"    {name:30} {statistics.median(seconds):7.3f} s a mask {statistics.median(seconds) / alone:6.1f}x")
    print(describe_idleness())


def measure(waits: dict[str, list[float]], name: str, environment: dict[str, str], loops: int) -> None:
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        said = subprocess.run(
            [sys.executable, __file__, "--answer"], env=environment, capture_output=True, text=True, check=True
        )
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
    waits.setdefault(name, []).extend(map(float, said.stdout.split()))


def answer() -> None:
    """Print the seconds of some answers, after one that warms up."""
    import numpy as np

    from argenseg_model import ARGenSeg

    model = ARGenSeg.from_pretrained("starter")
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    for turn in range(ANSWERS + 1):
        began = time.perf_counter()
        model.segment(pixels, "all nuclei")
        if turn:
            print(time.perf_counter() - began)


if __name__ == "__main__":
    main()

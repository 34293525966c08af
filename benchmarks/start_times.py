"""How long starts take beside `python -c 'import click'`: ratios of the quickest of several, taken in turn in one run.

PYTHONPATH=. python benchmarks/start_times.py [RUNS]

Aims: every command's --help at most 8 times, importing the web application at most 20 times as long. Times are those
of the processor, so that other programs disturb less; how busy the machine was is printed.
"""

import os
import subprocess
import sys

from backend.console.cli import COMMANDS
from benchmarks.idleness import describe_idleness

STARTS = {
    "import click": (["-c", "import click"], 1.0),
    "import backend.web.app": (["-c", "import backend.web.app"], 20.0),
    "import worker.queue.jobs": (["-c", "import worker.queue.jobs"], 20.0),
    "argenseg --help": (["-m", "backend.console.cli", "--help"], 8.0),
    **{f"argenseg {name} --help": (["-m", "backend.console.cli", name, "--help"], 8.0) for name in COMMANDS},
}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    print(describe_idleness())
    quickest = dict.fromkeys(STARTS, float("inf"))
    for _ in range(runs):
        for what, (arguments, _aim) in STARTS.items():
            quickest[what] = min(quickest[what], processor_seconds(arguments))
    unit = quickest["import click"]
    print(f"{'start':<28}     ms  ratio   aim")
    for what, (_, aim) in STARTS.items():
        ratio = quickest[what] / unit
        print(f"{what:<28} {1000 * quickest[what]:6.0f} {ratio:6.1f} {aim:5.0f}{'' if ratio <= aim else '  missed'}")


def processor_seconds(arguments: list[str]) -> float:
    """What Python with these arguments takes of the processor, user and system."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    main()

"""Does the correction loop really learn? An experiment through the real Label Studio that anyone can rerun.

    python -m benchmarks.correction_loop --data DIR --out loop
    python -m benchmarks.correction_loop --data DIR --out control --shuffled 10

docs/data.md says where DIR can be had. The starter has never seen histology. A simulated annotator (annotator.py)
corrects its masks of histology images in Label Studio: first the 16 that the product holds out, then round by round.
After each round Start Training is pressed: webhook, scheduler, fine-tuning, gate. Winners are promoted, and the next
round corrects what they draw. After each round 18 test images are measured (measurement.py). OUT then holds
results.json, loop.png and loop.md.

A run that was killed goes on when the same command is given again, also with more --rounds. --shuffled fine-tunes on
masks that were shuffled among the images instead: the gate has to refuse every run. --ceiling measures what the model
comes to when it learns from all images at once, and adds that to OUT.
"""

import argparse
import sys
from pathlib import Path

from argenseg_model.errors import ARGenSegError
from benchmarks.correction_loop.controls import measure_ceiling, run_shuffled
from benchmarks.correction_loop.images import plan_rounds
from benchmarks.correction_loop.installation import LoopError, own_settings, running
from benchmarks.correction_loop.report import write_report
from benchmarks.correction_loop.rounds import LoopOptions, Results, run_rounds, say
from labeling.errors import LabelingError
from worker.errors import WorkerError


def main(argv: list[str] | None = None) -> int:
    """See this module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.correction_loop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv, images/, instances/")
    parser.add_argument("--out", type=Path, required=True, help="folder of this experiment")
    parser.add_argument("--model", default="starter", help="folder or 'starter' (%(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="at most (%(default)s)")
    parser.add_argument("--per-round", type=int, default=10, help="images corrected in a round (%(default)s)")
    parser.add_argument("--steps", type=int, default=200, help="of a fine-tune run (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of training and measuring (%(default)s)")
    parser.add_argument("--device", default="cpu", help="(%(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the images' order and the annotator's hand (%(default)s)"
    )
    parser.add_argument("--shuffled", type=int, metavar="RUNS", help="instead: so many runs on shuffled masks")
    parser.add_argument("--ceiling", action="store_true", help="instead: learn from all images at once")
    asked = parser.parse_args(argv)
    out = asked.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    try:
        return _run(asked, out)
    except (LoopError, LabelingError, WorkerError, ARGenSegError) as error:
        print(f"The experiment stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("Stopped; give the same command to go on.")
        return 130


def _run(asked: argparse.Namespace, out: Path) -> int:
    model = asked.model if asked.model == "starter" else str(Path(asked.model).absolute())
    options = LoopOptions(model, asked.rounds, asked.per_round, asked.steps, asked.seed)
    plan = plan_rounds(asked.data, options.rounds, options.per_round, options.seed)
    installed = model, asked.device, asked.threads, asked.steps
    if asked.shuffled:
        records = run_shuffled(plan, out, asked.shuffled, own_settings(out, *installed))
        refused = sum(record["verdict"] == "refused" for record in records)
        say(f"The gate stopped {refused} of {len(records)} runs on shuffled masks.")
        return int(refused < len(records))
    results = Results(out / "results.json", options)
    if asked.ceiling:
        measure_ceiling(plan, out, options, results, asked.data, own_settings(out, *installed))
    else:
        with running(out, *installed) as found:
            run_rounds(found, plan, options, results, asked.data)
    if results.rounds:
        write_report(results.content, out)
        say((out / "loop.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What an annotator waits for a box, a point or a typed text: alone, during a bulk job, and during a fine-tune run.

    python benchmarks/interactive_latency.py            all, twelve minutes on two cores
    OMP_NUM_THREADS=2 python benchmarks/interactive_latency.py alone      the model has both cores; three minutes

Backend, store, Redis, worker, scheduler and starter are real; a request is what Label Studio sends, a time is from the
request to the answered region. Between requests the annotator looks at the mask for two seconds, in which training goes
on; that it did is checked. Ratios against the first part of the same run; at the end it is repeated, to see whether the
machine stayed the same. A busy machine spoils times more than ratios; how idle it was is printed.
"""

import argparse
import base64
import io
import json
import os
import random
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from idleness import describe_idleness
from PIL import Image, ImageChops
from queue_throughput import BACKEND, STARTER, Bench, children, wait_for

from argenseg_model.manifest import Manifest, ManifestItem, encode_mask
from backend.console.demo.sample_project import NUCLEI
from worker.finetune.progress import run_folder
from worker.queue.queues import GPU, enqueue_prediction, open_queue

PORT = 19198
ASKED = 8  # of each kind in each part
THINK_S = 2.0
BULK_TASKS = 600  # more than are done meanwhile
HOLDOUT = 2  # images: with fewer than the gate asks for nothing would be learnt
SCHEDULER = "from backend.console.scheduler import scheduler; scheduler()"
LABEL_CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="mask" toName="image"><Label value="Nucleus" prompt="all nuclei"/></BrushLabels>
<RectangleLabels name="box" toName="image" smart="true"><Label value="Nucleus"/></RectangleLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="Nucleus"/></KeyPointLabels>
<TextArea name="prompt" toName="image"/></View>"""
LARGE, SMALL = "culture_12", "culture_01"

Times = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=["all", "alone"], default="all")
    is_all = parser.parse_args().part == "all"
    print(describe_idleness())
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            bench.start(BACKEND, port=PORT)
            with bench.workers(STARTER):
                wait_for(lambda: urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health").status == 200)
                idle = show("alone", ask_all())
                if is_all:
                    with bulk_job(bench):
                        show("during a bulk job", ask_all(), idle)
                    with finetune_run(bench):
                        show("during a fine-tune run", ask_all(), idle)
                    show("alone again", ask_all(), idle)
        finally:
            bench.close()
    print(describe_idleness())


def ask_all() -> Times:
    """Milliseconds of ASKED requests of each kind, in turn, each at another place."""
    asks: dict[str, Callable[[random.Random], float]] = {
        "box, 256 px image": lambda draw: ask(SMALL, 256, box(draw, 256)),
        "point, 256 px image": lambda draw: ask(SMALL, 256, point(draw)),
        "text, 256 px image": lambda draw: ask(SMALL, 256, text(draw)),
        "box, 512 px image": lambda draw: ask(LARGE, 512, box(draw, 512)),
        "point, 512 px image": lambda draw: ask(LARGE, 512, point(draw)),
        "text, 512 px image": lambda draw: ask(LARGE, 512, text(draw)),
        "text, new 512 px image": lambda draw: ask(LARGE, 512, text(draw), shift=draw.randrange(1, 512)),
    }
    draw = random.Random(time.time_ns())
    times: Times = {kind: [] for kind in asks}
    for turn in range(ASKED + 1):
        for kind, one in asks.items():
            took = one(draw)
            if turn:  # the first of each fetches the image
                times[kind].append(took)
            time.sleep(THINK_S)
    return times


def ask(image: str, side: int, region: dict[str, Any], shift: int = 0) -> float:
    """Milliseconds from a request to its answer, which must be one. `shift`: rolls the image, so that it is new."""
    body = {
        "tasks": [{"id": side, "data": {"image": data_url(image, side, shift)}}],
        "project": "7.1700000000",
        "label_config": LABEL_CONFIG,
        "params": {"context": {"result": [region]}},
    }
    content = json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/predict", content, {"Content-Type": "application/json"})
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=100) as response:
        (result,) = json.load(response)["results"]
    took = (time.perf_counter() - began) * 1000
    assert isinstance(result, dict), "there was no answer in time"
    return took


def box(draw: random.Random, side: int) -> dict[str, Any]:
    """Of 64 px, in percent."""
    width = 6400 / side
    place = {"x": draw.uniform(0, 100 - width), "y": draw.uniform(0, 100 - width), "width": width, "height": width}
    value = {**place, "rotation": 0, "rectanglelabels": ["Nucleus"]}
    return {"type": "rectanglelabels", "from_name": "box", "to_name": "image", "id": "b", "value": value}


def point(draw: random.Random) -> dict[str, Any]:
    value = {"x": draw.uniform(0, 100), "y": draw.uniform(0, 100), "width": 0.5, "keypointlabels": ["Nucleus"]}
    named = {"type": "keypointlabels", "from_name": "point", "to_name": "image", "id": "p"}
    return {**named, "is_positive": True, "value": value}


def text(draw: random.Random) -> dict[str, Any]:
    """Another wording each time: an answer that is known already costs nothing."""
    words = f"all nuclei {draw.randrange(10**6)}"
    return {"type": "textarea", "from_name": "prompt", "to_name": "image", "id": "t", "value": {"text": [words]}}


def data_url(image: str, side: int, shift: int) -> str:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(NUCLEI.images()[image])) as picture:
        ImageChops.offset(picture.crop((0, 0, side, side)), shift).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@contextmanager
def bulk_job(bench: Bench) -> Iterator[None]:
    """BULK_TASKS pictures of 256 px are queued; it must not end before the requests do."""
    for row in bench.want(BULK_TASKS, side=256):
        enqueue_prediction(bench.connection, row.id)
    queue = open_queue(bench.connection, GPU)
    done = BULK_TASKS - queue.count
    yield
    assert queue.count, "the bulk job was over too soon"
    print(f"    (the bulk job did {BULK_TASKS - queue.count - done} tasks meanwhile)")
    queue.empty()
    time.sleep(10)  # what the worker holds


@contextmanager
def finetune_run(bench: Bench) -> Iterator[None]:
    """The starter learns from the sample project's truth; it must get on meanwhile."""
    folder = bench.settings.data_dir / "set"
    folder.mkdir()
    items = []
    for number, (name, content) in enumerate(NUCLEI.images().items()):
        if (truth := NUCLEI.truth(name)) is None:
            continue
        (folder / f"{name}.png").write_bytes(content)
        side = "holdout" if number < HOLDOUT else "train"
        items.append(
            ManifestItem(
                image=f"{name}.png", width=truth.shape[1], height=truth.shape[0], prompt="all nuclei",
                mask=encode_mask(truth), weight=1.0, split=side, source="correction:bench", label=None, group=name,
            )
        )  # fmt: skip
    Manifest.write(folder / "manifest.jsonl", items)
    run = bench.store.finetunes.request("bench", None, manifest=str(folder / "manifest.jsonl"))
    assert run is not None
    scheduler = bench.start(SCHEDULER, finetune_steps=100_000, gate_min_images=HOLDOUT)
    log = run_folder(bench.settings, run) / "log.jsonl"
    wait_for(lambda: last_step(log) >= 10, 600)
    before, began = cpu_seconds(children(scheduler.pid)), time.monotonic()
    yield
    computed = cpu_seconds(children(scheduler.pid)) - before
    assert computed > 0, "training did not get on"
    print(f"    (training computed for {computed:.0f} of {time.monotonic() - began:.0f} s meanwhile)")
    scheduler.terminate()
    scheduler.wait(150)


def last_step(log: Path) -> int:
    lines = log.read_text().splitlines() if log.is_file() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def cpu_seconds(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # user and system time
    return ticks / os.sysconf("SC_CLK_TCK")


def show(part: str, times: Times, idle: Times | None = None) -> Times:
    print(part)
    for kind, measured in times.items():
        cuts = np.percentile(measured, [50, 95])
        ratio = "" if idle is None else f"   {cuts[0] / statistics.median(idle[kind]):.2f}x the median alone"
        print(f"    {kind:22} p50 {cuts[0]:6.0f} ms, p95 {cuts[1]:6.0f} ms{ratio}")
    sys.stdout.flush()
    return times


if __name__ == "__main__":
    main()

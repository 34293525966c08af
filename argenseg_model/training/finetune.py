"""Teach a model what annotators corrected: from a model folder and a manifest to a new model folder.

    python -m argenseg_model.training.finetune --model starter --manifest set.jsonl --out runs/7 --name starter-1.1
    accelerate launch --num_processes 4 -m argenseg_model.training.finetune ...      the same on four GPUs

The manifest may be COCO's or RefCOCO's too (argenseg_model.annotated_sets): what cannot be used of it, and images that
cannot be read, are reported and left out.

Small models learn with all weights but the VQ-VAE's and a pretrained backbone's, by the losses that they were trained
with; large ones by LoRA adapters, by the release's loss, merged when they are saved. About half of what a step sees is
replay: older items of the manifest and drawn scenes. A run that was stopped or killed goes on from its last checkpoint
when the same command is given again, and ends with the same weights, bit by bit, as if nothing had happened. SIGTERM:
checkpoint, then exit.

OUT then holds model/ (the new model), log.jsonl (losses, and IoU on holdout images: nothing is chosen by it) and
finished.json. Exit code: 0 finished, 75 stopped (give the command again to go on), 1 failed.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from argenseg_model.annotated_sets import read_annotated_set
from argenseg_model.checkpoints import locate, read_tensors
from argenseg_model.efficientnet import EfficientNetLite
from argenseg_model.errors import ARGenSegError
from argenseg_model.evaluation import evaluate, figures
from argenseg_model.files import replace_file
from argenseg_model.manifest import Manifest
from argenseg_model.model import ARGenSeg
from argenseg_model.samples import Sample
from argenseg_model.training.adapters import add_adapters, merge_adapters, trained_parameters
from argenseg_model.training.batches import to_batch
from argenseg_model.training.calibration import choose_least_score
from argenseg_model.training.manifest_samples import ManifestSamples
from argenseg_model.training.objective import Objective, TrainingHeads, training_losses
from argenseg_model.training.optimizers import make_optimizers, set_learning_rate
from argenseg_model.training.processes import Processes, join_processes
from argenseg_model.training.release_loss import release_losses

FINISHED, STOPPED = 0, os.EX_TEMPFAIL
LOSS_WEIGHTS = {"text": 0.1, "codes": 1.0}
CALIBRATION_SCENES = 400
OBJECTIVE = Objective(softness=0.02, noise=0.3, foreground=1.0, kept=0.5)


class FinetuneError(ARGenSegError):
    """A run cannot begin or go on; the message says what to change."""


@dataclass(frozen=True)
class FinetuneOptions:
    """How a run learns. Equal options, model and manifest give equal weights on the same machine.

    Attributes:
        name: of the new model, shown to people.
        steps: of the optimiser; each sees `groups` pictures with up to `prompts` prompts.
        replay: how many of the pictures are replay.
        kept_change: a small model ends that far from its weights before (0) towards those that it learnt (1), which
            costs little of what is new and keeps most of what it knew (Wortsman et al., "Robust fine-tuning of
            zero-shot models", arXiv 2109.01903).
        learning_rate: peak; adapters learn with it by AdamW, small models by Muon (on AdamW's scale).
        adapters_above: a model of more parameters learns by adapters of `rank`.
        checkpoint_every, measure_every: steps; `measure_images` of the holdout make the curve.
        bf16: compute in bfloat16 where that loses little, as is always done on a GPU.
        save_memory: one picture at a time by the release's loss, and activations computed again in the backward pass,
            which takes a third longer; with adapters it is always so.
        device: "cpu", "cuda" or "auto"; threads: of the CPU.
    """

    name: str
    steps: int = 300
    groups: int = 8
    prompts: int = 3
    replay: int = 4
    kept_change: float = 0.6
    learning_rate: float = 5e-4
    adapters_above: int = 200_000_000
    rank: int = 16
    seed: int = 0
    checkpoint_every: int = 50
    measure_every: int = 100
    measure_images: int = 8
    bf16: bool = False
    save_memory: bool = False
    device: str = "auto"
    threads: int = 1


def finetune(
    source: str | Path,
    manifest: Manifest,
    out: Path,
    options: FinetuneOptions,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Run to the end, True, or until `should_stop()`, False; then, as after a kill, call it again to go on.

    Raises FinetuneError if `out` holds another run, or the loss is no number; CheckpointError, ManifestError and
    ImageError for what is wrong with the input.
    """
    torch.set_num_threads(options.threads)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    processes = join_processes(torch.device(device))
    out.mkdir(parents=True, exist_ok=True)
    folder = locate(source)
    if processes.is_main:
        _claim(out, folder, manifest, options)
    processes.wait()
    if (out / "finished.json").is_file():
        return True
    run = _Run(folder, manifest, out, options, processes)
    step = run.resume()
    with _Log(out / "log.jsonl", step) if processes.is_main else nullcontext(_NoLog()) as log:
        while step < options.steps:
            if step % options.measure_every == 0 and processes.is_main:
                log.write(step, run.measure())
            losses = run.step(step)
            step += 1
            if step % 10 == 0:
                log.write(step, losses)
            stopped = processes.any(should_stop()) and step < options.steps
            if stopped or (step % options.checkpoint_every == 0 and step < options.steps):
                run.save_checkpoint(step)
            if stopped:
                return False
        if processes.is_main:
            log.write(step, run.measure())
            run.finish()
    processes.wait()
    return True


class _Run:
    """A model, its optimisers and its samples."""

    def __init__(
        self, folder: Path, manifest: Manifest, out: Path, options: FinetuneOptions, processes: Processes
    ) -> None:
        self._folder, self._out, self._options, self._processes = folder, out, options, processes
        self._stored_dtype = next(tensor.dtype for _, tensor in read_tensors(folder))
        device = processes.device
        on_gpu = device.type == "cuda"
        torch.manual_seed(options.seed)
        self.model = ARGenSeg.from_pretrained(folder, device=device)
        self.has_adapters = sum(p.numel() for p in self.model.parameters()) > options.adapters_above
        if self.has_adapters:
            if on_gpu:
                self.model.to(torch.bfloat16)
            add_adapters(self.model, options.rank)
        else:
            self.model.requires_grad_(True)
            self.model.image_tokenizer.requires_grad_(False)
            if isinstance(self.model.vision_model, EfficientNetLite):
                self.model.vision_model.backbone.requires_grad_(False)  # pretrained on far more than any run sees
        self._by_release = self.has_adapters or options.save_memory
        if self._by_release:
            _save_memory(self.model.language_model)
        self._device = device
        self._autocast = torch.autocast(device.type, torch.bfloat16, enabled=on_gpu or options.bf16)
        self._heads = None if self._by_release else TrainingHeads(self.model).to(device)
        self._trained = trained_parameters(self.model)
        if self.has_adapters:
            self._optimizers = [torch.optim.AdamW(self._trained.values(), lr=options.learning_rate, weight_decay=0.0)]
        else:
            self._optimizers = make_optimizers(self.model, options.learning_rate)
        self._samples = ManifestSamples(manifest, self.model.config, foreign=not self.has_adapters)
        held_out = sorted((item.is_replay, item.image) for item in manifest.items if item.split == "holdout")
        holdout = {image for _, image in [*dict.fromkeys(held_out)][: options.measure_images]}
        new = [item for item in manifest.items if item.split == "train" and not item.is_replay]
        self._taught = sorted({item.prompt for item in new if item.mask and not item.source.startswith("negative")})
        self._measured = replace(manifest, items=tuple(item for item in manifest.items if item.image in holdout))

    def step(self, step: int) -> dict[str, float]:
        """One update. What it sees depends on the seed and the number of the step alone."""
        options = self._options
        rng = np.random.default_rng((options.seed, step))
        torch.manual_seed(options.seed * 1_000_003 + step + self._processes.rank * 7_368_787)
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        set_learning_rate(self._optimizers, options.learning_rate, step, options.steps)
        groups = self._samples.draw(rng, options.groups, options.prompts, options.replay)
        sums: dict[str, float] = {}
        mine = self._processes.share(groups)
        for part in [[group] for group in mine] if self._by_release else filter(None, [mine]):
            losses = self._losses(part)
            share = len(part) / len(groups)
            total = sum(LOSS_WEIGHTS[name] * losses[name] for name in LOSS_WEIGHTS)
            (share * total).backward()
            for name in LOSS_WEIGHTS:
                sums[name] = sums.get(name, 0.0) + share * losses[name].item()
        totals = self._processes.add_up(torch.tensor([sums.get(name, 0.0) for name in LOSS_WEIGHTS])).tolist()
        sums = dict(zip(LOSS_WEIGHTS, totals, strict=True))
        if not np.isfinite(totals).all():
            raise FinetuneError(f"the loss is no number at step {step}; give a smaller --learning-rate")
        self._processes.add_up_gradients(self._trained.values())
        torch.nn.utils.clip_grad_norm_(self._trained.values(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
        return {name: round(value, 4) for name, value in sums.items()}

    def _losses(self, groups: list[list[Sample]]) -> dict[str, Tensor]:
        with self._autocast, self._device:  # tensors that the losses make lie where the model does
            if self._by_release:
                self.model.language_model.train()  # gradient checkpoints are made in this mode only
                return release_losses(self.model, groups[0])
            with torch.device("cpu"):
                batch = to_batch(self.model, groups)
            moved = {name: value.to(self._device) for name, value in vars(batch).items() if isinstance(value, Tensor)}
            return training_losses(self.model, self._heads, replace(batch, **moved), OBJECTIVE)

    def measure(self) -> dict[str, Any]:
        """Mean IoU and boundary IoU on some holdout images, for the curve."""
        if not self._measured.items:
            return {}
        self.model.eval()
        measured = figures(evaluate(self.model, self._measured))
        return {name: measured[name] for name in ("giou", "boundary_iou", "false_positives")}

    def save_checkpoint(self, step: int) -> None:
        state = {"step": step, "weights": {name: parameter.data for name, parameter in self._trained.items()}}
        if not self._processes.is_main:
            return
        with replace_file(self._out / "checkpoint.pt") as partial:
            torch.save(state | {"optimizers": [optimizer.state_dict() for optimizer in self._optimizers]}, partial)

    def resume(self) -> int:
        """Take up the last checkpoint, if there is one; the step to go on with."""
        file = self._out / "checkpoint.pt"
        if not file.is_file():
            return 0
        saved = torch.load(file, map_location=self._device, weights_only=True)
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(saved["weights"][name])
        for optimizer, state in zip(self._optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        return int(saved["step"])

    def finish(self) -> None:
        """Write the new model, then the word that it is whole.

        Where the model says how sure it must be (`least_score`), that is found anew: its scores are others now. Not so
        where it has names of more than scenes: scenes alone would empty windows and dents on photographs.
        """
        if self.has_adapters:
            merge_adapters(self.model)
        else:
            self._go_back()
        self.model.config.model_name = self._options.name
        if self.model.config.known_names:  # else it knows everything anyway
            for prompt in (prompt for prompt in self._taught if not self.model.knows(prompt).is_known):
                self.model.config.known_names[prompt.lower().strip(" .")] = [prompt.lower().strip(" .")]
        if self.model.config.least_score and not self.model.config.known_names:
            self.model.eval()
            self.model.config.least_score = round(choose_least_score(self.model, CALIBRATION_SCENES), 4)
        self.model.to(self._stored_dtype).save_pretrained(self._out / "model")
        with replace_file(self._out / "finished.json") as partial:
            partial.write_text(json.dumps({"name": self._options.name, "steps": self._options.steps}) + "\n")
        (self._out / "checkpoint.pt").unlink(missing_ok=True)

    @torch.no_grad()
    def _go_back(self) -> None:
        """Towards the weights before, by what is not kept of the change."""
        before = ARGenSeg.from_pretrained(self._folder, device=self._device).state_dict()
        for name, parameter in self._trained.items():
            parameter.lerp_(before[name], 1 - self._options.kept_change)


class _Log:
    """log.jsonl, a line at a time; what a killed run wrote after its last checkpoint is written again."""

    def __init__(self, file: Path, step: int) -> None:
        kept = []
        if file.is_file():
            for line in file.read_text().splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:  # cut off by a kill
                    continue
                if entry["step"] < step or (entry["step"] == step and "giou" not in entry):
                    kept.append(line + "\n")
        with replace_file(file) as partial:
            partial.write_text("".join(kept))
        self._file = file.open("a")
        self._started = time.monotonic()

    def __enter__(self) -> "_Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, step: int, values: dict[str, Any]) -> None:
        if values:
            line = {"step": step, "seconds": round(time.monotonic() - self._started, 1)} | values
            print(json.dumps(line), file=self._file, flush=True)


class _NoLog:
    def write(self, step: int, values: dict[str, Any]) -> None:
        """The main process writes."""


def _save_memory(language_model: torch.nn.Module) -> None:
    """Compute activations again in the backward pass (transformers renames this in 5.23)."""
    enable = getattr(language_model, "activation_checkpointing_enable", None)
    (enable or language_model.gradient_checkpointing_enable)({"use_reentrant": False})


def _claim(out: Path, folder: Path, manifest: Manifest, options: FinetuneOptions) -> None:
    """A folder is for one run: its checkpoint means nothing to another."""
    weights = sorted((file.name, file.stat().st_size) for file in folder.glob("*.safetensors"))
    facts = {"weights": weights, "config": (folder / "config.json").read_text(), "manifest": manifest.digest()}
    learning = {name: value for name, value in asdict(options).items() if name != "threads"}
    digest = hashlib.sha256(json.dumps(facts | learning, sort_keys=True).encode()).hexdigest()
    claim = out / "run.json"
    if claim.is_file() and json.loads(claim.read_text()).get("digest") != digest:
        raise FinetuneError(f"{out} holds a run of another model, manifest or options; give an empty folder as --out")
    with replace_file(claim) as partial:
        partial.write_text(json.dumps({"digest": digest, "options": asdict(options)}, indent=2) + "\n")


def main(argv: list[str] | None = None) -> int:
    """See this module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder, Hub id or 'starter'")
    parser.add_argument("--manifest", type=Path, required=True, help="ours, COCO's or RefCOCO's, its images beside it")
    parser.add_argument("--part", help="of RefCOCO's references: train, ...")
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    for name, default in asdict(FinetuneOptions(name="")).items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true")
            continue
        parser.add_argument(flag, type=type(default), default=default, required=name == "name", help="(%(default)s)")
    arguments = vars(parser.parse_args(argv))
    model, manifest, part, out = (arguments.pop(name) for name in ("model", "manifest", "part", "out"))
    asked_to_stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: asked_to_stop.append(received))
    try:
        read = read_annotated_set(manifest, "train", part)
        for problem in read.problems:
            print(problem, file=sys.stderr)
        options = FinetuneOptions(**arguments)
        finished = finetune(model, read.manifest, out, options, should_stop=lambda: bool(asked_to_stop))
    except ARGenSegError as error:
        print(error, file=sys.stderr)
        return 1
    return FINISHED if finished else STOPPED


if __name__ == "__main__":
    sys.exit(main())

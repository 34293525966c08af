"""Train the starter: tokenizer, VQ-VAE, vision tower, then all together, and how sure it must be; seeded, resumable.

    python -m recipes.starter.train --data DIR --out runs/starter

DIR holds the nuclei (manifest.csv, images/, instances/); only fluorescence images of split "train" are used, and scenes
drawn by code. A run that was stopped goes on from its last checkpoint when the same command is given again.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from argenseg_model.files import replace_file
from argenseg_model.model import ARGenSeg
from argenseg_model.prompting import ANSWERS, QUESTIONS
from argenseg_model.samples import Sample
from argenseg_model.tokenizer import load_tokenizer, train_byte_bpe
from argenseg_model.training.batches import scene_samples, to_batch
from argenseg_model.training.calibration import choose_least_score
from argenseg_model.training.objective import Objective, TrainingHeads, training_losses
from argenseg_model.training.optimizers import make_optimizers, set_learning_rate
from recipes.starter.config import TILE, initialise, starter_config
from recipes.starter.corpus import prompt_corpus
from recipes.starter.nuclei_batches import load_nuclei, nuclei_samples
from recipes.starter.train_vision import sight_loss, train_vision
from recipes.starter.train_vqvae import train_vqvae

SOFTNESS = 0.02
"""Spread of a soft target, as a share of the codebook's variance: about one nat of entropy."""
LOSS_WEIGHTS = {"text": 0.1, "codes": 1.0, "dense": 1.0, "seen": 0.5, "found": 0.5, "named": 0.3, "sight": 1.0}
SIGHT_PICTURES = 24
"""Scenes a step that are only looked at, without prompts: shapes go on being learnt, which takes far more pictures."""


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv, images/, instances/")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints, log and the finished model go here")
    parser.add_argument("--steps", type=int, default=2800, help="steps of the language model (default %(default)s)")
    parser.add_argument("--vqvae-steps", type=int, default=3000, help="steps of the VQ-VAE (default %(default)s)")
    parser.add_argument("--vision-steps", type=int, default=2000, help="of the vision tower (default %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="peak (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="starter-1", help="model name shown to people (default %(default)s)")
    parser.add_argument("--checkpoint-every", type=int, default=250, metavar="STEPS", help="(default %(default)s)")
    parser.add_argument("--validation-scenes", type=int, default=800, help="for least_score (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    model = _new_model(arguments)
    vqvae_file = arguments.out / "vqvae.pt"
    train_vqvae(model.image_tokenizer, arguments.data, vqvae_file, arguments.vqvae_steps, arguments.seed)
    heads = TrainingHeads(model)
    train_vision(model, heads, arguments.out / "vision.pt", arguments.vision_steps, arguments.seed)
    _train_together(model, heads, arguments)
    trained = ARGenSeg.from_pretrained(arguments.out / "model")
    trained.config.least_score = round(choose_least_score(trained, arguments.validation_scenes), 4)
    save_starter(trained, arguments.out / "model")


def _new_model(arguments: argparse.Namespace) -> ARGenSeg:
    if not (arguments.out / "tokenizer.json").is_file():
        wording = [text.replace("<image>", "").format(" ") for text in (*QUESTIONS.values(), *ANSWERS.values())]
        roles = ["user\n", "assistant\n", "system\n", "."]
        corpus = prompt_corpus(arguments.seed, 20_000) + (wording + roles) * 500
        train_byte_bpe(corpus, 1200, arguments.out)
    tokenizer = load_tokenizer(arguments.out)
    model = ARGenSeg(starter_config(tokenizer, arguments.name))
    model.tokenizer = tokenizer
    initialise(model)
    return model


def _train_together(model: ARGenSeg, heads: TrainingHeads, arguments: argparse.Namespace) -> None:
    """All weights but the VQ-VAE's, with warm-up and cosine decay; an average of the weights is what is kept."""
    model.image_tokenizer.requires_grad_(False)
    trained = torch.nn.ModuleList([model, heads])
    parameters = [p for p in trained.parameters() if p.requires_grad]
    optimizers = make_optimizers(trained, arguments.learning_rate)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.997))
    checkpoint, step = arguments.out / "checkpoint.pt", 0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        step = saved["step"]
        trained.load_state_dict(saved["trained"])
        average.load_state_dict(saved["average"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
    tiles = load_nuclei(arguments.data, TILE, model.config.autocontrast)
    started, log = time.monotonic(), (arguments.out / "log.jsonl").open("a")
    sums: dict[str, float] = {}
    while step < arguments.steps:
        rng = np.random.default_rng((arguments.seed, step))
        torch.manual_seed(arguments.seed * 1_000_003 + step)
        progress = step / arguments.steps
        set_learning_rate(optimizers, arguments.learning_rate, step, arguments.steps)
        samples = nuclei_samples(rng, tiles, 16) if step % 4 == 0 else _draw_scenes(rng, progress)
        objective = Objective(SOFTNESS, 0.3, _foreground(progress), kept=0.5 if progress < 0.85 else 1.0)
        losses = training_losses(model, heads, to_batch(model, samples), objective)
        losses["sight"] = sight_loss(model, heads, rng, SIGHT_PICTURES)
        loss = sum(LOSS_WEIGHTS[name] * value for name, value in losses.items())
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        average.update_parameters(model)
        step += 1
        for name, value in losses.items():
            key = ("nuclei_" if step % 4 == 1 else "scene_") + name
            sums[key] = sums.get(key, value.item()) * 0.95 + value.item() * 0.05
        if step % 50 == 0:
            line = {"step": step, "seconds": round(time.monotonic() - started, 1)}
            line |= {name: round(value, 4) for name, value in sums.items()}
            print(json.dumps(line), file=log, flush=True)
        if step % arguments.checkpoint_every == 0 or step == arguments.steps:
            state = {"step": step, "trained": trained.state_dict(), "average": average.state_dict()}
            with replace_file(checkpoint) as partial:
                torch.save(state | {"optimizers": [optimizer.state_dict() for optimizer in optimizers]}, partial)
            save_starter(average.module, arguments.out / "model")
    save_starter(average.module, arguments.out / "model")  # a run that was stopped between the two has an older one


def save_starter(model: ARGenSeg, folder: Path) -> None:
    """Write a model in half precision, in our layout."""
    half = ARGenSeg(model.config)
    half.load_state_dict(model.state_dict())
    half.tokenizer = model.tokenizer
    half.to(torch.float16).save_pretrained(folder)


def _foreground(progress: float) -> float:
    """Weight of tokens that hold mask: few, they must not drown at first; in the end an empty mask counts too."""
    return float(np.interp(progress, [0.2, 0.6, 0.8], [3.0, 1.0, 0.7]))


def _draw_scenes(rng: np.random.Generator, progress: float) -> list[list[Sample]]:
    """Curriculum: colours and shapes until words are heeded, then all that a prompt can say; absence counts late."""
    if progress < 0.1:
        kinds = {"colour", "shape", "colour shape", "absent colour", "absent shape", "absent pair"}
        return scene_samples(rng, 8, 4, TILE, 3, frozenset(kinds))
    level = 3 if rng.random() < 0.85 else 2
    return scene_samples(rng, 8, 4, TILE, level, absent_share=0.25 if progress < 0.5 else 0.4)


if __name__ == "__main__":
    main()

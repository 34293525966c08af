"""First stage of the starter: its VQ-VAE, trained on soft masks of views."""

import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from argenseg_model.files import replace_file
from argenseg_model.training.objective import picture_loss
from argenseg_model.vqvae import MultiScaleVQVAE
from recipes.starter.asking import ask
from recipes.starter.mask_pictures import CodebookAverages, train_step_loss
from recipes.starter.views import View

BATCH = 32
WARM_UP = 0.12
"""Share of the steps without quantisation."""


def train_vqvae(vqvae: MultiScaleVQVAE, views: list[View], checkpoint: Path, steps: int, seed: int) -> None:
    """Train in place, or load `checkpoint` when it exists; its losses go to a .jsonl file beside it."""
    if checkpoint.is_file():
        vqvae.load_state_dict(torch.load(checkpoint, weights_only=True))
        return
    vqvae.quantize.embedding.weight.requires_grad_(False)
    pictures = mask_pictures(views, min(10_000, steps * BATCH), seed)
    parameters = [p for p in vqvae.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=1e-4, betas=(0.9, 0.99))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.05)
    averages, started = None, time.monotonic()
    with checkpoint.with_suffix(".jsonl").open("w") as log:
        for step in range(steps):
            if averages is None and step >= WARM_UP * steps:
                averages = CodebookAverages(vqvae)
            loss = train_step_loss(vqvae, _draw(pictures), averages)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            scheduler.step()
            if step % 50 == 49:
                line = {"step": step + 1, "seconds": round(time.monotonic() - started), "loss": round(float(loss), 4)}
                print(json.dumps(line), file=log, flush=True)
    with replace_file(checkpoint) as partial:
        torch.save(vqvae.state_dict(), partial)


def polish_decoder(vqvae: MultiScaleVQVAE, views: list[View], checkpoint: Path, steps: int, seed: int) -> None:
    """Train what follows the codes in place, or load `checkpoint`; the codes of a mask stay what they are.

    Pictures are drawn from means of codes, from sure to quite unsure, as a language model's are.
    """
    if checkpoint.is_file():
        vqvae.load_state_dict(torch.load(checkpoint, weights_only=True))
        return
    pictures = mask_pictures(views, min(20_000, steps * BATCH), seed + 1)
    parameters = [*vqvae.decoder.parameters(), *vqvae.post_quant_conv.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=1e-4, betas=(0.9, 0.99))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.05)
    started, mean = time.monotonic(), 0.0
    with checkpoint.with_suffix(".jsonl").open("w") as log:
        for step in range(steps):
            target = _draw(pictures)
            f_hat = mean_codes(vqvae, target, 0.01 * 16 ** torch.rand(len(target), 1, 1))
            loss = picture_loss(vqvae.decoder(vqvae.post_quant_conv(f_hat)), target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            scheduler.step()
            mean = loss.item() if step == 0 else 0.97 * mean + 0.03 * loss.item()
            if step % 50 == 49:
                line = {"step": step + 1, "seconds": round(time.monotonic() - started), "loss": round(mean, 4)}
                print(json.dumps(line), file=log, flush=True)
                with replace_file(checkpoint.with_suffix(".partial")) as partial:
                    torch.save(vqvae.state_dict(), partial)
    with replace_file(checkpoint) as partial:
        torch.save(vqvae.state_dict(), partial)


@torch.no_grad()
def mean_codes(vqvae: MultiScaleVQVAE, target_B3HW: Tensor, softness_B11: Tensor) -> Tensor:
    """f_hat of pictures whose finest scale is a mean of codes near the right ones, by `softness` (as a soft target)."""
    quantizer, last = vqvae.quantize, len(vqvae.config.scales) - 1
    f = vqvae.latent(target_B3HW)
    f_hat = torch.zeros_like(f)
    for k in range(last):
        f_hat = quantizer.add_scale(f_hat, quantizer.nearest(quantizer.next_input(f - f_hat, k), k), k)
    rest, codebook = quantizer.next_input(f - f_hat, last), quantizer.codebook(last)
    distance = rest.square().sum(-1, keepdim=True) + codebook.square().sum(-1) - 2 * rest @ codebook.T
    weights = (-distance / (softness_B11 * codebook.var(0).sum())).softmax(-1)
    return quantizer.add_mean(f_hat, weights, last)


def _draw(pictures: Tensor) -> Tensor:
    """A random batch (B, 3, side, side) in [-1, 1] of uint8 pictures (N, side, side)."""
    batch = pictures[torch.randint(len(pictures), (BATCH,))].float() / 127.5 - 1
    return batch[:, None].expand(-1, 3, -1, -1)


def mask_pictures(views: list[View], count: int, seed: int) -> Tensor:
    """(count, side, side) uint8 soft masks that questions ask for, one in ten of them empty."""
    rng = np.random.default_rng(seed)
    pictures: list[np.ndarray] = []
    while len(pictures) < count:
        for question in ask(rng, views[rng.integers(len(views))], 2):
            if question.mask.any() or rng.random() < 0.1:
                pictures.append(question.mask)
    return torch.from_numpy(np.stack(pictures[:count]))

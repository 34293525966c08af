"""Train the VQ-VAE of a small model on masks alone: what it cannot draw, no language model can ask for.

Plain straight-through training loses most codes. What keeps them here: a start without quantisation, codebooks that
follow their members by moving averages, dead codes put back onto data, RMS-normalised latents.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from argenseg_model.training.objective import picture_loss
from argenseg_model.vqvae import MultiScaleVQVAE


@dataclass
class CodebookAverages:
    """Moving averages (decay 0.99) of each code's members; a code with hardly any is put onto a random member."""

    vqvae: MultiScaleVQVAE
    decay: float = 0.99

    def __post_init__(self) -> None:
        weight = self.vqvae.quantize.embedding.weight
        self.counts = torch.ones(len(weight))
        self.sums = weight.detach().clone()

    @torch.no_grad()
    def update(self, scale: int, rest_NC: Tensor, codes_N: Tensor) -> None:
        quantizer = self.vqvae.quantize
        at = slice(scale * quantizer.num_codes, (scale + 1) * quantizer.num_codes)
        members = torch.bincount(codes_N, minlength=quantizer.num_codes).float()
        sums = torch.zeros_like(self.sums[at]).index_add_(0, codes_N, rest_NC)
        self.counts[at].lerp_(members, 1 - self.decay)
        self.sums[at].lerp_(sums, 1 - self.decay)
        dead = (self.counts[at] < 0.03).nonzero()[:, 0]
        if len(dead):
            chosen = rest_NC[torch.randint(len(rest_NC), (len(dead),))]
            self.counts[at][dead], self.sums[at][dead] = 1.0, chosen
        quantizer.codebook(scale).copy_(self.sums[at] / self.counts[at].clamp(min=1e-3)[:, None])


def quantise_for_training(vqvae: MultiScaleVQVAE, f_BChw: Tensor, averages: CodebookAverages) -> Tensor:
    """f_hat of a latent, updating the codebooks on the way."""
    quantizer = vqvae.quantize
    f_hat = torch.zeros_like(f_BChw)
    for k in range(len(quantizer.scales)):
        rest_BLC = quantizer.next_input(f_BChw.detach() - f_hat.detach(), k)
        codes_BL = quantizer.nearest(rest_BLC, k)
        averages.update(k, rest_BLC.flatten(0, 1), codes_BL.flatten())
        f_hat = quantizer.add_scale(f_hat, codes_BL, k)
    return f_hat


def train_step_loss(vqvae: MultiScaleVQVAE, target_B3HW: Tensor, averages: CodebookAverages | None) -> Tensor:
    """Loss of a batch of target pictures; without `averages` nothing is quantised (warm-up)."""
    f_BChw = vqvae.latent(target_B3HW)
    if averages is None:
        f_hat, latent_loss = f_BChw, f_BChw.new_zeros(())
    else:
        q_BChw = quantise_for_training(vqvae, f_BChw, averages)
        latent_loss = F.mse_loss(q_BChw, f_BChw.detach()) + 0.25 * F.mse_loss(f_BChw, q_BChw.detach())
        f_hat = f_BChw + (q_BChw - f_BChw).detach()
    picture = vqvae.decoder(vqvae.post_quant_conv(f_hat))
    # all three channels show the same mask
    return picture_loss(picture, target_B3HW) + picture.var(1).mean() + latent_loss

"""Whether this processor draws a mask's picture faster in bfloat16 (AMX and AVX512-BF16 do, others emulate it)."""

import time

import torch

from argenseg_model.vqvae import MultiScaleVQVAE

ENOUGH = 0.8
"""Less than this share of the time must be left for pictures that are off by a few of 255 grey levels."""
_TURNS = 2


@torch.inference_mode()
def choose_decode_precision(vqvae: MultiScaleVQVAE) -> bool:
    """Let `vqvae.decode` work in bfloat16 if that is much faster here, and say whether it does.

    Measured by a few decodes, so it takes as long as they do. Never on a GPU, where other things than these decide.
    The ids of a mask stay the same, its edge may move by a pixel.
    """
    weight = vqvae.post_quant_conv.weight
    vqvae.decodes_in_bf16 = weight.device.type == "cpu" and weight.dtype == torch.float32
    if vqvae.decodes_in_bf16:
        vqvae.decodes_in_bf16 = _seconds(vqvae, in_bf16=True) < ENOUGH * _seconds(vqvae, in_bf16=False)
    return vqvae.decodes_in_bf16


def _seconds(vqvae: MultiScaleVQVAE, in_bf16: bool) -> float:
    """The fastest of some decodes after one that warms up, of the processor's time: neighbours do not count."""
    vqvae.decodes_in_bf16 = in_bf16
    side, C = vqvae.config.scales[-1], vqvae.config.z_channels
    latent = torch.zeros(1, C, side, side)
    times = []
    for _ in range(1 + _TURNS):
        began = time.process_time()
        vqvae.decode(latent)
        times.append(time.process_time() - began)
    return min(times[1:])

"""Multi-scale residual VQ-VAE: a picture of a mask <-> token maps from coarse to fine.

Module names follow VAR's checkpoint (`vae_ch160v4096z32.pth`, arXiv 2404.02905), so official keys load as they are.
Axes in names: B batch, C channels, h/w latent height/width, L tokens.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from argenseg_model.configuration import VQVAEConfig


class PixelNorm(nn.Module):
    """RMS over the channels of one place, so that a value depends on its own place only."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_BChw: Tensor) -> Tensor:
        x_BChw = x_BChw * torch.rsqrt(x_BChw.square().mean(1, keepdim=True) + 1e-6)
        return x_BChw * self.weight[:, None, None] + self.bias[:, None, None]


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.GroupNorm(32, channels, eps=1e-6) if kind == "group" else PixelNorm(channels)


def _conv(c_in: int, c_out: int, kernel_size: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel_size, padding=kernel_size // 2)


class ResnetBlock(nn.Module):
    def __init__(self, c_in: int, c_out: int, norm: str, kernel_size: int):
        super().__init__()
        self.norm1, self.conv1 = _norm(norm, c_in), _conv(c_in, c_out, kernel_size)
        self.norm2, self.conv2 = _norm(norm, c_out), _conv(c_out, c_out, kernel_size)
        self.nin_shortcut = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x_BChw: Tensor) -> Tensor:
        h_BChw = self.conv1(F.silu(self.norm1(x_BChw)))
        return self.nin_shortcut(x_BChw) + self.conv2(F.silu(self.norm2(h_BChw)))


class AttnBlock(nn.Module):
    """Single-head self-attention over all places."""

    def __init__(self, channels: int, norm: str):
        super().__init__()
        self.norm = _norm(norm, channels)
        self.qkv, self.proj_out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x_BChw: Tensor) -> Tensor:
        B, C, h, w = x_BChw.shape
        q, k, v = self.qkv(self.norm(x_BChw)).reshape(B, 3, C, h * w).transpose(2, 3).unbind(1)  # each (B, hw, C)
        out = F.scaled_dot_product_attention(q, k, v)
        return x_BChw + self.proj_out(out.transpose(1, 2).reshape(B, C, h, w))


class Downsample(nn.Module):
    def __init__(self, channels: int, kernel_size: int):
        super().__init__()
        self.pad = kernel_size == 3  # VAR pads right and below only; a 2x2 kernel keeps patches apart
        self.conv = nn.Conv2d(channels, channels, 3 if self.pad else 2, stride=2)

    def forward(self, x_BChw: Tensor) -> Tensor:
        return self.conv(F.pad(x_BChw, (0, 1, 0, 1)) if self.pad else x_BChw)


class Upsample(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = _conv(channels, channels, 3)

    def forward(self, x_BChw: Tensor) -> Tensor:
        return self.conv(F.interpolate(x_BChw, scale_factor=2, mode="nearest"))


def _middle(channels: int, config: VQVAEConfig, kernel_size: int) -> nn.Module:
    middle = nn.Module()
    middle.block_1 = ResnetBlock(channels, channels, config.norm, kernel_size)
    middle.attn_1 = AttnBlock(channels, config.norm) if config.attention else nn.Identity()
    middle.block_2 = ResnetBlock(channels, channels, config.norm, kernel_size)
    return middle


def _level(c_in: int, c_out: int, num_blocks: int, attention: bool, norm: str, kernel_size: int) -> nn.Module:
    level = nn.Module()
    widths = [c_in] + [c_out] * num_blocks
    level.block = nn.ModuleList(ResnetBlock(a, b, norm, kernel_size) for a, b in pairwise(widths))
    level.attn = nn.ModuleList(AttnBlock(c_out, norm) for _ in range(num_blocks) if attention)
    return level


def _run_level(level: nn.Module, x_BChw: Tensor) -> Tensor:
    for i, block in enumerate(level.block):
        x_BChw = block(x_BChw)
        if len(level.attn):
            x_BChw = level.attn[i](x_BChw)
    return x_BChw


def _run_middle(middle: nn.Module, x_BChw: Tensor) -> Tensor:
    return middle.block_2(middle.attn_1(middle.block_1(x_BChw)))


class Encoder(nn.Module):
    def __init__(self, config: VQVAEConfig):
        super().__init__()
        k, last = config.encoder_kernel_size, len(config.ch_mult) - 1
        widths = [config.ch, *(config.ch * m for m in config.ch_mult)]
        self.conv_in = _conv(3, config.ch, k)
        self.down = nn.ModuleList()
        for i, (c_in, c_out) in enumerate(pairwise(widths)):
            level = _level(c_in, c_out, config.num_res_blocks, config.attention and i == last, config.norm, k)
            if i != last:
                level.downsample = Downsample(c_out, k)
            self.down.append(level)
        self.mid = _middle(widths[-1], config, k)
        self.norm_out, self.conv_out = _norm(config.norm, widths[-1]), _conv(widths[-1], config.z_channels, k)

    def forward(self, picture_B3HW: Tensor) -> Tensor:
        x_BChw = self.conv_in(picture_B3HW)
        for level in self.down:
            x_BChw = _run_level(level, x_BChw)
            if hasattr(level, "downsample"):
                x_BChw = level.downsample(x_BChw)
        return self.conv_out(F.silu(self.norm_out(_run_middle(self.mid, x_BChw))))


class Decoder(nn.Module):
    def __init__(self, config: VQVAEConfig):
        super().__init__()
        last = len(config.ch_mult) - 1
        widths = [config.ch * m for m in config.ch_mult]
        c_in = widths[-1]
        self.conv_in, self.mid = _conv(config.z_channels, c_in, 3), _middle(c_in, config, 3)
        levels: list[nn.Module] = []
        for i in reversed(range(len(widths))):
            level = _level(c_in, widths[i], config.num_res_blocks + 1, config.attention and i == last, config.norm, 3)
            if i != 0:
                level.upsample = Upsample(widths[i])
            levels.insert(0, level)  # VAR stores the levels fine to coarse
            c_in = widths[i]
        self.up = nn.ModuleList(levels)
        self.norm_out, self.conv_out = _norm(config.norm, c_in), _conv(c_in, 3, 3)

    def forward(self, z_BChw: Tensor) -> Tensor:
        x_BChw = _run_middle(self.mid, self.conv_in(z_BChw))
        for level in reversed(self.up):
            x_BChw = _run_level(level, x_BChw)
            if hasattr(level, "upsample"):
                x_BChw = level.upsample(x_BChw)
        return self.conv_out(F.silu(self.norm_out(x_BChw)))


def _nearest_phi(depth: float, num_phi: int) -> int:
    """Which of the shared convolutions a scale at `depth` (0 first, 1 last) uses: VAR's PhiPartiallyShared."""
    edge = 1 / (3 if num_phi == 4 else 2) / num_phi
    ticks = np.linspace(edge, 1 - edge, num_phi)  # numpy, as VAR: depth 2/9 is a tie that rounding decides
    return int(np.argmin(np.abs(ticks - depth)))


class Quantizer(nn.Module):
    """Residual quantisation over scales: each scale codes what the coarser ones left over.

    `f_hat`, the sum so far, is phi_k(bicubic upsampling of scale k's codes), accumulated at the latent's side.
    """

    def __init__(self, config: VQVAEConfig):
        super().__init__()
        self.scales, self.num_codes, self.phi_ratio = tuple(config.scales), config.num_codes, config.phi_ratio
        self.num_codebooks = len(self.scales) if config.codebook_per_scale else 1
        self.embedding = nn.Embedding(self.num_codebooks * config.num_codes, config.z_channels)
        self.quant_resi = nn.Module()
        self.quant_resi.qresi_ls = nn.ModuleList(
            _conv(config.z_channels, config.z_channels, 3) for _ in range(config.num_phi)
        )
        # Usage statistics that VAR keeps in its checkpoints; they influence nothing.
        self.register_buffer("ema_vocab_hit_SV", torch.zeros(len(self.scales), config.num_codes))
        last = max(1, len(self.scales) - 1)
        self.phi_of_scale = [_nearest_phi(k / last, config.num_phi) for k in range(len(self.scales))]

    def codebook(self, scale: int) -> Tensor:
        """(num_codes, C) codes of a scale."""
        if self.num_codebooks == 1:
            return self.embedding.weight
        return self.embedding.weight[scale * self.num_codes : (scale + 1) * self.num_codes]

    def add_scale(self, f_hat_BChw: Tensor, codes_BL: Tensor, scale: int) -> Tensor:
        """f_hat with the codes of one scale added."""
        side = self.scales[scale]
        h_BLC = F.embedding(codes_BL, self.codebook(scale))
        return f_hat_BChw + self.spread(h_BLC.transpose(1, 2).unflatten(2, (side, side)), scale)

    def add_mean(self, f_hat_BChw: Tensor, weights_BLV: Tensor, scale: int) -> Tensor:
        """f_hat with a scale's mean codes added; `weights_BLV` of a token add up to 1."""
        side = self.scales[scale]
        h_BLC = weights_BLV @ self.codebook(scale).to(weights_BLV.dtype)
        h_BChw = h_BLC.to(f_hat_BChw.dtype).transpose(1, 2).unflatten(2, (side, side))
        return f_hat_BChw + self.spread(h_BChw, scale)

    def spread(self, h_BChw: Tensor, scale: int) -> Tensor:
        """What a scale's map of codes contributes to f_hat."""
        last = self.scales[-1]
        if h_BChw.shape[-1] != last:
            h_BChw = F.interpolate(h_BChw, size=(last, last), mode="bicubic")
        phi = self.quant_resi.qresi_ls[self.phi_of_scale[scale]]
        return h_BChw * (1 - self.phi_ratio) + phi(h_BChw) * self.phi_ratio

    def next_input(self, f_hat_BChw: Tensor, scale: int) -> Tensor:
        """(B, L, C): f_hat as the scale's tokens see it (area-interpolated)."""
        side = self.scales[scale]
        return F.interpolate(f_hat_BChw, size=(side, side), mode="area").flatten(2).transpose(1, 2)

    def nearest(self, rest_BLC: Tensor, scale: int) -> Tensor:
        """(B, L) index of the nearest code by squared Euclidean distance."""
        codes = self.codebook(scale)
        distance = rest_BLC.square().sum(-1, keepdim=True) + codes.square().sum(-1) - 2 * rest_BLC @ codes.T
        return distance.argmin(-1)

    def similarity(self, codes_BL: Tensor, scale: int) -> Tensor:
        """(B, L, num_codes) in [0, 1]: how much each code of the scale is like the given ones, by distance."""
        codebook = self.codebook(scale).float()
        distance = torch.cdist(codebook[codes_BL], codebook.expand(len(codes_BL), -1, -1)).square()
        return (-distance / (0.04 * codebook.var(0).sum())).exp()

    def encode(self, f_BChw: Tensor) -> list[Tensor]:
        """A latent -> code maps, one (B, L_k) a scale."""
        f_hat, codes = torch.zeros_like(f_BChw), []
        for k in range(len(self.scales)):
            codes.append(self.nearest(self.next_input(f_BChw - f_hat, k), k))
            f_hat = self.add_scale(f_hat, codes[-1], k)
        return codes


class MultiScaleVQVAE(nn.Module):
    """Pictures (B, 3, side, side) in [-1, 1] <-> codes (B, tokens_per_mask), scale after scale.

    `decodes_in_bf16` is for `decode` on a CPU (see `decode_precision`); codes never depend on it.
    """

    def __init__(self, config: VQVAEConfig):
        super().__init__()
        self.config = config
        self.decodes_in_bf16 = False
        self.encoder, self.decoder, self.quantize = Encoder(config), Decoder(config), Quantizer(config)
        k = config.encoder_kernel_size
        self.quant_conv = _conv(config.z_channels, config.z_channels, k)
        self.post_quant_conv = _conv(config.z_channels, config.z_channels, 3)

    def latent(self, picture_B3HW: Tensor) -> Tensor:
        """The continuous latent (B, C, h, w) before quantisation."""
        f_BChw = self.quant_conv(self.encoder(picture_B3HW))
        if self.config.normalize_latent:
            f_BChw = f_BChw * torch.rsqrt(f_BChw.square().mean(1, keepdim=True) + 1e-6)
        return f_BChw

    @torch.no_grad()
    def encode(self, picture_B3HW: Tensor) -> Tensor:
        """Codes (B, tokens_per_mask) of pictures in [-1, 1]."""
        return torch.cat(self.quantize.encode(self.latent(picture_B3HW)), dim=1)

    def decode(self, f_hat_BChw: Tensor) -> Tensor:
        """Pictures (B, 3, side, side) in [-1, 1] from the sum of all scales.

        On a CPU one at a time, which its caches hold, with the channels of a place side by side, as its kernels want
        them: 0.6x the time of a batch, and pictures that differ by rounding.
        """
        if f_hat_BChw.device.type != "cpu" or not len(f_hat_BChw):
            return self._decode(f_hat_BChw)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.decodes_in_bf16):
            latents = (f_hat_1Chw.contiguous(memory_format=torch.channels_last) for f_hat_1Chw in f_hat_BChw.split(1))
            return torch.cat([self._decode(latent).to(f_hat_BChw.dtype) for latent in latents])

    def _decode(self, f_hat_BChw: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(f_hat_BChw)).clamp(-1, 1)

    def decode_codes(self, codes_BL: Tensor) -> Tensor:
        """Pictures in [-1, 1] from codes (B, tokens_per_mask)."""
        return self.decode(self.f_hat(codes_BL))

    def f_hat(self, codes_BL: Tensor) -> Tensor:
        """The accumulated latent (B, C, h, w) of codes (B, tokens_per_mask)."""
        side, C = self.config.scales[-1], self.config.z_channels
        f_hat = self.post_quant_conv.weight.new_zeros(len(codes_BL), C, side, side)
        for k, codes in enumerate(codes_BL.split([s * s for s in self.config.scales], dim=1)):
            f_hat = self.quantize.add_scale(f_hat, codes, k)
        return f_hat

    def teacher_inputs(self, codes_BL: Tensor) -> Tensor:
        """(B, tokens_per_mask - 1, C): what the tokens of scales 1.. see when all coarser codes are given.

        (For scales that start with side 1, the first token has no visual input: it is `<ge_start>` itself.)
        """
        side, C = self.config.scales[-1], self.config.z_channels
        f_hat, inputs = self.post_quant_conv.weight.new_zeros(len(codes_BL), C, side, side), []
        for k, codes in enumerate(codes_BL.split([s * s for s in self.config.scales], dim=1)):
            if k > 0:
                inputs.append(self.quantize.next_input(f_hat, k))
            f_hat = self.quantize.add_scale(f_hat, codes, k)
        return torch.cat(inputs, dim=1)

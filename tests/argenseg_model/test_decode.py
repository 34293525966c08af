"""Pictures: one at a time on a CPU, whatever else is in the batch, and in bfloat16 where that was chosen."""

import pytest
import torch
from torch import Tensor

from argenseg_model import ARGenSeg
from argenseg_model.configuration import VQVAEConfig
from argenseg_model.decode_precision import choose_decode_precision
from argenseg_model.vqvae import MultiScaleVQVAE
from tests.argenseg_model.conftest import ParityCase


@pytest.fixture
def latents(one_case: ParityCase) -> Tensor:
    vqvae = one_case.model.image_tokenizer
    codes = torch.tensor(one_case.expected["visual_ids"], dtype=torch.long)[None]
    return torch.cat([vqvae.f_hat(codes), vqvae.f_hat(codes.flip(1))])


@torch.inference_mode()
def test_pictures_do_not_depend_on_the_batch_they_are_decoded_in(one_case: ParityCase, latents: Tensor) -> None:
    vqvae = one_case.model.image_tokenizer
    together = vqvae.decode(latents)
    assert all(torch.equal(vqvae.decode(latents[i : i + 1])[0], together[i]) for i in range(2))


@torch.inference_mode()
def test_pictures_are_those_of_the_decoder_run_on_the_batch(one_case: ParityCase, latents: Tensor) -> None:
    vqvae = one_case.model.image_tokenizer
    plain = vqvae.decoder(vqvae.post_quant_conv(latents)).clamp(-1, 1)
    assert (vqvae.decode(latents) - plain).abs().max() < 1 / 127.5  # a grey level


def test_a_decode_lets_gradients_through() -> None:
    vqvae = MultiScaleVQVAE(VQVAEConfig(ch=32, ch_mult=[1, 1], scales=[1, 2, 4], z_channels=4, num_codes=16, num_phi=2))
    latents = torch.randn(2, 4, 4, 4, requires_grad=True)
    vqvae.decode(latents).sum().backward()
    assert latents.grad is not None and latents.grad.abs().sum() > 0


def test_no_latents_give_no_pictures(small: ARGenSeg) -> None:
    assert small.image_tokenizer.decode(torch.zeros(0, 4, 4, 4)).shape == (0, 3, 8, 8)


@torch.inference_mode()
def test_a_decode_in_bf16_gives_nearly_the_same_picture_in_float32(one_case: ParityCase, latents: Tensor) -> None:
    vqvae = one_case.model.image_tokenizer
    exact = vqvae.decode(latents)
    vqvae.decodes_in_bf16 = True
    try:
        rounded = vqvae.decode(latents)
    finally:
        vqvae.decodes_in_bf16 = False
    assert rounded.dtype == torch.float32
    difference = (rounded - exact).abs() * 127.5
    assert 0 < difference.mean() < 2


def test_the_choice_of_a_precision_is_kept_and_told(one_case: ParityCase) -> None:
    vqvae = one_case.model.image_tokenizer
    try:
        assert choose_decode_precision(vqvae) is vqvae.decodes_in_bf16
    finally:
        vqvae.decodes_in_bf16 = False


def test_double_precision_is_never_given_up() -> None:
    vqvae = MultiScaleVQVAE(VQVAEConfig(ch=32, ch_mult=[1, 1], scales=[1, 2, 4], z_channels=4, num_codes=16, num_phi=2))
    assert not choose_decode_precision(vqvae.double())

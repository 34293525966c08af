"""Parity with the official code on the recipe's checkpoints: same ids, pictures, losses and gradients, in float32."""

import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from argenseg_model.official_layout import official_key
from argenseg_model.processing import picture_to_probability, picture_to_uint8
from tests.argenseg_model.conftest import ParityCase
from tests.argenseg_model.parity import recipe


def sums(values: torch.Tensor | np.ndarray) -> list[float]:
    values = np.asarray(values, dtype=np.float64)
    return [values.sum(), np.square(values).sum()]


def test_the_checkpoint_is_the_one_that_was_measured(case: ParityCase) -> None:
    tensors = load_file(case.folder / "model.safetensors")
    crc = 0
    for key in sorted(tensors):
        crc = zlib.crc32(tensors[key].tobytes(), crc)
    assert crc == case.expected["checkpoint_crc32"]
    total = np.sum([sums(tensor) for tensor in tensors.values()], axis=0)
    np.testing.assert_allclose(total, case.expected["checkpoint_sums"], rtol=1e-9)
    assert zlib.crc32(recipe.sample_image(case.seed).tobytes()) == case.expected["image_crc32"]
    assert zlib.crc32(recipe.sample_mask(case.seed).tobytes()) == case.expected["mask_crc32"]


def test_preprocessing(case: ParityCase) -> None:
    np.testing.assert_allclose(sums(case.pixels_13SS), case.expected["pixel_sums"], rtol=1e-9)
    np.testing.assert_allclose(sums(case.mask_pixels_13ss), case.expected["mask_pixel_sums"], rtol=1e-9)


@torch.no_grad()
def test_image_tokens_and_prompt(case: ParityCase) -> None:
    features = case.model.image_features(case.pixels_13SS)
    np.testing.assert_allclose(features[0, [0, 255]], case.expected["image_tokens"], atol=1e-4)
    embeds = case.model.prompt_embeds(torch.tensor([recipe.prompt_ids(case.seed)]), features)
    hidden = case.model.language_model(inputs_embeds=embeds).last_hidden_state[0, -1]
    np.testing.assert_allclose(hidden, case.expected["prefill_hidden_last"], atol=1e-4)


@pytest.mark.parametrize("forced", [0, 1, 4, 6])
def test_decoding(case: ParityCase, forced: int) -> None:
    """`forced` ids of the answer's preamble are given, the others decoded."""
    ids = recipe.prompt_ids(case.seed) + recipe.ANSWER[:forced]
    generation = case.model.generate(case.pixels_13SS, torch.tensor([ids]))
    assert generation.text_ids.tolist() == case.expected["generated_ids"][forced:].tolist()
    assert generation.visual_ids.tolist() == [case.expected["visual_ids"].tolist()]
    assert generation.pictures.shape == (1, 3, 256, 256)
    picture = picture_to_uint8(generation.pictures)[0]
    difference = np.abs(picture.astype(int) - case.expected["mask_uint8"])
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3
    height, width = case.expected["binary_mask_shape"]
    binary = np.unpackbits(case.expected["binary_mask"], count=height * width).reshape(height, width)
    assert ((picture_to_probability(picture, (width, height)) > 0.5) != binary).mean() < 1e-3


def test_the_binary_mask_is_that_of_the_release(case: ParityCase) -> None:
    height, width = case.expected["binary_mask_shape"]
    grey = Image.fromarray(case.expected["mask_uint8"]).resize((width, height), Image.Resampling.BILINEAR).convert("L")
    binary = np.unpackbits(case.expected["binary_mask"], count=height * width).reshape(height, width)
    assert np.array_equal(np.asarray(grey) / 255 > 0.5, binary)
    assert np.array_equal(picture_to_probability(case.expected["mask_uint8"], (width, height)) > 0.5, binary)


@torch.no_grad()
def test_logits_of_the_codes(case: ParityCase) -> None:
    """Teacher-forced with the expected codes, so every input of the visual tokens is tested as well."""
    ids = [*recipe.prompt_ids(case.seed), *recipe.ANSWER, recipe.GE_START, *[recipe.MASK_CONTEXT] * 679]
    codes = torch.tensor(case.expected["visual_ids"], dtype=torch.long)[None]
    embeds = case.model.training_embeds(case.pixels_13SS, torch.tensor([ids]), codes)
    hidden = case.model.language_model(inputs_embeds=embeds).last_hidden_state[0, -680:]
    logits = case.model.lm_head(hidden)[:, recipe.VISUAL0 :]
    first_of_scale = np.cumsum([0, *(side * side for side in recipe.SCALES[:-1])])
    at = first_of_scale[:, None] + case.expected["logit_positions"]
    columns = case.expected["logit_columns"].astype(int)
    np.testing.assert_allclose(logits[torch.tensor(at)][..., columns], case.expected["logits"], atol=1e-4)


def test_codes_of_a_target_mask(case: ParityCase) -> None:
    assert case.model.image_tokenizer.encode(case.mask_pixels_13ss).tolist() == [case.expected["mask_ids"].tolist()]


def test_losses_and_gradients(case: ParityCase) -> None:
    model, names = case.model, case.expected["grad_names"].tolist()
    ids, labels = (torch.tensor([row]) for row in recipe.train_ids(case.seed))
    losses = model(pixel_values=case.pixels_13SS, input_ids=ids, labels=labels, mask_pixel_values=case.mask_pixels_13ss)
    assert losses.text_loss.item() == pytest.approx(float(case.expected["text_loss"]), abs=1e-4)
    assert losses.mask_loss.item() == pytest.approx(float(case.expected["gen_loss"]), abs=1e-4)
    assert losses.loss.item() == pytest.approx(losses.text_loss.item() + losses.mask_loss.item(), abs=1e-5)
    parameters = {name: p for name, p in model.named_parameters() if official_key(name) in names}
    gradients = torch.autograd.grad(losses.loss, list(parameters.values()))
    squares = dict.fromkeys(names, 0.0)
    for name, gradient in zip(parameters, gradients, strict=True):  # q, k and v are parts of one official matrix
        squares[official_key(name)] += gradient.double().square().sum().item()
    np.testing.assert_allclose(np.sqrt([squares[name] for name in names]), case.expected["grad_norms"], rtol=1e-3)

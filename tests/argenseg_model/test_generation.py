"""Decoding: batches give what single rows give, work is shared, answers may hold several masks."""

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache

from argenseg_model import ARGenSeg
from argenseg_model.generation import DecodedMasks, common_prefix, select_rows
from argenseg_model.processing import image_to_pixels
from tests.argenseg_model.conftest import ParityCase
from tests.argenseg_model.parity import recipe

PERIOD = recipe.PERIOD


@contextmanager
def counted(model: ARGenSeg) -> Iterator[Counter[str]]:
    """Counts the forward passes of the model's parts, and how often pictures are decoded."""
    calls: Counter[str] = Counter()
    parts = {"vision": model.vision_model, "llm": model.language_model, "head": model.lm_head}
    hooks = [part.register_forward_pre_hook(lambda *_, name=name: calls.update([name])) for name, part in parts.items()]
    vqvae, decode = model.image_tokenizer, model.image_tokenizer.decode

    def counted_decode(f_hat_BChw: Tensor) -> Tensor:
        calls.update(["picture"])
        return decode(f_hat_BChw)

    vqvae.decode = counted_decode
    yield calls
    del vqvae.decode
    for hook in hooks:
        hook.remove()


def prompts(seed: int) -> list[list[int]]:
    """Ids up to `<ge_start>` with the words after the image shortened by different numbers of ids."""
    ids = recipe.prompt_ids(seed)
    words = ids.index(recipe.IMG_END) + 2
    return [ids[:words] + ids[words + skipped :] + recipe.ANSWER for skipped in (0, 9, 3, 20)]


def two_images(case: ParityCase) -> Tensor:
    other = Image.fromarray(recipe.sample_image(case.seed + 1))
    return torch.cat([case.pixels_13SS, image_to_pixels(other, case.model.config)[None]])


@torch.no_grad()
def decode_together(model: ARGenSeg, pixels: Tensor, rows: list[tuple[int, list[int]]]) -> DecodedMasks:
    shared = common_prefix([ids for _, ids in rows])
    images = model.extend_images(model.image_features(pixels), rows[0][1][:shared])
    begun = select_rows(images, torch.tensor([image for image, _ in rows]), model.config.text_config)
    return model.decode_rows(begun, [ids[shared:] for _, ids in rows])


def test_a_batch_gives_the_ids_of_its_rows(case: ParityCase) -> None:
    """Prompts of several lengths on two images: 7 rows in one batch against 7 calls of generate."""
    pixels, ids = two_images(case), prompts(case.seed)
    rows = [(0, ids[0]), (0, ids[1]), (0, ids[2]), (0, ids[3]), (1, ids[0]), (1, ids[3]), (1, ids[1])]
    masks = decode_together(case.model, pixels, rows)
    pictures = case.model.image_tokenizer.decode(masks.f_hat_BChw).detach()
    for row, (image, row_ids) in enumerate(rows):
        single = case.model.generate(pixels[image : image + 1], torch.tensor([row_ids]))
        assert torch.equal(masks.codes_BL[row], single.visual_ids[0])
        torch.testing.assert_close(pictures[row], single.pictures[0], atol=1e-4, rtol=0)
    assert len({tuple(codes) for codes in masks.codes_BL.tolist()}) == len(rows)  # and they do differ
    assert masks.codes_BL[0].tolist() == case.expected["visual_ids"].tolist()


def test_work_is_shared(one_case: ParityCase) -> None:
    rows = [(image, ids) for image in (0, 1) for ids in prompts(one_case.seed)]
    with counted(one_case.model) as calls:
        decode_together(one_case.model, two_images(one_case), rows)
    scales = len(recipe.SCALES)
    assert calls == {"vision": 1, "llm": 2 + scales}  # prefix of the images, rest of the prompts, one for each scale


@torch.no_grad()
def test_filling_leaves_out_what_follows_the_last_keys_and_values(one_case: ParityCase) -> None:
    model = one_case.model
    embeds = model.get_input_embeddings()(torch.tensor([recipe.ANSWER] * 2))
    extended, filled = (DynamicCache(config=model.config.text_config) for _ in range(2))
    passes: Counter[int] = Counter()
    layers = model.language_model.layers
    hooks = [layer.mlp.register_forward_pre_hook(lambda *_, i=i: passes.update([i])) for i, layer in enumerate(layers)]
    for begin in (0, 2):
        model.extend(embeds[:, begin : begin + 2], extended)
        model.fill(embeds[:, begin : begin + 2], filled)
    for hook in hooks:
        hook.remove()
    for one, other in zip(extended.layers, filled.layers, strict=True):
        assert torch.equal(one.keys, other.keys) and torch.equal(one.values, other.values)
    last = len(layers) - 1
    assert passes == {i: 2 if i == last else 4 for i in range(last + 1)}


def test_a_mask_takes_one_pass_for_each_scale_and_one_picture(one_case: ParityCase) -> None:
    ids = torch.tensor([recipe.prompt_ids(one_case.seed) + recipe.ANSWER])
    with counted(one_case.model) as calls:
        one_case.model.generate(one_case.pixels_13SS, ids)
    # prompt; the scales; <ge_end>, period (<|im_end|> ends the answer). The whole head only where text is chosen.
    assert calls == {"vision": 1, "llm": 1 + len(recipe.SCALES) + 2, "picture": 1, "head": 4 - 1}


@pytest.mark.parametrize("most", [0, 1, 6, 7, 9])
def test_max_new_tokens_counts_text_only(one_case: ParityCase, most: int) -> None:
    ids = torch.tensor([recipe.prompt_ids(one_case.seed)])
    generation = one_case.model.generate(one_case.pixels_13SS, ids, max_new_tokens=most)
    assert generation.text_ids.tolist() == one_case.expected["generated_ids"][:most].tolist()
    assert len(generation.visual_ids) == len(generation.pictures) == (most >= 7)
    assert generation.visual_ids.shape[1] == 680 and generation.pictures.shape[1:] == (3, 256, 256)
    assert generation.text_ids.dtype == generation.visual_ids.dtype == torch.int64


def test_the_row_may_come_as_a_vector_or_a_list(one_case: ParityCase) -> None:
    row = recipe.prompt_ids(one_case.seed)
    first, *others = (
        one_case.model.generate(one_case.pixels_13SS, ids, max_new_tokens=3)  # type: ignore[arg-type]
        for ids in (torch.tensor([row]), torch.tensor(row), row)
    )
    assert all(torch.equal(other.text_ids, first.text_ids) for other in others)


def test_what_cannot_be_one_row_is_refused(one_case: ParityCase) -> None:
    row = torch.tensor(recipe.prompt_ids(one_case.seed))
    with pytest.raises(ValueError, match=r"one row of input_ids, not a tensor of shape \(2, "):
        one_case.model.generate(one_case.pixels_13SS, torch.stack([row, row]))
    with pytest.raises(ValueError, match="input_ids hold 255 image tokens, the images give 256"):
        one_case.model.generate(one_case.pixels_13SS, row[row.tolist().index(recipe.IMG_CONTEXT) + 1 :])
    with pytest.raises(ValueError, match="input_ids hold 256 image tokens, the images give 512"):
        one_case.model.generate(two_images(one_case), row)


def test_several_masks_in_one_answer(one_case: ParityCase) -> None:
    model = copy.deepcopy(one_case.model)
    with torch.no_grad():  # after the period another mask begins, instead of <|im_end|>
        head = model.lm_head.weight
        head[recipe.GE_START] += head[recipe.IM_END]
        head[recipe.IM_END] = 0
    prompt = recipe.prompt_ids(one_case.seed) + recipe.ANSWER
    generation = model.generate(one_case.pixels_13SS, torch.tensor([prompt]), max_new_tokens=6)
    assert generation.text_ids.tolist() == [recipe.GE_END, PERIOD] * 3
    assert generation.visual_ids.shape == (3, 680) and generation.pictures.shape == (3, 3, 256, 256)
    first, second, third = generation.visual_ids
    assert first.tolist() == one_case.expected["visual_ids"].tolist()
    assert not torch.equal(first, second) and not torch.equal(second, third)
    # The same two masks, teacher-forced in one pass without a cache: every code is still the most probable one.
    mask = [recipe.GE_START, *[recipe.MASK_CONTEXT] * 679]
    ids = torch.tensor([[*prompt, *mask, recipe.GE_END, PERIOD, *mask]])
    with torch.no_grad():
        embeds = model.training_embeds(one_case.pixels_13SS, ids, generation.visual_ids[:2])
        hidden = model.language_model(inputs_embeds=embeds).last_hidden_state[0]
        codes = model.lm_head(hidden)[:, recipe.VISUAL0 :].argmax(-1)
    assert torch.equal(codes[len(prompt) : len(prompt) + 680], first)
    assert torch.equal(codes[-680:], second)


def test_outputs_carry_no_gradient_and_can_be_trained_on(one_case: ParityCase) -> None:
    ids = torch.tensor([recipe.prompt_ids(one_case.seed) + recipe.ANSWER])
    generation = one_case.model.generate(one_case.pixels_13SS, ids)
    for tensor in (generation.text_ids, generation.visual_ids, generation.pictures):
        assert not tensor.requires_grad and not tensor.is_inference()
    weight = torch.ones((), requires_grad=True)
    (generation.pictures * weight).sum().backward()
    assert weight.grad == pytest.approx(generation.pictures.sum().item(), rel=1e-3)


def test_common_prefix() -> None:
    assert common_prefix([[1, 2, 3]]) == 2  # an id of every row is left over
    assert common_prefix([[1, 2, 3], [1, 2]]) == 1
    assert common_prefix([[1, 2, 3, 4], [1, 2, 5], [1, 2, 3, 4]]) == 2
    assert common_prefix([[1, 2], [3, 4]]) == 0


def test_a_decode_temperature_draws_the_mean_of_the_finest_codes(
    one_case: ParityCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokens stay the likeliest ones; near 0 their picture is drawn, at a high one that of all codes' mean."""
    model, vqvae, rows = one_case.model, one_case.model.image_tokenizer, [(0, prompts(one_case.seed)[0])]
    greedy = decode_together(model, one_case.pixels_13SS, rows)
    monkeypatch.setattr(model.config, "decode_temperature", 1e-6)
    sharp = decode_together(model, one_case.pixels_13SS, rows)
    monkeypatch.setattr(model.config, "decode_temperature", 1e6)
    blurred = decode_together(model, one_case.pixels_13SS, rows)
    for answer in (sharp, blurred):
        assert torch.equal(answer.codes_BL, greedy.codes_BL)
        assert torch.equal(answer.probability_BL, greedy.probability_BL)
    assert torch.allclose(sharp.f_hat_BChw, greedy.f_hat_BChw, atol=1e-5)
    last, quantizer = len(vqvae.config.scales) - 1, vqvae.quantize
    with torch.no_grad():
        mean = quantizer.codebook(last).mean(0)[None, :, None, None].expand_as(greedy.f_hat_BChw)
        finest = greedy.codes_BL[:, -(vqvae.config.scales[last] ** 2) :]
        coarse = greedy.f_hat_BChw - quantizer.add_scale(torch.zeros_like(mean), finest, last)
        assert torch.allclose(blurred.f_hat_BChw, coarse + quantizer.spread(mean, last), atol=1e-4)

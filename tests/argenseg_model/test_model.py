"""`model(...)`: the training losses, with several masks and in the types that other programs send."""

import copy

import pytest
import torch
from torch import Tensor

from argenseg_model import ARGenSeg


def sequence(model: ARGenSeg, masks: int) -> tuple[Tensor, Tensor]:
    """ids and labels (1, L) of an image and an answer with so many masks."""
    config = model.config
    places = config.vqvae_config.tokens_per_mask
    ids, labels = [config.image_token_id] * config.num_image_tokens, [-100] * config.num_image_tokens
    for _ in range(masks):
        ids += [config.ge_start_id, *[config.mask_context_id] * (places - 1), config.ge_end_id, config.eos_token_id]
        labels += [config.ge_start_id, *[config.mask_context_id] * places, config.eos_token_id]
    return torch.tensor([ids]), torch.tensor([labels])


def inputs(model: ARGenSeg, masks: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids, labels = sequence(model, masks)
    return {
        "pixel_values": torch.randn(1, 3, 32, 32, generator=generator),
        "input_ids": ids,
        "labels": labels,
        "mask_pixel_values": torch.rand(masks, 3, 8, 8, generator=generator) * 2 - 1,
    }


@torch.no_grad()
def test_rows_of_a_batch_share_nothing(small: ARGenSeg) -> None:
    """Two rows of two masks each: the losses are the means of the rows' own."""
    rows = [inputs(small, masks=2, seed=seed) for seed in (0, 1)]
    together = small(**{name: torch.cat([row[name] for row in rows]) for name in rows[0]})
    alone = [small(**row) for row in rows]
    for name in ("text_loss", "mask_loss"):
        mean = sum(getattr(losses, name) for losses in alone) / 2
        torch.testing.assert_close(getattr(together, name), mean, atol=1e-5, rtol=0)
    assert not torch.isclose(alone[0].mask_loss, alone[1].mask_loss)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16])
@torch.no_grad()
def test_labels_of_any_integer_type_give_the_same_losses(small: ARGenSeg, dtype: torch.dtype) -> None:
    row = inputs(small, masks=1)
    narrow = small(**(row | {"labels": row["labels"].to(dtype), "input_ids": row["input_ids"].int()}))
    assert torch.equal(narrow.loss, small(**row).loss)


@torch.no_grad()
def test_a_model_in_half_precision_takes_float32_pixels_and_pictures(small: ARGenSeg) -> None:
    row = inputs(small, masks=1)
    losses = copy.deepcopy(small).bfloat16()(**row)
    assert losses.loss.isfinite()
    torch.testing.assert_close(losses.loss.float(), small(**row).loss, atol=1, rtol=0.2)

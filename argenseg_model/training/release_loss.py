"""The release's own loss (`ARGenSeg.forward`) on training samples: what adapters of a large model are trained on."""

import torch
from PIL import Image
from torch import Tensor

from argenseg_model.model import ARGenSeg
from argenseg_model.processing import image_to_pixels, mask_to_pixels
from argenseg_model.prompting import build_prompt
from argenseg_model.samples import Sample
from argenseg_model.training.batches import TEMPLATE

IGNORED = -100


def release_losses(model: ARGenSeg, samples: list[Sample]) -> dict[str, Tensor]:
    """Losses ("text", "codes") of samples that share a picture; one row for each prompt."""
    config, device = model.config, model.device
    rows = [_sequence(model, sample.prompt) for sample in samples]
    longest = max(len(ids) for ids, _ in rows)
    pad = [longest - len(ids) for ids, _ in rows]
    ids = torch.tensor([ids + [0] * p for (ids, _), p in zip(rows, pad, strict=True)], device=device)
    labels = torch.tensor([labels + [IGNORED] * p for (_, labels), p in zip(rows, pad, strict=True)], device=device)
    keep = torch.arange(longest, device=device)[None] < torch.tensor([longest - p for p in pad], device=device)[:, None]
    pixels = image_to_pixels(Image.fromarray(samples[0].image), config).to(device)
    masks = torch.stack([mask_to_pixels(sample.mask, config) for sample in samples]).to(device, model.dtype)
    losses = model(
        pixel_values=pixels.expand(len(samples), -1, -1, -1),
        input_ids=ids,
        labels=labels,
        mask_pixel_values=masks,
        attention_mask=keep.long(),
    )
    return {"text": losses.text_loss, "codes": losses.mask_loss}


def _sequence(model: ARGenSeg, prompt: str) -> tuple[list[int], list[int]]:
    """Ids and labels of a prompt with its answer: a mask, ".", the end. The forced preamble is no target."""
    config = model.config
    context, n = config.mask_context_id, config.vqvae_config.tokens_per_mask
    asked = build_prompt(model.tokenizer, prompt, TEMPLATE, config.system_message, config.num_image_tokens)
    eos = config.eos_token_id if isinstance(config.eos_token_id, int) else config.eos_token_id[0]
    closing = [*model.tokenizer.encode(".", add_bos=False), eos]
    ids = [*asked, config.ge_start_id, *[context] * (n - 1), config.ge_end_id, *closing]
    labels = [IGNORED] * len(asked) + [config.ge_start_id, *[context] * n, *closing]
    return ids, labels

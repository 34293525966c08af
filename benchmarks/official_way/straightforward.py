"""A mask the way the official code makes it, on our modules: what there is to be gained, without its code.

One prompt at a time and nothing shared between them; the preamble token by token; the whole vocabulary's head at every
place; attention written out; the keys and values copied at each step; ten cumulative pictures, of which one is kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache

from argenseg_model import ARGenSeg
from argenseg_model.processing import image_to_pixels
from argenseg_model.prompting import ANSWERS
from benchmarks.official_way.stages import Stages


@contextmanager
def eager_attention(model: ARGenSeg) -> Iterator[None]:
    """Attention written out, as the official code runs it on a CPU."""
    parts = (model.language_model, model.vision_model)
    before = [part.config._attn_implementation for part in parts]
    for part in parts:
        part.set_attn_implementation("eager")
    try:
        yield
    finally:
        for part, kind in zip(parts, before, strict=True):
            part.set_attn_implementation(kind)


@torch.inference_mode()
def segment_straightforwardly(
    model: ARGenSeg, image: Image.Image, prompt: str, stages: Stages
) -> tuple[Tensor, Tensor]:
    """Codes (tokens_per_mask,) and picture (3, side, side) in [-1, 1] of one prompt."""
    ids = model._ids(prompt, "class")
    answer = len(model.tokenizer.encode(ANSWERS["class"], add_bos=False))
    cache, config, vqvae = DynamicCache(config=model.config.text_config), model.config, model.image_tokenizer
    with eager_attention(model):
        with stages.measured("image"):
            features = model.image_features(image_to_pixels(image, config)[None])
        with stages.measured("prompt"):
            embeds = model.prompt_embeds(torch.tensor([ids[:-answer]]), features)
            model.lm_head(model.extend(embeds, cache)).float()
        with stages.measured("preamble"):
            for token in ids[-answer:]:
                # random weights would say something else: the right token follows, what it takes is the same
                int(model.lm_head(model.extend(model._embed(token, 1), cache)).float()[0, -1].argmax())
        f_hat = torch.zeros(1, config.vqvae_config.z_channels, *[vqvae.quantize.scales[-1]] * 2)
        codes, offset, scale_of_token = [], 0, model.scale_of_token()
        for k, side in enumerate(vqvae.quantize.scales):
            with stages.measured("visual tokens"):
                if k == 0:
                    inputs = model._embed(config.ge_start_id, 1)
                else:
                    at = slice(offset, offset + side * side)
                    inputs = model.visual_embeds(vqvae.quantize.next_input(f_hat, k), offset, scale_of_token[at])
                logits = model.lm_head(model.extend(inputs, cache)).float()
                codes.append(logits[..., config.visual_token_start :].argmax(-1))
                f_hat = vqvae.quantize.add_scale(f_hat, codes[-1], k)
                offset += side * side
            with stages.measured("pictures"):
                picture = vqvae.decoder(vqvae.post_quant_conv(f_hat)).clamp(-1, 1)
    return torch.cat(codes, 1)[0], picture[0]

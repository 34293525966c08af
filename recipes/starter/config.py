"""The starter's sizes, and how its weights begin: small enough to be trained on two CPU cores."""

import math
import re

import torch
import torch.nn.functional as F
from torch import Tensor

from argenseg_model.chosen_objects import WORDS
from argenseg_model.configuration import ARGenSegConfig
from argenseg_model.model import ARGenSeg
from argenseg_model.prompting import ANSWERS, QUESTIONS
from argenseg_model.scenes.vocabulary import ANY_SHAPE, FOREIGN_OBJECTS, SHAPES
from argenseg_model.tokenizer import Tokenizer
from recipes.starter.corpus import prompt_corpus
from recipes.starter.names import NAMES

SIDE, PICTURE = 256, 64
"""Pixels of the side that the whole picture is squashed to, and of its mask: 16 x 16 cells of 4 x 4 mask pixels."""
SCALES = (1, 16)
AUTOCONTRAST = 0.001
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def vqvae_config() -> dict[str, object]:
    """Codes that depend on their own cell only (1x1 kernels, per-pixel norms): what can be seen can be predicted."""
    return {
        "ch": 24,
        "ch_mult": [1, 1, 1],
        "num_res_blocks": 0,
        "z_channels": 8,
        "num_codes": 256,
        "scales": list(SCALES),
        "num_phi": len(SCALES),
        "codebook_per_scale": True,
        "norm": "pixel",
        "attention": False,
        "encoder_kernel_size": 1,
        "normalize_latent": True,
    }


def starter_config(tokenizer: Tokenizer, model_name: str) -> ARGenSegConfig:
    special, vqvae = tokenizer.special_tokens, vqvae_config()
    return ARGenSegConfig(
        model_name=model_name,
        vision_config={
            "model_type": "efficientnet_lite",
            "image_size": [SIDE, SIDE],
            "patch_size": [8, 8],
            "hidden_size": 128,
            "num_hidden_layers": 2,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer) + int(vqvae["num_codes"]),  # type: ignore[call-overload]
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 6,
            "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            "initializer_range": 0.05,
            "tie_word_embeddings": False,
            "bos_token_id": special["<s>"],
            "eos_token_id": special["<|im_end|>"],
            "pad_token_id": special["<pad>"],
        },
        vqvae_config=vqvae,
        downsample_ratio=0.5,
        image_token_id=special["<IMG_CONTEXT>"],
        ge_start_id=special["<ge_start>"],
        ge_end_id=special["<ge_end>"],
        mask_context_id=special["<MASK_CONTEXT>"],
        visual_token_start=len(tokenizer),
        eos_token_id=special["<|im_end|>"],
        image_size=SIDE,
        image_mean=list(MEAN),
        image_std=list(STD),
        image_mode="squash",
        autocontrast=AUTOCONTRAST,
        decode_temperature=0.5,
        mask_resize_steps=[PICTURE],
        image_position_code=True,
        visual_tokens_see_image=True,
        known_names=known_names(),
        known_words=known_words(),
        measures_words=True,
        closer_tiles=6,
        edge_radius=1.5,
        system_message="",
    )


def known_names() -> dict[str, list[str]]:
    """What the starter is taught to name: as all of it is asked for -> all forms."""
    forms = [(pair[1], [word for other in name.wordings for word in other]) for name in NAMES.values()
             for pair in name.wordings[:1]]  # fmt: skip
    forms += [(pairs[0][1], [word for pair in pairs for word in pair]) for pairs in (*SHAPES.values(), ANY_SHAPE)]
    named: dict[str, list[str]] = {}
    for usual, words in forms:
        named.setdefault(usual, []).extend(words)
    return named


def known_words() -> list[str]:
    """What stands beside names in the prompts of training."""
    things = {word for forms in known_names().values() for form in forms for word in form.lower().split()}
    foreign = {word for thing in FOREIGN_OBJECTS for word in thing.split()}
    said = {word for prompt in prompt_corpus(0, 6000) for word in re.findall(r"[a-z]+(?:-[a-z]+)*", prompt.lower())}
    return sorted((said - foreign - (things - {"in", "the", "or", "of"})) | WORDS)


@torch.no_grad()
def initialise(model: ARGenSeg) -> None:
    """Give image tokens and visual tokens of the same place the same 2-D code, and queries that look for it.

    Finding "the same place in the picture" is what a fresh model learns last; here it starts with it.
    """
    D = model.config.text_config.hidden_size
    side = round(model.config.num_image_tokens**0.5)
    model.image_pos_1LC.copy_(sine_code_2d(side, D)[None])
    model.pos_1LC.copy_(torch.cat([sine_code_2d(scale, D) for scale in model.config.vqvae_config.scales])[None])
    model.get_input_embeddings().weight.normal_(0, 0.5)
    model.lvl_embed.weight.normal_(0, 0.3)
    model.word_embed.weight.normal_(0, 0.3)
    for layer in model.language_model.layers[:3]:
        layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)
    read_words(model)


@torch.no_grad()
def read_words(model: ARGenSeg, layers: int = 2, heads: int = 2) -> None:
    """Let the last heads of the first layers begin by bringing the prompt's words to every visual token.

    A fresh head spreads its attention over a hundred tokens, most of them of the image, and a model ignores the words
    for thousands of steps. Here words share a direction that visual tokens look for; the templates' own words do not.
    """
    config, tokenizer = model.config, model.tokenizer
    D, width = config.text_config.hidden_size, config.text_config.hidden_size // config.text_config.num_attention_heads
    template = {i for text in (*QUESTIONS.values(), *ANSWERS.values()) for i in tokenizer.encode(text.format(" "))}
    words = torch.ones(config.text_config.vocab_size, dtype=torch.bool)
    words[[*template, *tokenizer.special_tokens.values(), *range(len(tokenizer), len(words))]] = False
    of_word, of_visual = F.normalize(torch.randn(2, D), dim=1)
    embedding = model.get_input_embeddings().weight
    embedding[words] += 7 * of_word
    embedding[config.ge_start_id] += 8 * of_visual
    model.lvl_embed.weight += 8 * of_visual
    meeting = torch.zeros(width)
    meeting[width // 4 : width // 2] = (width / 4) ** -0.5  # slowly turning dimensions: the same at every distance
    for layer in model.language_model.layers[:layers]:
        for head in range(config.text_config.num_attention_heads - heads, config.text_config.num_attention_heads):
            rows = slice(head * width, (head + 1) * width)
            layer.self_attn.q_proj.weight[rows] = 0.6 * torch.outer(meeting, of_visual)
            layer.self_attn.k_proj.weight[rows] = 0.6 * torch.outer(meeting, of_word)


def sine_code_2d(side: int, width: int) -> Tensor:
    """(side * side, width) sines and cosines of each cell's centre in [0, 1]^2, half the width for each axis."""
    centre = (torch.arange(side) + 0.5) / side
    frequencies = math.pi * 2 ** torch.linspace(0, 4, width // 4)  # half a period to eight periods a picture
    phase = centre[:, None] * frequencies
    code = torch.cat([phase.sin(), phase.cos()], 1)  # (side, width / 2)
    y, x = code[:, None].expand(side, side, -1), code[None].expand(side, side, -1)
    return torch.cat([y, x], -1).flatten(0, 1)

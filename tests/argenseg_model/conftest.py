"""Models the tests share: the release's tiny parity checkpoints, and a small one of ours with a free-text tokenizer."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torch import Tensor

from argenseg_model import ARGenSeg, ARGenSegConfig
from argenseg_model.processing import image_to_pixels, mask_to_pixels
from argenseg_model.tokenizer import Tokenizer, train_byte_bpe
from tests.argenseg_model.checkpoint_files import Tensors, contents
from tests.argenseg_model.parity import recipe

EXPECTED = Path(__file__).parent / "parity" / "expected"
SEEDS = (14, 201, 206, 217)


@dataclass(frozen=True)
class ParityCase:
    """One of the recipe's checkpoints, loaded, with its inputs and what the release computes from them."""

    seed: int
    folder: Path
    expected: dict[str, np.ndarray]
    model: ARGenSeg
    pixels_13SS: Tensor
    mask_pixels_13ss: Tensor


def load_case(seed: int, folder: Path) -> ParityCase:
    recipe.write_checkpoint(seed, folder)
    model = ARGenSeg.from_pretrained(folder)
    pixels = image_to_pixels(Image.fromarray(recipe.sample_image(seed)), model.config)
    mask_pixels = mask_to_pixels(recipe.sample_mask(seed), model.config)
    with np.load(EXPECTED / f"seed{seed}.npz") as expected:
        return ParityCase(seed, folder, dict(expected), model, pixels[None], mask_pixels[None])


@pytest.fixture(scope="session", params=SEEDS, ids=lambda seed: f"seed{seed}")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ParityCase:
    return load_case(request.param, tmp_path_factory.mktemp("parity"))


@pytest.fixture(scope="session")
def one_case(tmp_path_factory: pytest.TempPathFactory) -> ParityCase:
    return load_case(SEEDS[0], tmp_path_factory.mktemp("parity"))


def small_config(tokenizer: Tokenizer, **changes: object) -> ARGenSegConfig:
    """A configuration of ours of a few thousand weights: 32 px images, 8 px masks of 1 + 4 + 16 tokens."""
    special = tokenizer.special_tokens
    settings = {
        "model_name": "small",
        "vision_config": {
            "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
            "image_size": 32, "patch_size": 8, "attention_bias": True,
        },
        "text_config": {
            "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "intermediate_size": 64, "vocab_size": len(tokenizer) + 16,
        },
        "vqvae_config": {
            "ch": 32, "ch_mult": [1, 1], "num_res_blocks": 1, "z_channels": 4, "num_codes": 16,
            "scales": [1, 2, 4], "num_phi": 2,
        },
        "image_size": 32,
        "mask_resize_steps": [8],
        "image_token_id": special["<IMG_CONTEXT>"],
        "ge_start_id": special["<ge_start>"],
        "ge_end_id": special["<ge_end>"],
        "mask_context_id": special["<MASK_CONTEXT>"],
        "eos_token_id": special["<|im_end|>"],
        "visual_token_start": len(tokenizer),
    }  # fmt: skip
    return ARGenSegConfig(**{**settings, **changes})


def small_model(tokenizer: Tokenizer, **changes: object) -> ARGenSeg:
    torch.manual_seed(0)
    model = ARGenSeg(small_config(tokenizer, **changes)).eval()
    for name, parameter in model.named_parameters():  # spread out, so that different inputs give different codes
        if not name.startswith("image_tokenizer") and parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0, 0.4)
    model.tokenizer = tokenizer
    return model


@pytest.fixture(scope="session")
def byte_bpe(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_byte_bpe(["Please segment all nuclei in this image."] * 9, 300, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def small(byte_bpe: Tokenizer) -> ARGenSeg:
    """Squashes images, as the release does. Do not change it: take `small_model` for a model of your own."""
    return small_model(byte_bpe)


@pytest.fixture(scope="session")
def official(one_case: ParityCase) -> Tensors:
    """The weights of one of the recipe's checkpoints, by the release's names."""
    return load_file(one_case.folder / "model.safetensors")


@pytest.fixture(scope="session")
def saved(small: ARGenSeg, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of `small` in our layout, by name."""
    folder = tmp_path_factory.mktemp("saved")
    small.save_pretrained(folder)
    return contents(folder)

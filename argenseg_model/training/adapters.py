"""LoRA (arXiv 2106.09685) through PEFT: what is trained of a large model, beside weights that stay as they are."""

import re

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from argenseg_model.model import ARGenSeg

TARGETS = r".*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
"""The linear layers of a decoder of the Llama and Qwen2 family, by transformers' names."""


def add_adapters(model: ARGenSeg, rank: int) -> None:
    """Put adapters into the language model's layers; nothing else is trained from now on.

    A new adapter changes nothing yet: one of its two matrices is zero.
    """
    model.requires_grad_(False)
    names = [name for name, _ in model.language_model.named_modules() if re.fullmatch(TARGETS, name)]
    if not names:
        raise ValueError(f"the language model has no layers that are named as {TARGETS}")
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=names)
    model.language_model = get_peft_model(model.language_model, config)


@torch.no_grad()
def merge_adapters(model: ARGenSeg) -> None:
    """Add the adapters to the weights and take them out: the model is as fast as before, and saved as before."""
    model.language_model = model.language_model.merge_and_unload()


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """What a run changes, by name: all that a checkpoint needs."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}

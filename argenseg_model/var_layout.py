"""VAR's own VQ-VAE file (`vae_ch160v4096z32.pth` of FoundationVision/var): its keys are ours."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from argenseg_model.errors import CheckpointError


def read_var_vqvae(file: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings for a `VQVAEConfig` and the tensors of its `MultiScaleVQVAE`.

    The file is a pickle of which only tensors are read, never code. Raises CheckpointError for another one.
    """
    file = Path(file)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # a file of another kind makes torch raise nearly anything
        raise CheckpointError(
            f"{file}: cannot be read as a VQ-VAE's weights ({type(error).__name__}: {str(error)[:100]}); "
            "give vae_ch160v4096z32.pth of FoundationVision/var"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{file}: holds no table of tensors; give vae_ch160v4096z32.pth of FoundationVision/var")
    missing = {"encoder.conv_in.weight", "quantize.embedding.weight", "quantize.ema_vocab_hit_SV"} - state.keys()
    if missing:
        raise CheckpointError(f"{file}: is no VQ-VAE of VAR's, it lacks {', '.join(sorted(missing))}")
    num_codes, z_channels = state["quantize.embedding.weight"].shape
    settings = {"ch": state["encoder.conv_in.weight"].shape[0], "num_codes": num_codes, "z_channels": z_channels}
    return settings, state

"""A new, untrained ARGenSeg out of an InternVL2.5 and a VQ-VAE, as the release began (arXiv 2510.20803, section 4)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from argenseg_model import official_layout
from argenseg_model.checkpoints import empty_model, materialise_buffers, read_config, read_tensors
from argenseg_model.errors import CheckpointError
from argenseg_model.files import replace_file
from argenseg_model.model import ARGenSeg
from argenseg_model.tokenizer import CONFIG_FILE, SENTENCEPIECE_FILE, load_tokenizer
from argenseg_model.var_layout import read_var_vqvae

BASE_VOCABULARY: Final = 92_553
"""Rows of InternVL2.5's vocabulary with InternLM2; the new ones follow."""
NEW_TOKENS: Final = ("<mask>", "<ge_start>", "<ge_end>", "<MASK_CONTEXT>")
"""In the order of their ids; the visual tokens follow."""
_ROWS: Final = {"language_model.model.tok_embeddings.weight", "language_model.output.weight"}


def start_from_internvl(base: Path, vqvae: Path, out: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a model to `out` that sees and speaks as the InternVL2.5 in `base`, and is still to learn to segment.

    The vocabulary grows by NEW_TOKENS and a token for each code. As in the release, the head's new rows are the mean of
    the old ones, and what turns codes into inputs is zero; new embeddings are drawn (seed 0) like the old ones.
    CheckpointError for a `base` of another kind or a file that is not VAR's.
    """
    settings, vqvae_state = read_var_vqvae(vqvae)
    raw = read_config(base)
    llm = raw.get("llm_config")
    if not isinstance(llm, dict) or llm.get("vocab_size") != BASE_VOCABULARY:
        raise CheckpointError(
            f"{base}: is no InternVL2.5 on InternLM2 with {BASE_VOCABULARY:,} tokens; fetch OpenGVLab/InternVL2_5-8B"
        )
    vocabulary = BASE_VOCABULARY + len(NEW_TOKENS) + settings["num_codes"]
    raw |= {"llm_config": llm | {"vocab_size": vocabulary}, "vae_config": settings}
    config = official_layout.convert_config(raw)
    model, table = empty_model(ARGenSeg, config, dtype), official_layout.KeyTable(config)
    state = model.state_dict()
    loaded = {f"image_tokenizer.{name}": value for name, value in vqvae_state.items()}
    for key, tensor in read_tensors(base):
        if key in _ROWS:
            tensor = _more_rows(tensor, vocabulary, is_head=key.endswith("output.weight"))
        loaded |= dict(table.rename(key, tensor))
    loaded |= {name: torch.zeros(state[name].shape) for name in _zeros(state)}
    _check(base, loaded, state)
    model.load_state_dict({name: value.to(dtype) for name, value in loaded.items()}, assign=True)
    materialise_buffers(model, torch.device("cpu"))
    model.save_pretrained(out)
    if (base / SENTENCEPIECE_FILE).is_file() and (base / CONFIG_FILE).is_file():
        _write_tokenizer(base, out, settings["num_codes"])


def _zeros(state: dict[str, Tensor]) -> Iterator[str]:
    return (name for name in state if name.split(".")[0] in ("word_embed", "lvl_embed", "pos_1LC"))


def _more_rows(rows: Tensor, count: int, is_head: bool) -> Tensor:
    new = count - len(rows)
    if is_head:
        return torch.cat([rows, rows.mean(0, keepdim=True, dtype=torch.float32).to(rows.dtype).expand(new, -1)])
    drawn = torch.randn(new, rows.shape[1], generator=torch.Generator().manual_seed(0))
    return torch.cat([rows, (drawn * rows.float().std()).to(rows.dtype)])


def _check(base: Path, loaded: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    for name in sorted(state.keys() | loaded.keys()):
        if name not in loaded or name not in state:
            what = "lacks" if name not in loaded else "has the unknown tensor"
            raise CheckpointError(
                f"{base} and the VQ-VAE: what is made of them {what} {name}; are they the right ones?"
            )
        if loaded[name].shape != state[name].shape:
            raise CheckpointError(
                f"{name} has shape {tuple(loaded[name].shape)} instead of {tuple(state[name].shape)}; "
                "is the download complete?"
            )


def _write_tokenizer(base: Path, out: Path, num_codes: int) -> None:
    content = json.loads((base / CONFIG_FILE).read_text(encoding="utf-8"))
    content["added_tokens_decoder"] = more_tokens(content.get("added_tokens_decoder", {}), BASE_VOCABULARY, num_codes)
    with replace_file(out / SENTENCEPIECE_FILE) as partial:
        partial.write_bytes((base / SENTENCEPIECE_FILE).read_bytes())
    with replace_file(out / CONFIG_FILE) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    load_tokenizer(out)  # says what is wrong with it, if something is


def more_tokens(added: dict[str, Any], first: int, num_codes: int) -> dict[str, Any]:
    """`added_tokens_decoder` of tokenizer_config.json with the new tokens from the id `first` on.

    Raises CheckpointError where these ids are taken.
    """
    names = [*NEW_TOKENS, *(f"<visual token {code:06}>" for code in range(num_codes))]
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    new = {str(first + i): {"content": name} | flags for i, name in enumerate(names)}
    if taken := added.keys() & new.keys():
        raise CheckpointError(f"the tokenizer already has a token {min(taken)}: it is not InternVL2.5's")
    return added | new

"""A new model out of an InternVL2.5 and VAR's VQ-VAE, made here from the parity checkpoint's own parts."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from argenseg_model import ARGenSeg
from argenseg_model.errors import CheckpointError
from argenseg_model.starting_point import BASE_VOCABULARY, NEW_TOKENS, more_tokens, start_from_internvl
from argenseg_model.var_layout import read_var_vqvae
from tests.argenseg_model.conftest import ParityCase

ROWS = ("language_model.model.tok_embeddings.weight", "language_model.output.weight")


@pytest.fixture(scope="module")
def parts(one_case: ParityCase, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An InternVL folder and a VQ-VAE file, as they are published."""
    folder = tmp_path_factory.mktemp("base")
    tensors = load_file(one_case.folder / "model.safetensors")
    vqvae = {
        key.removeprefix("image_tokenizer."): value for key, value in tensors.items() if key.startswith("image_tok")
    }
    torch.save(vqvae, folder / "vae.pth")
    base = {
        key: value for key, value in tensors.items() if key.split(".")[0] in ("vision_model", "mlp1", "language_model")
    }
    base |= {key: base[key][:BASE_VOCABULARY].clone() for key in ROWS}
    save_file(base, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((one_case.folder / "config.json").read_text())
    del config["vae_config"]
    config["llm_config"]["vocab_size"] = BASE_VOCABULARY
    (folder / "config.json").write_text(json.dumps(config))
    return folder, folder / "vae.pth"


@pytest.fixture(scope="module")
def started(parts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> ARGenSeg:
    out = tmp_path_factory.mktemp("started") / "model"
    start_from_internvl(*parts, out, torch.float32)
    return ARGenSeg.from_pretrained(out)


def test_what_the_base_knows_is_kept(started: ARGenSeg, one_case: ParityCase) -> None:
    new, old = started.state_dict(), one_case.model.state_dict()
    fresh = ("word_embed", "lvl_embed", "pos_1LC", "lm_head", "language_model.embed_tokens")
    kept = [name for name in old if not name.startswith(fresh)]
    assert len(kept) > 100
    assert all(torch.equal(new[name], old[name]) for name in kept)
    assert torch.equal(new["lm_head.weight"][:BASE_VOCABULARY], old["lm_head.weight"][:BASE_VOCABULARY])


def test_new_rows_begin_as_in_the_release(started: ARGenSeg) -> None:
    head, new = started.lm_head.weight, len(NEW_TOKENS) + 4096
    assert len(head) == BASE_VOCABULARY + new == 96_653
    torch.testing.assert_close(head[-new:], head[:BASE_VOCABULARY].mean(0).expand(new, -1), atol=1e-6, rtol=1e-5)
    zeros = (started.word_embed.weight, started.word_embed.bias, started.lvl_embed.weight, started.pos_1LC)
    assert not any(parameter.any() for parameter in zeros)
    embeddings = started.get_input_embeddings().weight
    assert embeddings[-new:].std().item() == pytest.approx(embeddings[:BASE_VOCABULARY].std().item(), rel=0.05)


def test_another_base_is_refused(one_case: ParityCase, parts: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no InternVL2\.5 on InternLM2"):
        start_from_internvl(one_case.folder, parts[1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_vqvae_of_other_shapes_is_refused(parts: tuple[Path, Path], tmp_path: Path) -> None:
    _, state = read_var_vqvae(parts[1])
    state["decoder.conv_out.weight"] = torch.zeros(3, 1, 3, 3)
    torch.save(state, tmp_path / "vae.pth")
    with pytest.raises(CheckpointError, match=r"decoder\.conv_out\.weight has shape \(3, 1, 3, 3\)"):
        start_from_internvl(parts[0], tmp_path / "vae.pth", tmp_path / "out")


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


@pytest.mark.parametrize("content", [b"text", b"", None], ids=["text", "empty", "code"])
def test_a_file_that_is_no_vqvae_is_refused(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "vae.pth"
    if content is None:
        torch.save({"encoder.conv_in.weight": Trap()}, file)
    else:
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"give vae_ch160v4096z32\.pth"):
        read_var_vqvae(file)
    assert capsys.readouterr().out == ""


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "vae.pth")
    with pytest.raises(CheckpointError, match=r"is no VQ-VAE of VAR's, it lacks encoder\.conv_in\.weight"):
        read_var_vqvae(tmp_path / "vae.pth")


def test_the_tokenizer_gets_the_new_tokens_in_order() -> None:
    added = more_tokens({"3": {"content": "<img>"}}, 10, 2)
    names = [added[str(i)]["content"] for i in range(10, 16)]
    assert names == [*NEW_TOKENS, "<visual token 000000>", "<visual token 000001>"]
    with pytest.raises(CheckpointError, match="already has a token 10"):
        more_tokens(added, 10, 2)

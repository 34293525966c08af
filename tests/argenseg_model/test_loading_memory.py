"""What loading takes of the host's memory: the model, and one shard of it, however many there are."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from argenseg_model import ARGenSeg, ARGenSegConfig

ROOT = Path(__file__).parents[2]
LOAD = """
import sys
from pathlib import Path
import torch
from argenseg_model import ARGenSeg
def resident(name):
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))
before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
ARGenSeg.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[2]))
print(resident("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """33 million weights in bfloat16, most of them in the vocabulary, in five files or more."""
    torch.manual_seed(0)
    text = {"model_type": "llama", "hidden_size": 128, "num_hidden_layers": 16, "num_attention_heads": 4}
    text |= {"num_key_value_heads": 2, "intermediate_size": 512, "vocab_size": 96_653, "tie_word_embeddings": False}
    vision = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    vision |= {"image_size": 448, "patch_size": 14, "attention_bias": True}
    config = ARGenSegConfig(vision_config=vision, text_config=text, vqvae_config={"ch": 32})
    folder = tmp_path_factory.mktemp("sharded")
    ARGenSeg(config).to(torch.bfloat16).save_pretrained(folder, max_shard_size="10MB")
    assert len(list(folder.glob("*.safetensors"))) >= 4
    return folder


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's own count of a process's memory")
@pytest.mark.parametrize(("dtype", "bytes_a_weight"), [("float32", 4), ("bfloat16", 2)])
def test_loading_takes_the_model_and_a_shard(sharded: Path, dtype: str, bytes_a_weight: int) -> None:
    files = [file.stat().st_size for file in sharded.glob("*.safetensors")]
    model = sum(files) // 2 * bytes_a_weight
    command = [sys.executable, "-c", LOAD, str(sharded), dtype]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    assert int(said.stdout) <= model + 1.1 * max(files)

"""The release's shape (8 billion random weights, bfloat16) on one GPU: what a mask takes, and what is left of the GPU.

    PYTHONPATH=. python benchmarks/gpu_release.py                      ten minutes of one H200 at most
    PYTHONPATH=. python benchmarks/gpu_release.py --compile            the same, the language model compiled
    PYTHONPATH=. python benchmarks/gpu_release.py --tiny --device cpu  whether it runs, on any machine

For 1, 8, 32 and 64 prompts about one image: ms a mask by stage, masks/s, the most memory, and the share of the peak of
the GPU's matrix units, which is measured first by one large product. Operations are counted by torch. A row that does
not fit, or an option that torch cannot do here, is said and left out.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch.utils.flop_counter import FlopCounterMode

from argenseg_model import ARGenSeg, ARGenSegConfig
from argenseg_model.checkpoints import empty_model, materialise_buffers
from argenseg_model.generation import select_rows
from argenseg_model.roomy_cache import give_room
from benchmarks.idleness import describe_idleness

PROMPT_TOKENS, PREFIX_TOKENS = 24, 60  # of a prompt, and before the image: as the release's template has them
STAGES = ("image and prefix", "prompts", "visual tokens", "pictures")
TURNS = 3


@dataclass
class Measured:
    """Seconds and operations by stage, of `rows` masks."""

    rows: int
    seconds: dict[str, float] = field(default_factory=dict)
    operations: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--compile", action="store_true", help="the language model, by torch.compile")
    parser.add_argument("--tiny", action="store_true", help="a model of some thousand weights")
    parser.add_argument("--seconds", type=float, default=480.0, help="begin nothing new after so long (%(default)s)")
    arguments = parser.parse_args()
    began, device = time.monotonic(), torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --tiny --device cpu tries the script without one")
    print(describe_idleness() if device.type == "cpu" else torch.cuda.get_device_name(device), flush=True)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    model = random_model(tiny_config() if arguments.tiny else release_config(), device, dtype)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    print(f"{sum(p.numel() for p in model.parameters()) / 1e9:.2f} billion weights, {weights / 2**30:.1f} GiB")
    peak = matrix_peak(device, dtype, 256 if arguments.tiny else 8192)
    print(f"one large product: {peak / 1e12:.1f} TFLOP/s\n", flush=True)
    if arguments.compile:
        compile_language_model(model)
    print(f"| prompts | {' | '.join(f'{name}, ms' for name in STAGES)} | ms a mask | masks/s | of the peak | GiB |")
    print("|---" * (len(STAGES) + 5) + "|", flush=True)
    for rows in arguments.rows:
        if time.monotonic() - began > arguments.seconds:
            print(f"{rows} prompts and more were left out: the time is up")
            break
        try:
            show(measure(model, rows, device), peak)
        except torch.OutOfMemoryError:
            print(f"| {rows} | does not fit |")
    print(f"\n{time.monotonic() - began:.0f} s in all")


def release_config() -> ARGenSegConfig:
    """InternVL2.5-8B's tower and InternLM2 as a Llama, with VAR's VQ-VAE."""
    return _config(4096, 32, 32, 8, 14336, vision=(1024, 24, 16, 4096), channels=160)


def tiny_config() -> ARGenSegConfig:
    return _config(32, 2, 4, 2, 64, vision=(32, 2, 2, 64), channels=32)


def _config(
    width: int, layers: int, heads: int, kv_heads: int, inside: int, *, vision: tuple[int, int, int, int], channels: int
) -> ARGenSegConfig:
    text = {"model_type": "llama", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    text |= {"num_key_value_heads": kv_heads, "intermediate_size": inside, "vocab_size": 96_653}
    tower = dict(
        zip(("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"), vision, strict=True)
    )
    return ARGenSegConfig(
        vision_config=tower | {"image_size": 448, "patch_size": 14, "attention_bias": True},
        text_config=text | {"tie_word_embeddings": False},
        vqvae_config={"ch": channels},
    )


@torch.no_grad()
def random_model(config: ARGenSegConfig, device: torch.device, dtype: torch.dtype) -> ARGenSeg:
    """Made where it is to be: nothing of it is ever in the host's memory."""
    torch.manual_seed(0)
    model = empty_model(ARGenSeg, config, dtype)
    weights = {}
    for name, shape in ((name, tensor.shape) for name, tensor in model.state_dict().items()):
        weight = torch.empty(shape, device=device, dtype=dtype)
        weights[name] = weight.normal_(0, max(shape[-1:].numel(), 1) ** -0.5) if len(shape) > 1 else weight.fill_(1.0)
    model.load_state_dict(weights, assign=True)
    materialise_buffers(model, device)
    return model.eval()


@torch.inference_mode()
def matrix_peak(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Operations a second of the largest products."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = min(timed(device, lambda: left @ right) for _ in range(10))
    return 2 * side**3 / seconds


def compile_language_model(model: ARGenSeg) -> None:
    """In place, or as it is where torch cannot."""
    plain = model.language_model.forward
    try:
        model.language_model.forward = torch.compile(plain, dynamic=True)
        measure(model, 1, model.device)
    except Exception as error:  # noqa: BLE001 (a compiler fails in many ways)
        model.language_model.forward = plain
        print(f"not compiled: {type(error).__name__}: {str(error).splitlines()[0][:200]}")


@torch.inference_mode()
def measure(model: ARGenSeg, rows: int, device: torch.device) -> Measured:
    """The medians of some turns; operations are counted in one more."""
    measured = Measured(rows)
    run_stages(model, rows, lambda _, work: work())  # warm up
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    times: dict[str, list[float]] = {name: [] for name in STAGES}
    for _ in range(TURNS):
        run_stages(model, rows, lambda name, work: times[name].append(timed(device, work)))
    measured.seconds = {name: sorted(found)[len(found) // 2] for name, found in times.items()}
    if device.type == "cuda":
        measured.peak_bytes = torch.cuda.max_memory_allocated(device)

    def count(name: str, work: Callable[[], object]) -> None:
        with FlopCounterMode(display=False) as counter:
            work()
        measured.operations[name] = counter.get_total_flops()

    run_stages(model, rows, count)
    return measured


def run_stages(model: ARGenSeg, rows: int, stage: Callable[[str, Callable[[], object]], object]) -> None:
    """A mask for each of `rows` prompts about one image, as `segment` does it; `stage` runs each part."""
    config, device = model.config, model.device
    side = config.image_size
    pixels = torch.zeros(1, 3, side, side, device=device, dtype=model.dtype)
    prefix = [5] * PREFIX_TOKENS + [config.image_token_id] * config.num_image_tokens
    asked = [[7 + row % 100] * PROMPT_TOKENS for row in range(rows)]
    made: dict[str, object] = {}

    def see() -> None:
        features = model.image_features(pixels)
        index = torch.zeros(rows, dtype=torch.long, device=device)
        begun = select_rows(model.extend_images(features, prefix), index, config.text_config)
        give_room(begun, PROMPT_TOKENS + config.vqvae_config.tokens_per_mask)
        made["rows"] = begun

    def ask() -> None:
        made["mask"] = model.fill_rows(made["rows"], asked)

    def decode() -> None:
        made["masks"] = model.decode_masks(made["rows"], made["mask"])

    def draw() -> None:
        made["pictures"] = model.image_tokenizer.decode(made["masks"].f_hat_BChw)  # type: ignore[attr-defined]

    for name, work in zip(STAGES, (see, ask, decode, draw), strict=True):
        stage(name, work)


def timed(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds until it is really done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def show(measured: Measured, peak: float) -> None:
    total, operations = sum(measured.seconds.values()), sum(measured.operations.values())
    stages = " | ".join(f"{1000 * measured.seconds[name] / measured.rows:.2f}" for name in STAGES)
    rate = f"{1000 * total / measured.rows:.2f} | {measured.rows / total:.2f} | {operations / total / peak:.1%}"
    print(f"| {measured.rows} | {stages} | {rate} | {measured.peak_bytes / 2**30:.1f} |", flush=True)


if __name__ == "__main__":
    main()

import json
import warnings

import numpy as np
import pytest
import torch

from argenseg_model import ARGenSeg
from argenseg_model.training.batches import scene_samples, to_batch
from argenseg_model.training.objective import Objective, TrainingHeads, training_losses, visual_targets
from recipes.starter import train as train_starter
from recipes.starter.config import TILE, initialise, starter_config
from recipes.starter.nuclei_batches import load_nuclei, nuclei_samples

STEPS = ["--steps", "4", "--vqvae-steps", "3", "--vision-steps", "2", "--checkpoint-every", "2", "--threads", "1"]
STEPS += ["--validation-scenes", "8"]


@pytest.fixture(scope="module")
def run(nuclei_dir, tmp_path_factory):
    """A finished run of four steps."""
    out = tmp_path_factory.mktemp("run")
    train_starter.main(["--data", str(nuclei_dir), "--out", str(out), *STEPS])
    return out


def test_a_run_leaves_a_model_that_segments(run):
    model = ARGenSeg.from_pretrained(run / "model")
    image = np.random.default_rng(0).integers(0, 255, (90, 100, 3), dtype=np.uint8)
    results = model.segment(image, ["all nuclei", "the red circle left of it"])[0]
    assert [result.mask.shape for result in results] == [(90, 100)] * 2
    assert all(0 < result.score <= 1 for result in results)
    assert results[0].tokens.shape == (4, model.config.vqvae_config.tokens_per_mask)  # 2 x 2 tiles


def test_an_interrupted_run_goes_on_to_the_same_weights(run, nuclei_dir, tmp_path, monkeypatch):
    arguments = ["--data", str(nuclei_dir), "--out", str(tmp_path), *STEPS]
    steps = []

    def interrupted(*args, **kwargs):
        if len(steps) == 3:
            raise KeyboardInterrupt
        steps.append(1)
        return training_losses(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_starter, "training_losses", interrupted)
        train_starter.main(arguments)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
    train_starter.main(arguments)
    straight, resumed = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (run, tmp_path))
    assert straight["step"] == resumed["step"] == 4
    for name, weight in straight["trained"].items():
        torch.testing.assert_close(resumed["trained"][name], weight, rtol=0, atol=0, msg=name)


@pytest.fixture(scope="module")
def model(run):
    torch.manual_seed(0)
    loaded = ARGenSeg.from_pretrained(run / "model")
    fresh = ARGenSeg(starter_config(loaded.tokenizer, "test"))
    fresh.tokenizer = loaded.tokenizer
    initialise(fresh)
    fresh.image_tokenizer.load_state_dict(loaded.image_tokenizer.state_dict())
    return fresh


def test_soft_targets_favour_the_code_that_the_vqvae_chooses(model):
    masks = torch.randn(3, 3, 32, 32).clamp(-1, 1)
    targets = visual_targets(model.image_tokenizer, masks, softness=0.08, noise=0.0)
    torch.testing.assert_close(targets.soft_RLV.argmax(-1), model.image_tokenizer.encode(masks))
    torch.testing.assert_close(
        targets.inputs_RLC, model.image_tokenizer.teacher_inputs(model.image_tokenizer.encode(masks))
    )


def test_the_losses_use_nothing_that_is_going_to_be_removed(model):
    batch = to_batch(model, scene_samples(np.random.default_rng(0), 1, 1, TILE, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        training_losses(model, TrainingHeads(model), batch, Objective(0.08, 0.0, foreground=3.0, kept=0.5))


def test_losses_fall_on_one_batch(model, nuclei_dir):
    """Scenes and nuclei: a few steps on the same batch must lower every part of the loss."""
    rng = np.random.default_rng(0)
    tiles = load_nuclei(nuclei_dir, TILE, 0.001)
    head = TrainingHeads(model)
    weights = [*model.parameters(), *head.parameters()]
    for groups in (scene_samples(rng, 2, 2, TILE, 1), nuclei_samples(rng, tiles, 2)):
        batch = to_batch(model, groups)
        assert batch.masks_R3ss.shape == (4, 3, TILE // 2, TILE // 2) and len(batch.text_ids) == 4
        optimizer = torch.optim.AdamW(weights, lr=1e-3)
        history = []
        for _ in range(16):
            torch.manual_seed(0)
            losses = training_losses(model, head, batch, Objective(0.08, 0.0, foreground=3.0, kept=0.5))
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
            history.append({name: loss.item() for name, loss in losses.items()})
        assert all(history[-1][name] < 0.9 * history[0][name] for name in history[0]), json.dumps(history)

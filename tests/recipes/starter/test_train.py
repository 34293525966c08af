import numpy as np
import pytest
import torch

from argenseg_model import ARGenSeg
from argenseg_model.training.objective import visual_targets
from recipes.starter import cache, evaluate, train
from recipes.starter.cached import DENSE, CachedViews, dense_truth
from recipes.starter.config import initialise, starter_config
from recipes.starter.language import Readers, draw_rows, language_losses
from recipes.starter.train_vision import Sight

STEPS = ["--steps", "4", "--vqvae-steps", "3", "--vision-steps", "2", "--polish-steps", "2"]
STEPS += ["--checkpoint-every", "2"]


@pytest.fixture(scope="module")
def cached(photos_dir, nuclei_dir, wheel, tmp_path_factory):
    """A folder of cached views: 32 of photographs, 36 of nuclei, 8 scenes."""
    out = tmp_path_factory.mktemp("cache")
    data = ["--photos", str(photos_dir), "--nuclei", str(nuclei_dir), "--wheel", str(wheel)]
    cache.main([*data, "--out", str(out), "--scenes", "12"])
    return out


@pytest.fixture(scope="module")
def run(cached, wheel, tmp_path_factory):
    """A finished run of four steps."""
    out = tmp_path_factory.mktemp("run")
    train.main(["--cache", str(cached), "--wheel", str(wheel), "--out", str(out), *STEPS])
    return out


def test_cached_features_are_those_of_the_backbone(cached, run):
    views = CachedViews(cached)
    maps = views.maps([0, 1])
    assert [tuple(m.shape) for m in maps] == [(2, *shape) for shape in cache.MAPS]
    assert all(torch.isfinite(m).all() for m in maps)
    assert {view.set for view in views.views} == {"animal", "nuclei", "scene"}


def test_what_is_known_of_a_view_is_what_its_set_marks(cached):
    views = CachedViews(cached)
    animal = next(view for view in views.views if set(view.objects) == {"deer"} and view.is_whole)
    truth, known = dense_truth(animal)
    assert truth[DENSE.index("deer")].max() == 255 and not truth[DENSE.index("turtle")].any()
    assert known[[DENSE.index(name) for name in ("deer", "turtle", "tiger", "nucleus")]].all()
    assert not known[[DENSE.index(name) for name in ("window", "wall", "circle")]].any()


def test_a_run_leaves_a_model_that_segments(run):
    model = ARGenSeg.from_pretrained(run / "model")
    image = np.random.default_rng(0).integers(0, 255, (90, 100, 3), dtype=np.uint8)
    results = model.segment(image, ["all nuclei", "the red circle left of it"])[0]
    assert [result.mask.shape for result in results] == [(90, 100)] * 2
    assert all(0 < result.score <= 1 for result in results)
    assert results[0].tokens.shape == (1, model.config.vqvae_config.tokens_per_mask)
    assert model.knows("the largest window").is_known and not model.knows("all giraffes").is_known


def test_an_interrupted_run_goes_on_to_the_same_weights(run, cached, wheel, tmp_path, monkeypatch):
    arguments = ["--cache", str(cached), "--wheel", str(wheel), "--out", str(tmp_path), *STEPS]
    steps = []

    def interrupted(*args, **kwargs):
        if len(steps) == 3:
            raise KeyboardInterrupt
        steps.append(1)
        return language_losses(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train, "language_losses", interrupted)
        train.main(arguments)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
    train.main(arguments)
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
    masks = torch.randn(3, 3, 64, 64).clamp(-1, 1)
    targets = visual_targets(model.image_tokenizer, masks, softness=0.08, noise=0.0)
    torch.testing.assert_close(targets.soft_RLV.argmax(-1), model.image_tokenizer.encode(masks))
    torch.testing.assert_close(
        targets.inputs_RLC, model.image_tokenizer.teacher_inputs(model.image_tokenizer.encode(masks))
    )


def test_losses_fall_on_one_batch(model, cached):
    """A few steps on the same views must lower every part of the loss, where what is asked for is there."""
    views = CachedViews(cached)
    drawn = (draw_rows(np.random.default_rng(seed), model, views, 3, 2) for seed in range(100))
    rows = next(rows for rows in drawn if (rows.batch.masks_R3ss.amax((1, 2, 3)) > 0).all())
    assert rows.batch.masks_R3ss.shape == (6, 3, 64, 64) and len(rows.batch.text_ids) == 6
    sight, readers = Sight(model.config.text_config.hidden_size, 4), Readers(model)
    optimizer = torch.optim.AdamW([*model.parameters(), *sight.parameters(), *readers.parameters()], lr=1e-3)
    history = []
    for _ in range(16):
        torch.manual_seed(0)
        losses = language_losses(model, sight, readers, rows, kept=1.0, foreground=1.0)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append({name: loss.item() for name, loss in losses.items()})
    assert all(history[-1][name] < 0.95 * history[0][name] for name in history[0]), history


def test_the_evaluation_measures_names_words_and_what_is_absent(run, photos_dir, nuclei_dir, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, "SETS", {"animal": ("deer", "turtle")})
    arguments = ["evaluate", "--photos", str(photos_dir), "--nuclei", str(nuclei_dir), "--model", str(run / "model")]
    monkeypatch.setattr("sys.argv", [*arguments, "--scenes", "10", "--images", "2"])
    evaluate.main()
    said = capsys.readouterr().out
    for row in ("name: deer", "name: nucleus", "word: the largest nucleus", "absent: animal", "scenes"):
        assert f"| {row} |" in said

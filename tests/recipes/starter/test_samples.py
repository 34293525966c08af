import numpy as np
import pytest

from argenseg_model.scenes import scene_sample
from argenseg_model.scenes.vocabulary import COLOURS, FOREIGN_OBJECTS, SHAPES
from recipes.starter.corpus import prompt_corpus
from recipes.starter.nuclei import NUCLEI_PROMPTS, NucleiTiles, TrainingDataError


def test_a_tile_shows_its_nuclei(nuclei_dir):
    """Crop, scale, turn, exposure and stain keep picture and mask together; a quarter is dark on bright."""
    tiles = NucleiTiles(nuclei_dir, side=96)
    rng = np.random.default_rng(0)
    sources, contrasts = set(), []
    for _ in range(300):
        sample = tiles.sample(rng, absent_share=0.0)
        assert sample.image.shape == (96, 96, 3) and sample.image.dtype == np.uint8
        assert sample.mask.shape == (96, 96) and sample.mask.dtype == bool
        assert sample.prompt in NUCLEI_PROMPTS
        sources.add(sample.source)
        if 0.02 < sample.mask.mean() < 0.98:
            brightness = sample.image.astype(float).sum(axis=2)
            contrast = brightness[sample.mask].mean() - brightness[~sample.mask].mean()
            assert contrast > 0 or "bright" not in sample.prompt
            contrasts.append(contrast)
    dark, bright = (np.array([c for c in contrasts if (c > 0) == is_bright]) for is_bright in (False, True))
    assert bright.min() > 15
    assert np.percentile(dark, 90) < -15
    assert 0.15 < len(dark) / len(contrasts) < 0.35
    assert sources == {"nuclei:a-train", "nuclei:b-small", "nuclei:c-colour"}


def test_absent_prompts_of_tiles_are_empty_and_name_no_nuclei(nuclei_dir):
    tiles = NucleiTiles(nuclei_dir)
    rng = np.random.default_rng(1)
    for _ in range(100):
        sample = tiles.sample(rng, absent_share=1.0)
        assert not sample.mask.any()
        assert sample.prompt and not any(word in sample.prompt.lower() for word in ("nucle", "cell", "bright"))
        if sample.image.min(2).tobytes() != sample.image.max(2).tobytes():  # what has colours is not asked for any
            assert not any(colour in sample.prompt.lower() for colour in COLOURS)


def test_the_seed_determines_the_tiles(nuclei_dir):
    tiles = NucleiTiles(nuclei_dir)
    first, again = (tiles.sample(np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)
    assert (first.prompt, first.source) == (again.prompt, again.source)


@pytest.mark.parametrize(
    ("split", "modality"), [("test", "fluorescence"), ("demo", "fluorescence"), ("train", "histology")]
)
def test_held_out_data_is_not_trained_on(nuclei_dir, split, modality):
    with pytest.raises(TrainingDataError, match="held out"):
        NucleiTiles(nuclei_dir, split, modality)
    assert len(NucleiTiles(nuclei_dir, split, modality, for_evaluation=True)) == 1


def test_bad_folders_say_what_is_wrong(nuclei_dir, tmp_path):
    with pytest.raises(TrainingDataError, match=r"manifest\.csv"):
        NucleiTiles(tmp_path)
    with pytest.raises(TrainingDataError, match="brightfield"):
        NucleiTiles(nuclei_dir, modality="brightfield")
    (tmp_path / "manifest.csv").write_text("id,split,modality\nlost,train,fluorescence\n")
    with pytest.raises(TrainingDataError, match="lost"):
        NucleiTiles(tmp_path)


def test_scene_samples_keep_the_share_of_absent_prompts():
    rng = np.random.default_rng(0)
    samples = [scene_sample(rng, level=3, absent_share=0.25) for _ in range(600)]
    assert 0.2 < np.mean([not sample.mask.any() for sample in samples]) < 0.3
    assert all(sample.prompt and sample.source.startswith("scene:") for sample in samples)
    assert any("nucle" in sample.prompt and not sample.mask.any() for sample in samples)


def test_the_corpus_holds_every_word_and_repeats_itself():
    corpus = prompt_corpus(0, 500)
    assert corpus == prompt_corpus(0, 500) != prompt_corpus(1, 500)
    text = " ".join(corpus)
    for word in (*COLOURS, *SHAPES, *FOREIGN_OBJECTS, *NUCLEI_PROMPTS):
        assert word in text
    assert all(corpus)

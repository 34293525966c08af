import numpy as np

from argenseg_model.scenes import scene_sample


def test_scene_samples_keep_the_share_of_absent_prompts():
    rng = np.random.default_rng(0)
    samples = [scene_sample(rng, level=3, absent_share=0.25) for _ in range(600)]
    assert 0.2 < np.mean([not sample.mask.any() for sample in samples]) < 0.3
    assert all(sample.prompt and sample.source.startswith("scene:") for sample in samples)
    assert any("nucle" in sample.prompt and not sample.mask.any() for sample in samples)

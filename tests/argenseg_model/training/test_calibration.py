import numpy as np

from argenseg_model.training.calibration import best_threshold


def test_the_best_threshold_weighs_what_is_lost_against_what_is_emptied():
    scores = np.array([0.5, 0.1, 0.3, 0.2, 0.9])
    kept = np.array([0.8, 0.0, 0.6, 0.0, 0.9])
    absent = np.array([False, True, False, True, False])
    assert 0.2 < best_threshold(scores, kept, absent) < 0.3
    assert best_threshold(scores, np.ones(5), absent) == 0.0, "nothing to gain: nothing is emptied"
    assert best_threshold(scores, np.zeros(5), np.ones(5, bool)) == 1.0
    assert 0.2 < best_threshold(scores, np.zeros(5), np.ones(5, bool), most=0.26) < 0.26


def test_equal_scores_stay_together():
    scores = np.array([0.1, 0.1, 0.1, 0.5])
    kept, absent = np.array([0.9, 0.0, 0.9, 0.9]), np.array([False, True, False, False])
    assert best_threshold(scores, kept, absent) == 0.0


def test_the_best_threshold_is_that_of_trying_all():
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores, kept, absent = rng.random(30), rng.random(30), rng.random(30) < 0.5
        chosen = best_threshold(scores, kept, absent)
        value = [np.where(scores < t, absent, kept).sum() for t in (chosen, 0.0, 1.0, *(scores + 1e-9))]
        assert value[0] >= max(value) - 1e-9

"""What the benchmarks of masks count."""

import cv2
import numpy as np
import torch

from argenseg_model.efficientnet import Backbone
from benchmarks.mask_details import by_probability
from benchmarks.seams import pinholes, straight_edges
from benchmarks.unet import segment, train_unet


def test_a_square_cut_out_of_a_disc_is_seen_and_a_disc_has_no_straight_edges():
    disc = cv2.circle(np.zeros((200, 200), np.uint8), (100, 100), 60, 1, -1) > 0
    assert straight_edges(disc) == straight_edges(np.ones((50, 50), bool)) == 0
    cut = disc.copy()
    cut[100:, 100:] = False
    assert straight_edges(cut) == 2


def test_pinholes_are_small_holes_and_not_the_background():
    mask = np.ones((60, 60), bool)
    mask[:5] = mask[10:12, 10:12] = mask[20:40, 20:40] = False
    assert pinholes(mask) == 1


def test_objects_are_told_apart_where_the_model_is_less_sure():
    mask = np.zeros((40, 80), bool)
    mask[10:30, 5:75] = True
    probability = np.where(mask, 0.95, 0.0).astype(np.float32)
    probability[:, 36:44] *= 0.7
    labels = by_probability(probability, mask)
    assert labels.max() == 2 and len(np.unique(labels[20, 10:30])) == 1 and (labels > 0).sum() == mask.sum()
    assert by_probability(np.where(mask, 0.6, 0).astype(np.float32), mask).max() == 1


def test_the_unet_learns_with_all_its_weights_and_answers_at_a_pictures_size():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 60, (96, 130, 3), np.uint8)
    mask = np.zeros((96, 130), bool)
    mask[20:70, 30:90] = True
    picture[mask] += 150
    backbone = Backbone()
    before = backbone.stem.weight.clone()
    found = segment(model := train_unet(backbone, [(picture, mask)], cpu_seconds=4, seed=0), picture)
    assert found.shape == mask.shape and found.dtype == bool
    assert not torch.equal(before, model.backbone.stem.weight)  # all weights learn

"""The pretrained tower behind the same interface as the release's, and visual tokens that see the image."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from argenseg_model import ARGenSeg
from argenseg_model.efficientnet import TAPS, Backbone, EfficientNetLite, EfficientNetLiteConfig, _same
from argenseg_model.prefix_cache import PrefixCache
from argenseg_model.tokenizer import Tokenizer
from tests.argenseg_model.conftest import small_config

VISION = {"model_type": "efficientnet_lite", "image_size": [64, 64], "patch_size": [8, 8], "hidden_size": 16,
          "num_hidden_layers": 1}  # fmt: skip
PROMPTS = ["all nuclei", "image", "segment"]


@pytest.fixture(scope="module")
def model(byte_bpe: Tokenizer) -> ARGenSeg:
    torch.manual_seed(0)
    config = small_config(byte_bpe, vision_config=VISION, image_size=64, downsample_ratio=0.5,
                          visual_tokens_see_image=True)  # fmt: skip
    made = ARGenSeg(config).eval()
    made.tokenizer = byte_bpe
    for name, parameter in made.named_parameters():
        if not name.startswith(("image_tokenizer", "vision_model")) and parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0, 0.4)
    return made


def picture(seed: int, height: int = 50, width: int = 70) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_features_of_all_strides_come_to_one_grid():
    tower = EfficientNetLite(EfficientNetLiteConfig(image_size=[96, 64], hidden_size=16))
    maps = tower.backbone(torch.zeros(2, 3, 96, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(c, 96 // stride, 64 // stride) for c, stride in TAPS.values()]
    assert tower(torch.zeros(2, 3, 96, 64)).last_hidden_state.shape == (2, 12 * 8, 16)


def test_the_backbone_has_the_published_number_of_weights():
    """4,652,008 with the head, and with a scale and a shift in each norm, where a bias is left of them."""
    sizes = {name: parameter.numel() for name, parameter in Backbone().named_parameters()}
    convolutions = sum(size for name, size in sizes.items() if name.endswith("weight"))
    norms = 2 * sum(size for name, size in sizes.items() if name.endswith("bias"))
    head = 1280 * 320 + 2 * 1280 + 1000 * 1281
    assert convolutions + norms + head == 4_652_008


@pytest.mark.parametrize(("kernel", "side"), [(3, 8), (5, 8), (3, 32)])
def test_padding_is_that_of_tensorflow(kernel: int, side: int):
    """With stride 2 on an even side SAME pads k - 2 in all, the smaller half before."""
    conv = torch.nn.Conv2d(1, 1, kernel, 2, bias=False)
    x = torch.arange(side * side, dtype=torch.float32).view(1, 1, side, side)
    before = (kernel - 2) // 2
    padded = F.pad(x, (before, kernel - 2 - before) * 2)
    torch.testing.assert_close(_same(x, conv), F.conv2d(padded, conv.weight, stride=2))
    assert _same(x, conv).shape[-1] == side // 2


def test_a_model_with_this_tower_is_saved_and_loaded(model: ARGenSeg, tmp_path):
    model.save_pretrained(tmp_path)
    again = ARGenSeg.from_pretrained(tmp_path)
    assert isinstance(again.vision_model, EfficientNetLite)
    for one, other in zip(model.segment(picture(1), PROMPTS)[0], again.segment(picture(1), PROMPTS)[0], strict=True):
        assert np.array_equal(one.tokens, other.tokens) and np.array_equal(one.mask, other.mask)


def test_a_batch_gives_the_ids_of_single_calls(model: ARGenSeg):
    images = [picture(1), picture(2), picture(3)]
    together = model.segment(images, PROMPTS)
    for image, results in zip(images, together, strict=True):
        for prompt, result in zip(PROMPTS, results, strict=True):
            assert np.array_equal(result.tokens, model.segment(image, prompt)[0][0].tokens)


def test_what_is_kept_of_an_image_holds_what_visual_tokens_see(model: ARGenSeg):
    plain = model.segment(picture(1), PROMPTS)[0]
    model.prefix_cache = PrefixCache(2**24)
    model.segment(picture(1), "other")
    for one, other in zip(plain, model.segment(picture(1), PROMPTS)[0], strict=True):
        assert np.array_equal(one.tokens, other.tokens)
    model.prefix_cache = PrefixCache()


def test_generate_and_forward_see_the_image_too(model: ARGenSeg):
    """The losses of a sequence depend on the image at each visual token; one image for each mask is needed."""
    config = model.config
    n = config.vqvae_config.tokens_per_mask
    ids = [config.image_token_id] * config.num_image_tokens + [config.ge_start_id]
    ids += [config.mask_context_id] * (n - 1) + [config.ge_end_id]
    labels = [-100] * (config.num_image_tokens + 1) + [config.mask_context_id] * n
    given = {"input_ids": torch.tensor([ids]), "labels": torch.tensor([labels])}
    side = config.vqvae_config.picture_side
    pixels, mask = torch.randn(1, 3, 64, 64), torch.randn(1, 3, side, side)
    with torch.no_grad():
        loss = model(pixels, mask_pixel_values=mask, **given).mask_loss
        features = model.image_features(pixels)
        blind = model.visual_embeds(torch.zeros(1, n - 1, 4), 1, model.scale_of_token()[1:], features * 0)
        seeing = model.visual_embeds(torch.zeros(1, n - 1, 4), 1, model.scale_of_token()[1:], features)
    assert torch.isfinite(loss)
    torch.testing.assert_close(seeing - blind, model.image_at_tokens(features))
    with pytest.raises(ValueError, match="see the image"):
        model.visual_embeds(torch.zeros(1, n - 1, 4), 1, model.scale_of_token()[1:])

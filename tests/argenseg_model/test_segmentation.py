"""`segment` on a small model of ours: real parts, random weights."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from argenseg_model import ARGenSeg, SegmentationResult, segmentation
from argenseg_model.errors import ImageError, PromptError, TokenizerError
from argenseg_model.processing import image_to_pixels, picture_to_probability, picture_to_uint8
from argenseg_model.prompting import build_prompt
from argenseg_model.tokenizer import Tokenizer
from tests.argenseg_model.conftest import small_model
from tests.argenseg_model.test_generation import counted, decode_together

PROMPTS = ["all nuclei", "a dog", "the large red circle left of the square"]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def tiled(byte_bpe: Tokenizer) -> ARGenSeg:
    return small_model(byte_bpe, image_mode="tile", tile_overlap=8)


def assert_equal(a: list[SegmentationResult], b: list[SegmentationResult]) -> None:
    for one, other in zip(a, b, strict=True):
        assert one.prompt == other.prompt
        assert one.score == pytest.approx(other.score, rel=1e-4)
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_allclose(one.probability, other.probability, atol=1.01 / 255)


def test_a_result_has_the_images_size_and_the_interfaces_types(small: ARGenSeg, tiled: ARGenSeg) -> None:
    for model, tiles in ((small, 1), (tiled, 2 * 3)):
        ((result,),) = model.segment(picture(40, 70), "all nuclei")
        assert result.prompt == "all nuclei"
        assert result.mask.shape == result.probability.shape == (40, 70)
        assert (result.mask.dtype, result.probability.dtype) == (np.bool_, np.float32)
        assert np.array_equal(result.mask, result.probability > 0.5)
        assert 0 <= result.probability.min() <= result.probability.max() <= 1
        assert 0 < result.score < 1
        assert result.tokens.shape == (tiles, 21) and 0 <= result.tokens.min() <= result.tokens.max() < 16


def test_one_image_in_any_form(small: ARGenSeg, tmp_path: Path) -> None:
    array = picture(40, 30)
    Image.fromarray(array).save(tmp_path / "image.png")
    lying = Image.Exif()
    lying[0x0112] = 6
    Image.fromarray(np.rot90(array)).save(tmp_path / "lying.png", exif=lying)
    (expected,) = small.segment(array, PROMPTS)
    path = tmp_path / "image.png"
    for image in (Image.fromarray(array), str(path), path, path.read_bytes(), tmp_path / "lying.png"):
        assert_equal(small.segment(image, PROMPTS)[0], expected)
    assert_equal(small.segment([array], tuple(PROMPTS))[0], expected)


@pytest.mark.parametrize("mode", ["squash", "tile"])
def test_batches_give_what_single_calls_give(
    small: ARGenSeg, tiled: ARGenSeg, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = small if mode == "squash" else tiled, [picture(40, 70), picture(90, 33, 1)]
    together = model.segment(images, PROMPTS)
    singly = [[model.segment(image, prompt)[0][0] for prompt in PROMPTS] for image in images]
    for rows_per_batch in (1, 2, 4, 7):
        monkeypatch.setattr(segmentation, "CPU_ROWS_PER_BATCH", rows_per_batch)
        for a, b, c in zip(model.segment(images, PROMPTS), together, singly, strict=True):
            assert_equal(a, b)
            assert_equal(a, c)
    assert len({result.tokens.tobytes() for results in together for result in results}) >= 4  # they do differ


def test_an_answer_is_that_of_the_low_level_calls(small: ARGenSeg) -> None:
    image = Image.fromarray(picture(40, 70))
    for template in ("class", "referring", "reasoning"):
        ((result,),) = small.segment(image, "a dog", template=template)
        ids = build_prompt(small.tokenizer, "a dog", template, small.config.system_message, 4)
        with torch.no_grad():
            pixels = image_to_pixels(image, small.config)[None]
            masks = decode_together(small, pixels, [(0, ids)])
            decoded = picture_to_uint8(small.image_tokenizer.decode_codes(masks.codes_BL))[0]
        assert np.array_equal(result.tokens, masks.codes_BL)
        np.testing.assert_allclose(result.probability, picture_to_probability(decoded, (70, 40)), atol=1.01 / 255)


def test_an_answer_of_which_the_model_is_unsure_is_empty(byte_bpe: Tokenizer) -> None:
    image = picture(40, 52)
    answers = small_model(byte_bpe).segment(image, PROMPTS)[0]
    drawn = sorted(answer.score for answer in answers if answer.mask.any())
    assert len(drawn) > 1
    assert drawn[0] < drawn[-1]
    least_score = (drawn[0] + drawn[-1]) / 2
    strict = small_model(byte_bpe, least_score=least_score).segment(image, PROMPTS)[0]
    assert len({after.mask.any() for after in strict}) == 2
    for before, after in zip(answers, strict, strict=True):
        np.testing.assert_array_equal(after.mask, before.mask & (before.score >= least_score))
        np.testing.assert_array_equal(after.probability, before.probability)
        assert after.score == before.score


def test_nothing_is_warned_of(small: ARGenSeg) -> None:
    """As of an argument that another version of transformers calls otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small.segment(picture(40, 70), PROMPTS)


def test_prompts_of_an_image_run_as_one_batch(small: ARGenSeg) -> None:
    with counted(small) as calls:
        small.segment(picture(40, 70), PROMPTS)
    assert calls == {"vision": 1, "llm": 2 + 3, "picture": 1}  # prefix, rest of the prompts, three scales


def test_images_share_a_batch_and_are_begun_when_it_has_room(tiled: ARGenSeg, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [picture(32, 32, seed) for seed in range(6)]
    monkeypatch.setattr(segmentation, "CPU_ROWS_PER_BATCH", 8)
    with counted(tiled) as calls:
        tiled.segment(images, [PROMPTS[:2], PROMPTS, PROMPTS[:1], PROMPTS[:2], [], PROMPTS])  # 8 and 3 rows
    assert calls == {"vision": 2, "llm": 2 * 5, "picture": 2}


def test_each_image_can_have_its_own_prompts(small: ARGenSeg) -> None:
    images = [picture(40, 70), picture(33, 50, 1)]
    first, second = small.segment(images, [PROMPTS[:1], PROMPTS[1:]])
    assert [[result.prompt for result in results] for results in (first, second)] == [PROMPTS[:1], PROMPTS[1:]]
    assert_equal(second, small.segment(images[1], PROMPTS[1:])[0])
    assert small.segment(images, []) == [[], []]
    assert small.segment(images[:1], [[]]) == [[]]
    assert small.segment([], PROMPTS) == []


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([["a"]], "1 lists of prompts for 2 images"),
        (["a", ["b"]], "give one list of texts"),
        ([["a"], 3], "give one list of texts"),
        (["a", " "], "the prompt is empty"),
        ([["a"], ["b", 3]], "a prompt is a text, not 3"),
        ([["a"], [b"b"]], "a prompt is a text, not b'b'"),
        (None, "give one list of texts"),
        (b"all nuclei", "give one list of texts"),
    ],
)
def test_prompts_that_make_no_sense_are_refused(small: ARGenSeg, prompts: list, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        small.segment([picture(9, 9), picture(9, 9)], prompts)


def test_prompts_may_come_from_any_iterable(small: ARGenSeg) -> None:
    expected = small.segment(picture(9, 9), PROMPTS)
    for prompts in (iter(PROMPTS), np.array(PROMPTS), iter([iter(PROMPTS)]), np.array([PROMPTS])):
        assert_equal(small.segment(picture(9, 9), prompts)[0], expected[0])


@pytest.mark.parametrize("images", [None, 3, [None]])
def test_what_is_no_image_is_refused(small: ARGenSeg, images: object) -> None:
    with pytest.raises(ImageError, match="an image is a path"):
        small.segment(images, "a dog")  # type: ignore[arg-type]


def test_the_tokenizer_of_another_model_is_noticed(byte_bpe: Tokenizer) -> None:
    for changes in ({"image_token_id": 3}, {"ge_start_id": 3}, {"mask_context_id": 3}):
        model = small_model(byte_bpe, **changes)
        with pytest.raises(TokenizerError, match="another model's"):
            model.segment(picture(9, 9), "a dog")


def test_a_bad_image_and_a_missing_tokenizer_are_refused(byte_bpe: Tokenizer, tmp_path: Path) -> None:
    model = small_model(byte_bpe)
    with pytest.raises(ImageError):
        model.segment(tmp_path / "missing.png", "a dog")
    model.tokenizer = None
    with pytest.raises(TokenizerError, match="put the checkpoint's tokenizer files beside its weights"):
        model.segment(picture(9, 9), "a dog")


def test_a_model_can_be_trained_after_it_has_segmented(byte_bpe: Tokenizer) -> None:
    """Nothing that was made in inference mode stays in the model."""
    model = small_model(byte_bpe)
    model.segment(picture(40, 70), PROMPTS)
    config = model.config
    ids = build_prompt(byte_bpe, "a dog", "class", "", 4)
    mask, end = [config.mask_context_id] * 20, [config.ge_end_id, config.eos_token_id]
    input_ids = torch.tensor([[*ids, config.ge_start_id, *mask, *end]])
    labels = input_ids.masked_fill(input_ids == config.ge_end_id, config.mask_context_id)
    labels[:, : len(ids)] = -100
    pixels, pictures = torch.randn(1, 3, 32, 32), torch.rand(1, 3, 8, 8) * 2 - 1
    losses = model(pixel_values=pixels, input_ids=input_ids, labels=labels, mask_pixel_values=pictures)
    losses.loss.backward()
    assert losses.loss.isfinite() and model.word_embed.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_pixel_values": None}, "labels hold 21 mask tokens, the masks give 0"),
        ({"mask_pixel_values": torch.zeros(2, 3, 8, 8)}, "input_ids hold 20 mask tokens, the masks give 40"),
        ({"labels": torch.full((1, 26), -100)}, "labels hold 0 mask tokens, the masks give 21"),
        ({"pixel_values": torch.zeros(2, 3, 32, 32)}, "input_ids hold 4 image tokens, the images give 8"),
    ],
)
def test_training_sequences_must_fit_their_pictures(small: ARGenSeg, change: dict, message: str) -> None:
    config = small.config
    ids = [config.image_token_id] * 4 + [config.ge_start_id] + [config.mask_context_id] * 20 + [config.ge_end_id]
    inputs = {
        "pixel_values": torch.zeros(1, 3, 32, 32),
        "input_ids": torch.tensor([ids]),
        "labels": torch.tensor([[-100] * 5 + [config.mask_context_id] * 21]),
        "mask_pixel_values": torch.zeros(1, 3, 8, 8),
    }
    small(**inputs)
    with pytest.raises(ValueError, match=message):
        small(**(inputs | change))

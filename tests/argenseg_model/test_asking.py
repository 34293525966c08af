"""Questions that are answered in words, with the masks that an answer holds; guidance."""

import numpy as np
import pytest
import torch

from argenseg_model import ARGenSeg
from argenseg_model.errors import PromptError, TokenizerError
from argenseg_model.prompting import build_question
from argenseg_model.tokenizer import Tokenizer
from tests.argenseg_model.conftest import ParityCase, small_model
from tests.argenseg_model.parity import recipe


def picture(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_guidance_gives_the_ids_of_the_release(case: ParityCase) -> None:
    variant = int(case.expected["cfg_variant"])
    generation = case.model.generate(
        case.pixels_13SS,
        torch.tensor([recipe.prompt_ids(case.seed)]),
        guidance=4.0,
        uncond_input_ids=torch.tensor([recipe.uncond_ids(case.seed, variant)]),
    )
    assert generation.visual_ids.tolist() == [case.expected["cfg_visual_ids"].tolist()]
    assert generation.text_ids.tolist() == case.expected["generated_ids"].tolist()
    assert generation.pictures.shape == (1, 3, 256, 256)


def test_guidance_away_from_the_same_prompt_changes_nothing(one_case: ParityCase) -> None:
    ids = torch.tensor([recipe.prompt_ids(one_case.seed) + recipe.ANSWER])
    generation = one_case.model.generate(one_case.pixels_13SS, ids, guidance=4.0, uncond_input_ids=ids)
    assert generation.visual_ids.tolist() == [one_case.expected["visual_ids"].tolist()]


def test_guidance_needs_ids_to_lead_away_from(one_case: ParityCase) -> None:
    with pytest.raises(ValueError, match="needs uncond_input_ids"):
        one_case.model.generate(one_case.pixels_13SS, [1], guidance=4.0)


class Script:
    """Stands for a head that says the given ids, whatever it reads."""

    def __init__(self, model: ARGenSeg, ids: list[int]) -> None:
        self._ids, self._size = iter(ids), model.config.text_config.vocab_size

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.tensor(next(self._ids)), self._size).float()


def scripted(model: ARGenSeg, ids: list[int]) -> ARGenSeg:
    script = Script(model, ids)
    model.lm_head.forward = script  # type: ignore[method-assign]
    return model


def test_an_answer_is_words_without_special_tokens(byte_bpe: Tokenizer) -> None:
    model = small_model(byte_bpe)
    ids = [*byte_bpe.encode("three cells", add_bos=False), model.config.eos_token_id]
    assert scripted(model, ids).ask(picture(), "How many cells?") == "three cells"


def test_an_answer_can_hold_several_masks(byte_bpe: Tokenizer) -> None:
    model = small_model(byte_bpe)
    start, eos = model.config.ge_start_id, model.config.eos_token_id
    one, other = (byte_bpe.encode(text, add_bos=False) for text in ("left: ", " right: "))
    answer = scripted(model, [*one, start, *other, start, eos]).answer(picture(), "Segment both.")
    assert answer.text == "left:  right:"
    assert [mask.shape for mask in answer.masks] == [(20, 30)] * 2
    assert all(mask.dtype == bool for mask in answer.masks)


def test_a_second_mask_sees_the_first(byte_bpe: Tokenizer) -> None:
    """Positions go on, and so do keys and values: the masks of one answer need not be equal."""
    model = small_model(byte_bpe)
    start, eos = model.config.ge_start_id, model.config.eos_token_id
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ids = build_question(byte_bpe, "Segment both.", "", model.config.num_image_tokens)
    generation = scripted(model, [start, start, eos]).generate(pixels, ids)
    first, second = generation.visual_ids
    assert len(first) == model.config.vqvae_config.tokens_per_mask
    assert not torch.equal(first, second)


def test_a_question_without_words_is_refused(small: ARGenSeg) -> None:
    with pytest.raises(PromptError, match="empty"):
        small.ask(picture(), "  ")


def test_a_model_without_tokenizer_cannot_be_asked(one_case: ParityCase) -> None:
    with pytest.raises(TokenizerError, match="without tokenizer files"):
        one_case.model.ask(picture(), "What is it?")

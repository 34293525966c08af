"""Third stage of the starter: rows of prompts over cached views, and their losses."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from argenseg_model.generation import common_prefix
from argenseg_model.model import ARGenSeg
from argenseg_model.prompting import ANSWERS, build_prompt
from argenseg_model.scenes.attributes import NAMED, named
from argenseg_model.training.batches import TEMPLATE
from argenseg_model.training.objective import Objective, TrainingBatch, TrainingHeads, training_losses
from recipes.starter.asking import Question, ask
from recipes.starter.cached import CachedViews
from recipes.starter.names import NAMES
from recipes.starter.train_vision import Sight, batch_truth, image_tokens, sight_loss

SOFTNESS, NOISE = 0.02, 0.3
DRAWN = 16
"""Rows of a step whose picture is drawn, once all tokens are computed: drawing is dear."""


class Readers(TrainingHeads):
    """Linear readers that end with the training; of a prompt they read the names of real pictures too."""

    def __init__(self, model: ARGenSeg):
        super().__init__(model, named=len(NAMED) + len(NAMES))


@dataclass(frozen=True)
class Rows:
    """Views and the questions about each, with what is known of the views' pixels."""

    batch: TrainingBatch
    maps: list[Tensor]
    truth_INss: Tensor
    known_IN: Tensor


def draw_rows(rng: np.random.Generator, model: ARGenSeg, cached: CachedViews, views: int, prompts: int) -> Rows:
    """`views` views of a cache with up to `prompts` questions each."""
    indices = cached.draw(rng, views)
    asked = [ask(rng, cached.views[i], prompts, cached.rarity) for i in indices]
    questions = [question for questions in asked for question in questions]
    config = model.config
    ids = [
        build_prompt(model.tokenizer, question.prompt, TEMPLATE, config.system_message, config.num_image_tokens)
        for question in questions
    ]
    answer_length = len(model.tokenizer.encode(ANSWERS[TEMPLATE], add_bos=False))
    shared = min(common_prefix(ids), min(map(len, ids)) - answer_length - 1)
    masks_Rss = torch.from_numpy(np.stack([question.mask for question in questions])).float() / 127.5 - 1
    batch = TrainingBatch(
        pixels_I3SS=torch.empty(views, 0),
        row_image_R=torch.tensor([i for i, questions in enumerate(asked) for _ in questions]),
        prefix=ids[0][:shared],
        text_ids=[row[shared:] for row in ids],
        answer_length=answer_length,
        masks_R3ss=masks_Rss[:, None].expand(-1, 3, -1, -1),
        seen_IASS=None,
        named_RN=torch.from_numpy(np.stack([_named(question) for question in questions])),
    )
    truth, known = batch_truth(cached, indices)
    return Rows(batch, cached.maps(indices), truth, known)


def _named(question: Question) -> np.ndarray:
    return np.concatenate([named(question.prompt), [name == question.name for name in NAMES]])


def language_losses(
    model: ARGenSeg, sight: Sight, readers: Readers, rows: Rows, kept: float, foreground: float
) -> dict[str, Tensor]:
    """Losses by name: those of `training_losses`, and "sight"."""
    objective = Objective(SOFTNESS, NOISE, foreground, kept, drawn=DRAWN if kept == 1 else 0)
    with torch.autocast("cpu", torch.bfloat16):
        image_ILD = image_tokens(model, rows.maps)
        losses = training_losses(model, readers, rows.batch, objective, image_ILD)
        logits = sight(image_ILD)
    return losses | {"sight": sight_loss(logits, rows.truth_INss, rows.known_IN)}

"""Second stage of the starter: its image tokens learn to tell the colours, shapes and sizes of what is drawn."""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from argenseg_model.files import replace_file
from argenseg_model.model import ARGenSeg
from argenseg_model.processing import image_to_pixels, stretch_contrast
from argenseg_model.scenes import draw_scene
from argenseg_model.scenes.attributes import seen
from argenseg_model.training.objective import TrainingHeads, seen_loss
from argenseg_model.training.optimizers import make_optimizers, set_learning_rate

BATCH = 48


def train_vision(model: ARGenSeg, heads: TrainingHeads, checkpoint: Path, steps: int, seed: int) -> None:
    """Train vision tower and projector in place, or load `checkpoint` when it exists; losses go to a .jsonl beside it.

    From mask tokens alone they learn it far more slowly: eight pictures a step here, forty-eight there.
    """
    side = round(model.config.num_image_tokens**0.5)
    cell = model.config.image_size // side // 2
    outline = nn.Linear(model.config.text_config.hidden_size, cell**2)
    trained = nn.ModuleList([model.vision_model, model.multi_modal_projector, heads.image_seen, outline])
    if checkpoint.is_file():
        trained.load_state_dict(torch.load(checkpoint, weights_only=True))
        return
    optimizers = make_optimizers(trained, 3e-3)
    with checkpoint.with_suffix(".jsonl").open("w") as log:
        for step in range(steps):
            set_learning_rate(optimizers, 3e-3, step, steps)
            pixels_I3SS, seen_IASS = _draw(model, np.random.default_rng((seed, step)), BATCH)
            image_ILD = model.image_features(pixels_I3SS)
            covered = F.avg_pool2d(seen_IASS.amax(1, keepdim=True), 2)
            pixels = F.unfold(covered, cell, stride=cell).transpose(1, 2)
            outline_loss = F.binary_cross_entropy_with_logits(outline(image_ILD), pixels)
            attribute_loss = seen_loss(heads, image_ILD, seen_IASS)
            loss = attribute_loss + 2 * outline_loss
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            if step % 50 == 49:
                losses = {"seen": round(attribute_loss.item(), 4), "outline": round(outline_loss.item(), 4)}
                print(json.dumps({"step": step + 1} | losses), file=log, flush=True)
    with replace_file(checkpoint) as partial:
        torch.save(trained.state_dict(), partial)


def sight_loss(model: ARGenSeg, heads: TrainingHeads, rng: np.random.Generator, pictures: int) -> Tensor:
    """How badly the image tokens of fresh scenes tell what is seen: kept up while the language model learns to read."""
    pixels_I3SS, seen_IASS = _draw(model, rng, pictures)
    return seen_loss(heads, model.image_features(pixels_I3SS), seen_IASS)


def _draw(model: ARGenSeg, rng: np.random.Generator, pictures: int) -> tuple[Tensor, Tensor]:
    """Fresh scenes: normalised pixels (I, 3, S, S), and what is seen at each pixel (I, A, S, S) in 0 and 1."""
    config = model.config
    scenes = [draw_scene(rng, config.image_size, 3) for _ in range(pictures)]
    stretched = [stretch_contrast(Image.fromarray(scene.image), config.autocontrast) for scene in scenes]
    pixels_I3SS = torch.stack([image_to_pixels(picture, config) for picture in stretched])
    return pixels_I3SS, torch.from_numpy(np.stack([seen(scene) for scene in scenes])).float()

"""What a small model is trained on: the release's cross entropy, softened, and two helps that end with the training.

- Targets are soft: codes near the right one share its probability, for a near code draws nearly the same mask.
- The codes given as inputs are at times wrong ones nearby, and the finer targets make up for them, so that the model
  learns to mend its own coarse mistakes (as the bitwise self-correction of Infinity, arXiv 2412.04431).
- Heads read, each on a short path for the gradient: what is seen where, off the image tokens; what is seen and what is
  asked, off the visual tokens in mid-way; the mask's pixels, off the visual tokens in the end. Without them a small
  model draws whatever stands out and takes no notice of the words for thousands of steps; with them it heeds the words
  within two hundred.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache

from argenseg_model.generation import select_rows
from argenseg_model.model import ARGenSeg
from argenseg_model.scenes.attributes import NAMED, SEEN
from argenseg_model.vqvae import MultiScaleVQVAE

LOGIT_SCALE = 5.0
"""A picture's value x in [-1, 1] is read as the logit LOGIT_SCALE * x of its pixel being mask."""
MIDDLE = 2
"""Layers after which a visual token should know what it sees and what is asked; those that follow put both together."""


@dataclass(frozen=True)
class TrainingBatch:
    """R rows (an image with a prompt) over I images.

    Attributes:
        pixels_I3SS: normalised images.
        row_image_R: index of each row's image.
        prefix: ids that all rows begin with (they hold the image).
        text_ids: each row's ids from there to where `<ge_start>` follows.
        answer_length: how many of these last ids are the answer's preamble (text targets).
        masks_R3ss: target pictures in [-1, 1].
        seen_IASS: what is seen at each pixel (scenes.attributes.SEEN), bool; None where that is not known.
        named_RN: what each prompt names (scenes.attributes.NAMED, or what the heads were made for), bool.
    """

    pixels_I3SS: Tensor
    row_image_R: Tensor
    prefix: list[int]
    text_ids: list[list[int]]
    answer_length: int
    masks_R3ss: Tensor
    seen_IASS: Tensor | None
    named_RN: Tensor


@dataclass(frozen=True)
class Objective:
    """How hard the targets are.

    Attributes:
        softness: spread of a soft target, as a share of the codebook's variance.
        noise: share of the codes given as inputs that are wrong ones nearby.
        foreground: weight of tokens whose cell holds mask, against 1.
        kept: share of the finest scale's tokens that are computed, drawn at random; they are most of the cost, and
            neighbours say much the same.
        drawn: of how many rows the picture is drawn as inference draws it, for the loss "picture"; `kept` is 1 then.
    """

    softness: float
    noise: float
    foreground: float
    kept: float
    drawn: int = 0


@dataclass(frozen=True)
class VisualTargets:
    """Inputs (R, L-1, C) of all scales but the first, soft targets (R, L, codes), target coverage (R, L) in [0, 1]."""

    inputs_RLC: Tensor
    soft_RLV: Tensor
    coverage_RL: Tensor


class TrainingHeads(nn.Module):
    """Linear readers that end with the training: of what is seen and asked (scenes.attributes), of a cell's pixels."""

    def __init__(self, model: ARGenSeg, named: int = len(NAMED)):
        super().__init__()
        vqvae = model.config.vqvae_config
        self.cell = vqvae.picture_side // vqvae.scales[-1]
        D = model.config.text_config.hidden_size
        self.linear = nn.Linear(D, self.cell**2)
        self.image_seen, self.token_seen = nn.Linear(D, len(SEEN)), nn.Linear(D, len(SEEN))
        self.token_named = nn.Linear(D, named)
        for head in (self.image_seen, self.token_seen, self.token_named):
            nn.init.constant_(head.bias, -3.0)

    def cells(self, pictures_Rss: Tensor) -> Tensor:
        """(R, picture, picture) -> (R, side * side, pixels of a cell), in the order of the tokens."""
        return F.unfold(pictures_Rss[:, None], self.cell, stride=self.cell).transpose(1, 2)


def _draw_tokens(model: ARGenSeg, kept: float) -> Tensor:
    """Ascending indices of the visual tokens to compute: all of the coarse scales, a share of the finest."""
    vqvae = model.config.vqvae_config
    finest = vqvae.scales[-1] ** 2
    coarse = vqvae.tokens_per_mask - finest
    drawn = torch.randperm(finest)[: round(kept * finest)].sort().values
    return torch.cat([torch.arange(coarse), coarse + drawn])


@torch.no_grad()
def visual_targets(vqvae: MultiScaleVQVAE, masks_R3ss: Tensor, softness: float, noise: float) -> VisualTargets:
    """Targets of a batch; `noise` is the share of codes replaced by one drawn near the right one."""
    f = vqvae.latent(masks_R3ss)
    f_hat, quantizer = torch.zeros_like(f), vqvae.quantize
    coverage_R1ss = (masks_R3ss.mean(1, keepdim=True) + 1) / 2
    inputs, soft, coverage = [], [], []
    for k, side in enumerate(quantizer.scales):
        if k:
            inputs.append(quantizer.next_input(f_hat, k))
        rest_RLC = quantizer.next_input(f - f_hat, k)
        codebook = quantizer.codebook(k)
        distance = rest_RLC.square().sum(-1, keepdim=True) + codebook.square().sum(-1) - 2 * rest_RLC @ codebook.T
        nearest = distance.argmin(-1)
        spread = softness * codebook.var(0).sum()
        soft_RLV = (-distance / spread).softmax(-1)
        soft.append(soft_RLV)
        coverage.append(F.adaptive_max_pool2d(coverage_R1ss, side).flatten(1))
        if k == len(quantizer.scales) - 1:
            break  # nothing comes after the finest codes
        drawn = (-distance / (8 * spread)).softmax(-1).flatten(0, 1).multinomial(1).view_as(nearest)
        codes = torch.where(torch.rand(nearest.shape) < noise, drawn, nearest)
        f_hat = quantizer.add_scale(f_hat, codes, k)
    return VisualTargets(torch.cat(inputs, 1), torch.cat(soft, 1), torch.cat(coverage, 1))


def training_losses(
    model: ARGenSeg,
    heads: TrainingHeads,
    batch: TrainingBatch,
    objective: Objective,
    image_ILD: Tensor | None = None,
) -> dict[str, Tensor]:
    """Losses by name: "text", "codes", "dense", "named" and, where what is seen is known, "seen" and "found".

    `image_ILD` are the image tokens of the batch, if they are not to be made of its pixels.
    """
    if image_ILD is None:
        image_ILD = model.image_features(batch.pixels_I3SS)
    with torch.autocast(image_ILD.device.type, enabled=False):  # codes are chosen by distances
        targets = visual_targets(model.image_tokenizer, batch.masks_R3ss, objective.softness, objective.noise)
    tokens = _draw_tokens(model, objective.kept)
    targets = VisualTargets(
        targets.inputs_RLC[:, tokens[1:] - 1], targets.soft_RLV[:, tokens], targets.coverage_RL[:, tokens]
    )
    hidden_RLD, middle_RLD, texts = _hidden_states(model, batch, targets.inputs_RLC, tokens, image_ILD)
    L = len(tokens)
    visual_RLD = hidden_RLD[:, -L - 2 : -2]
    start = model.config.visual_token_start
    head = model.lm_head.weight[start : start + model.config.vqvae_config.num_codes]
    logits_RLV = F.linear(visual_RLD, head).float()
    log_p = logits_RLV.log_softmax(-1)
    weight = 1 + (objective.foreground - 1) * (targets.coverage_RL > 0).float()
    entropy = -(targets.soft_RLV * targets.soft_RLV.clamp(min=1e-9).log()).sum(-1)
    divergence = -(targets.soft_RLV * log_p).sum(-1) - entropy
    finest = tokens >= model.config.vqvae_config.tokens_per_mask - model.config.vqvae_config.scales[-1] ** 2
    logits = heads.linear(visual_RLD[:, finest]).float()
    target = heads.cells((batch.masks_R3ss.mean(1) + 1) / 2)[:, tokens[finest] - int((~finest).sum())]
    p = logits.sigmoid()
    dice = 1 - (2 * (p * target).sum((1, 2)) + 2) / (p.sum((1, 2)) + target.sum((1, 2)) + 2)
    drawn = slice(0, objective.drawn)
    picture = {}
    if objective.drawn:
        before_RLC, finest_RLV = targets.inputs_RLC[drawn, -int(finest.sum()) :], logits_RLV[drawn][:, finest]
        picture["picture"] = _drawn_loss(model, before_RLC, finest_RLV, batch.masks_R3ss[drawn])
    return {
        **picture,
        "text": _text_loss(model, batch, hidden_RLD, texts, L),
        "codes": (divergence * weight).sum() / weight.sum(),
        **_perception(model, heads, batch, image_ILD, middle_RLD[:, -L - 2 : -2], tokens),
        "dense": 2 * F.binary_cross_entropy_with_logits(logits, target) + dice.mean(),
    }


def _hidden_states(
    model: ARGenSeg, batch: TrainingBatch, inputs_RLC: Tensor, tokens: Tensor, image_ILD: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states (R, T + L + 2, D) of text, mask, `<ge_end>` and the last "."; the same in mid-way; text ids.

    Prefixes are computed once an image. T is the longest text; shorter ones are padded on the left.
    """
    config, embed = model.config, model.get_input_embeddings()
    images, R = len(image_ILD), len(batch.text_ids)
    cache = DynamicCache(config=config.text_config)
    prefix = torch.tensor(batch.prefix).expand(images, -1)
    model.extend(model.prompt_embeds(prefix, image_ILD), cache)
    rows = select_rows(cache, batch.row_image_R, config.text_config)
    longest = max(map(len, batch.text_ids))
    pads = [longest - len(ids) for ids in batch.text_ids]
    texts = torch.tensor([[0] * pad + ids for pad, ids in zip(pads, batch.text_ids, strict=True)])
    at = tokens[1:]
    visual = model.word_embed(inputs_RLC) + model.lvl_embed(model.scale_of_token()[at]) + model.pos_1LC[:, at]
    if config.visual_tokens_see_image:
        visual = visual + model.image_at_tokens(image_ILD)[:, at - 1][batch.row_image_R]
    tail = torch.tensor([config.ge_end_id, model.tokenizer.encode(".", add_bos=False)[0]]).expand(R, -1)
    start = torch.full((R, 1), config.ge_start_id)
    embeds = torch.cat([embed(torch.cat([texts, start], 1)), visual, embed(tail)], 1)
    keep = torch.ones(R, len(batch.prefix) + embeds.shape[1], dtype=torch.long)
    for row, pad in enumerate(pads):
        keep[row, len(batch.prefix) : len(batch.prefix) + pad] = 0
    # tokens that are left out still count as positions
    skipped = torch.zeros(embeds.shape[1], dtype=torch.long)
    skipped[longest + 1 : -2] = at - torch.arange(1, len(tokens))
    skipped[-2:] = config.vqvae_config.tokens_per_mask - len(tokens)
    positions = (keep.cumsum(-1) - 1).clamp(min=0)[:, len(batch.prefix) :] + skipped
    # by place: what transformers called `past_key_values` is its `cache` now
    out = model.language_model(None, keep, positions, rows, embeds, use_cache=True, output_hidden_states=True)
    return out.last_hidden_state, out.hidden_states[MIDDLE], texts


def _drawn_loss(model: ARGenSeg, before_RLC: Tensor, logits_RLV: Tensor, masks_R3ss: Tensor) -> Tensor:
    """Cross entropy + Dice of pictures whose finest scale is the mean of its codes, as `decode_masks` draws it."""
    vqvae, temperature = model.image_tokenizer, model.config.decode_temperature or 1.0
    side, last = vqvae.config.scales[-1], len(vqvae.config.scales) - 1
    f_hat = before_RLC.transpose(1, 2).unflatten(2, (side, side))
    f_hat = vqvae.quantize.add_mean(f_hat, (logits_RLV / temperature).softmax(-1), last)
    return picture_loss(vqvae.decoder(vqvae.post_quant_conv(f_hat)), masks_R3ss)


def picture_loss(picture_B3HW: Tensor, target_B3HW: Tensor) -> Tensor:
    """Binary cross entropy + Dice between an unclamped picture and a target picture in [-1, 1]."""
    logit = picture_B3HW.float().mean(1) * LOGIT_SCALE
    target = (target_B3HW.mean(1) + 1) / 2
    probability = logit.sigmoid()
    overlap, total = (probability * target).sum((1, 2)), probability.sum((1, 2)) + target.sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    return F.binary_cross_entropy_with_logits(logit, target) * 4 + dice.mean()


def _perception(
    model: ARGenSeg, heads: TrainingHeads, batch: TrainingBatch, image_ILD: Tensor, middle_RLD: Tensor, tokens: Tensor
) -> dict[str, Tensor]:
    """Whether image tokens say what is seen there, and visual tokens, in mid-way, what is seen and what is asked."""
    named_RLN = heads.token_named(middle_RLD).float()
    target = batch.named_RN[:, None].expand_as(named_RLN).float()
    losses = {"named": _sum_bce(named_RLN, target)}
    if batch.seen_IASS is None:
        return losses
    side = model.config.vqvae_config.scales[-1]
    first = model.config.vqvae_config.tokens_per_mask - side**2
    finest = tokens >= first
    there_RLA = _seen_cells(batch.seen_IASS, side)[batch.row_image_R][:, tokens[finest] - first]
    losses["seen"] = seen_loss(heads, image_ILD, batch.seen_IASS)
    losses["found"] = _sum_bce(heads.token_seen(middle_RLD[:, finest]), there_RLA)
    return losses


def seen_loss(heads: TrainingHeads, image_ILD: Tensor, seen_IASS: Tensor) -> Tensor:
    """How badly image tokens tell which share of their cell shows what."""
    return _sum_bce(heads.image_seen(image_ILD), _seen_cells(seen_IASS, round(image_ILD.shape[1] ** 0.5)))


def _seen_cells(seen_IASS: Tensor, side: int) -> Tensor:
    """(I, side * side, A) share of each cell that shows what."""
    return F.adaptive_avg_pool2d(seen_IASS.float(), side).flatten(2).transpose(1, 2)


def _sum_bce(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1).mean()


def _text_loss(model: ARGenSeg, batch: TrainingBatch, hidden_RLD: Tensor, texts: Tensor, L: int) -> Tensor:
    """Cross entropy of the preamble, `<ge_start>`, "." and `<|im_end|>`."""
    config, n = model.config, batch.answer_length
    T = texts.shape[1]
    period = model.tokenizer.encode(".", add_bos=False)[0]
    ends = torch.tensor([period, config.eos_token_id]).expand(len(texts), -1)
    targets = torch.cat([texts[:, T - n :], torch.full((len(texts), 1), config.ge_start_id), ends], 1)
    hidden = torch.cat([hidden_RLD[:, T - n - 1 : T], hidden_RLD[:, T + L :]], 1)
    return F.cross_entropy(model.lm_head(hidden).flatten(0, 1), targets.flatten())

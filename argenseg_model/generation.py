"""Decoding: greedy text, next-scale visual tokens, and rows of a batch that begin with the same image."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from argenseg_model.roomy_cache import give_room


@dataclass(frozen=True)
class Generation:
    """One decoded answer (no gradient).

    Attributes:
        text_ids: (n,) new text ids, with `<ge_end>` and `<|im_end|>`, without `<ge_start>` and visual tokens.
        visual_ids: (masks, tokens_per_mask) codes 0..num_codes-1.
        pictures: (masks, 3, side, side) in [-1, 1].
    """

    text_ids: Tensor
    visual_ids: Tensor
    pictures: Tensor


@dataclass(frozen=True)
class DecodedMasks:
    """Visual tokens of B rows and the latent that they add up to (of the finest scale, maybe means).

    `probability_BL` (0..1), of the finest scale: that a token is the chosen code or one that draws nearly the same,
    among the visual tokens.
    """

    codes_BL: Tensor
    probability_BL: Tensor
    f_hat_BChw: Tensor


class GenerationMixin:
    """Decoding half of `ARGenSeg`."""

    @torch.inference_mode()
    def generate(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        max_new_tokens: int = 64,
        *,
        guidance: float = 0.0,
        uncond_input_ids: Tensor | None = None,
    ) -> Generation:
        """Decode one row greedily, from the given ids to the end of the answer, which may hold several masks.

        Args:
            pixel_values: (images, 3, S, S) normalised pixels of the row's images.
            input_ids: (1, L) or (L,); may hold a forced beginning of the answer, anywhere before `<ge_start>`.
            max_new_tokens: most text ids to decode; masks do not count.
            guidance: how far a mask is led away from what `uncond_input_ids` (the same images, other words) would give;
                0 for not at all. Classifier-free guidance as in the release, which grows with the scale; the text is
                the first row's.

        Raises:
            ValueError: more than one row, not as many `<IMG_CONTEXT>` ids as the images give tokens, or `guidance`
                without `uncond_input_ids`.
        """
        config = self.config
        input_ids = self._one_row(input_ids)
        rows = [input_ids[0].tolist()]
        if guidance:
            if uncond_input_ids is None:
                raise ValueError("guidance needs uncond_input_ids: the prompt with other words, or without any")
            rows.append(self._one_row(uncond_input_ids)[0].tolist())
        eos = {config.eos_token_id} if isinstance(config.eos_token_id, int) else set(config.eos_token_id or ())
        features = self.image_features(pixel_values.to(self.device))
        ids_BL, attention_mask = self._pad_left(rows, 0)
        cache = DynamicCache(config=config.text_config)
        text_ids: list[int] = []
        masks: list[DecodedMasks] = []
        embeds = self.prompt_embeds(ids_BL, torch.cat([features.flatten(0, 1)] * len(rows)))
        hidden_D = self.extend(embeds, cache, attention_mask)[0, -1]
        while len(text_ids) < max_new_tokens:
            token = int(self.lm_head(hidden_D).argmax())
            if token == config.ge_start_id:
                seen = features[-1:].repeat(len(rows), 1, 1)  # of the last image
                masks.append(self.decode_masks(cache, attention_mask, guidance, seen))
                attention_mask = _grown(attention_mask, config.vqvae_config.tokens_per_mask)
                token = config.ge_end_id  # forced: the mask has a fixed length
            text_ids.append(token)
            if token in eos:
                break
            attention_mask = _grown(attention_mask, 1)
            hidden_D = self.extend(self._embed(token, len(rows)), cache, attention_mask)[0, -1]
        vqvae = self.image_tokenizer
        if masks:
            codes, f_hat = torch.cat([m.codes_BL for m in masks]), torch.cat([m.f_hat_BChw for m in masks])
            pictures = vqvae.decode(f_hat)
        else:
            codes = input_ids.new_zeros(0, config.vqvae_config.tokens_per_mask)
            side = config.vqvae_config.picture_side
            pictures = torch.zeros(0, 3, side, side, device=self.device, dtype=self.dtype)
        # clone: tensors made in inference mode could not be used where gradients are recorded
        with torch.inference_mode(False):
            return Generation(input_ids.new_tensor(text_ids), codes.clone(), pictures.clone())

    def decode_masks(
        self,
        cache: DynamicCache,
        attention_mask: Tensor | None = None,
        guidance: float = 0.0,
        image_features: Tensor | None = None,
    ) -> DecodedMasks:
        """Decode one mask in each row after what `cache` holds; all tokens of a scale in one forward pass.

        Attention stays causal inside a scale, as in the release (facts: not VAR's block-full attention).

        Args:
            cache: keys and values of the rows so far, without `<ge_start>`; it grows by tokens_per_mask.
            attention_mask: (B, cached) 0 where a cached place is padding.
            guidance: not 0: the second half of the rows holds what the masks of the first are led away from; only the
                first half is returned.
            image_features: (B, num_image_tokens, D) of the rows' images, for a model whose visual tokens see them.
        """
        vqvae, scale_of_token = self.image_tokenizer, self.scale_of_token()
        B = cache.layers[0].keys.shape[0]
        side, C = vqvae.config.scales[-1], vqvae.config.z_channels
        head_VD = self.lm_head.weight[self.config.visual_token_start :][: vqvae.config.num_codes]
        f_hat = torch.zeros(B, C, side, side, device=self.device, dtype=self.dtype)
        codes, offset, temperature = [], 0, self.config.decode_temperature
        for k, scale_side in enumerate(vqvae.config.scales):
            L = scale_side * scale_side
            if k == 0:
                inputs_BLD = self._embed(self.config.ge_start_id, B)
            else:
                visual = vqvae.quantize.next_input(f_hat, k)
                inputs_BLD = self.visual_embeds(visual, offset, scale_of_token[offset : offset + L], image_features)
            attention_mask = _grown(attention_mask, L)
            hidden_BLD = self.extend(inputs_BLD, cache, attention_mask)
            logits_BLV = F.linear(hidden_BLD, head_VD).float()
            is_finest = k == len(vqvae.config.scales) - 1
            if guidance:
                asked, other = logits_BLV.chunk(2)
                strength = guidance * k / (len(vqvae.config.scales) - 1)
                logits_BLV = torch.cat([(1 + strength) * asked - strength * other] * 2)
            codes_BL = logits_BLV.argmax(-1)
            codes.append(codes_BL)
            if is_finest:
                probability_BL = (logits_BLV.softmax(-1) * vqvae.quantize.similarity(codes_BL, k)).sum(-1)
            if temperature and is_finest:
                f_hat = vqvae.quantize.add_mean(f_hat, (logits_BLV / temperature).softmax(-1), k)
            else:
                f_hat = vqvae.quantize.add_scale(f_hat, codes_BL, k)
            offset += L
        rows = B // 2 if guidance else B
        return DecodedMasks(torch.cat(codes, 1)[:rows], probability_BL[:rows], f_hat[:rows])

    def extend_images(self, image_features: Tensor, prefix_ids: list[int]) -> DynamicCache:
        """Keys and values of the same ids with each of the images (images, num_image_tokens, D), a row for each."""
        prefix = torch.tensor(prefix_ids, device=self.device).expand(len(image_features), -1)
        cache = DynamicCache(config=self.config.text_config)
        self.fill(self.prompt_embeds(prefix, image_features), cache)
        return cache

    def decode_rows(
        self, rows: DynamicCache, row_ids: list[list[int]], image_features: Tensor | None = None
    ) -> DecodedMasks:
        """Decode a mask for each row.

        Args:
            rows: keys and values of what the rows begin with, the same length for all; it grows.
            row_ids: ids of each row from there, at least one, up to where `<ge_start>` follows.
            image_features: see `decode_masks`.
        """
        give_room(rows, max(map(len, row_ids)) + self.config.vqvae_config.tokens_per_mask)
        return self.decode_masks(rows, self.fill_rows(rows, row_ids), image_features=image_features)

    def fill_rows(self, rows: DynamicCache, row_ids: list[list[int]]) -> Tensor | None:
        """Let each row of the cache grow by its ids, padded on the left; the attention mask if there is padding."""
        ids_BL, mask = self._pad_left(row_ids, rows.get_seq_length())
        self.fill(self.get_input_embeddings()(ids_BL), rows, mask)
        return mask

    def _pad_left(self, row_ids: list[list[int]], cached: int) -> tuple[Tensor, Tensor | None]:
        """Ids (B, L) and the attention mask (B, cached + L) of them; no mask where nothing is padded."""
        longest = max(map(len, row_ids))
        pad = [longest - len(ids) for ids in row_ids]
        ids_BL = torch.tensor([[0] * p + ids for p, ids in zip(pad, row_ids, strict=True)], device=self.device)
        if not any(pad):
            return ids_BL, None
        keep_BL = torch.ones(len(row_ids), cached + longest, dtype=torch.long, device=self.device)
        for row, p in enumerate(pad):
            keep_BL[row, cached : cached + p] = 0
        return ids_BL, keep_BL

    def _one_row(self, input_ids: Tensor) -> Tensor:
        input_ids = torch.atleast_2d(torch.as_tensor(input_ids, device=self.device))
        if input_ids.ndim > 2 or len(input_ids) != 1:
            raise ValueError(f"generate takes one row of input_ids, not a tensor of shape {tuple(input_ids.shape)}")
        return input_ids

    def _embed(self, token: int, rows: int) -> Tensor:
        ids = torch.full((rows, 1), token, device=self.device)
        return self.get_input_embeddings()(ids)

    def extend(self, embeds_BLD: Tensor, cache: DynamicCache, attention_mask: Tensor | None = None) -> Tensor:
        """Run the LLM on new inputs after `cache` (which grows); hidden states (B, L, D) after the final norm."""
        if attention_mask is None:
            position_ids = None
        else:  # positions count only what is kept, so that padding changes nothing
            position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -embeds_BLD.shape[1] :]
        # by place: what transformers called `past_key_values` is its `cache` now
        output = self.language_model(None, attention_mask, position_ids, cache, embeds_BLD, use_cache=True)
        return output.last_hidden_state

    def fill(self, embeds_BLD: Tensor, cache: DynamicCache, attention_mask: Tensor | None = None) -> None:
        """Let `cache` grow as `extend` does, but nothing is asked: the last layer stops at its keys and values."""
        with suppress(_Filled):
            self.extend(embeds_BLD, _FillingCache(cache, self.config.text_config.num_hidden_layers), attention_mask)


class _Filled(Exception):
    """Every layer's keys and values are in the cache."""


class _FillingCache(DynamicCache):
    """The same layers as another cache's; raises _Filled when the last one has got its keys and values."""

    def __init__(self, cache: DynamicCache, num_layers: int) -> None:
        super().__init__()
        self.layers, self._last = cache.layers, num_layers - 1

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        updated = super().update(keys, values, layer_idx, *args, **kwargs)
        if layer_idx == self._last:
            raise _Filled
        return updated


def _grown(attention_mask: Tensor | None, length: int) -> Tensor | None:
    """The mask with so many places more that are no padding."""
    return None if attention_mask is None else F.pad(attention_mask, (0, length), value=1)


def common_prefix(rows: list[list[int]]) -> int:
    """Length of the ids that all rows begin with; at least one id of every row is left over."""
    length = min(map(len, rows)) - 1
    first = rows[0]
    for row in rows[1:]:
        length = next((i for i in range(length) if row[i] != first[i]), length)
    return length


def select_rows(cache: DynamicCache, index: Tensor, config: object) -> DynamicCache:
    """A new cache whose rows are the given ones of `cache`."""
    selected = DynamicCache(config=config)
    for i, layer in enumerate(cache.layers):
        selected.update(layer.keys[index], layer.values[index], i)
    return selected

"""Arithmetic of memory, on the parity checkpoint's and the release's sizes."""

import json

import pytest

from argenseg_model.memory_plan import (
    GIB,
    ModelSizes,
    adapter_bytes,
    full_bytes,
    inference_bytes,
    plan_memory,
    sizes_of,
)
from argenseg_model.official_layout import convert_config
from tests.argenseg_model.conftest import ParityCase
from tests.argenseg_model.parity import recipe

RELEASE = {"hidden": 4096, "layers": 32, "heads": 32, "kv_heads": 8, "inter": 14336, "vit_hidden": 1024,
           "vit_layers": 24, "vit_heads": 16, "vit_inter": 4096, "vae_ch": 160}  # fmt: skip


@pytest.fixture(scope="module")
def release() -> ModelSizes:
    return sizes_of(convert_config(json.loads(json.dumps(recipe.config(RELEASE)))))


def test_parameters_are_those_of_the_model(one_case: ParityCase) -> None:
    assert sizes_of(one_case.model.config).parameters == sum(p.numel() for p in one_case.model.parameters())


def test_the_release_has_8_billion_parameters(release: ModelSizes) -> None:
    assert release.parameters == pytest.approx(8.22e9, rel=0.01)


def test_the_release_answers_on_24_gb_and_learns_by_adapters_on_48(release: ModelSizes) -> None:
    small, middle, large = (plan_memory(release, gib * GIB) for gib in (24, 48, 80))
    assert small.inference_rows is not None
    assert small.inference_rows < middle.inference_rows < large.inference_rows
    assert middle.adapter_rows is not None
    assert (small.full_rows, middle.full_rows, large.full_rows) == (None, None, None)


@pytest.mark.parametrize("bytes_of", [inference_bytes, adapter_bytes, full_bytes])
def test_more_rows_take_more(release: ModelSizes, bytes_of: object) -> None:
    assert bytes_of(release, 1) < bytes_of(release, 2) < bytes_of(release, 64)


def test_nothing_fits_into_nothing(release: ModelSizes) -> None:
    plan = plan_memory(release, 1 * GIB)
    assert (plan.inference_rows, plan.adapter_rows, plan.full_rows) == (None, None, None)

"""What several test folders of `labeling` need: the recorded fixtures, a store in a temporary folder."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from labeling.predictions import PredictedMask, Prediction, build_prediction
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import PromptPlan, plan_prompts
from labeling.regions.cropped_mask import CroppedMask
from labeling.store import Project, Store

FIXTURES = Path(__file__).parents[1] / "fixtures" / "label_studio"
CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">'
    '<Label value="red"/><Label value="cell" prompt="every cell"/></BrushLabels></View>'
)


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], Any]:
    """`recorded("regions")` or `recorded("requests/setup")`: what a real Label Studio sent, read anew each time."""

    def read(name: str) -> Any:
        return json.loads((FIXTURES / f"{name}.json").read_text())

    return read


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """On SQLite, or the PostgreSQL database that ARGENSEG_TEST_POSTGRESQL_URL names; that one is EMPTIED first."""
    url = os.environ.get("ARGENSEG_TEST_POSTGRESQL_URL", f"sqlite:///{tmp_path}/argenseg.db")
    if url.startswith("postgresql"):
        with create_engine(url).begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    return url


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Store]:
    """An empty one."""
    with Store.open(database_url, str(tmp_path / "blobs")) as store:
        yield store


@pytest.fixture
def sqlite_file(store: Store, tmp_path: Path) -> Path:
    """The store's database file, for tests that are about SQLite."""
    file = tmp_path / "argenseg.db"
    if not file.exists():
        pytest.skip("runs on SQLite only")
    return file


@pytest.fixture
def project(store: Store) -> Project:
    return store.projects.upsert("http://label-studio:8080", 1, CONFIG)


@pytest.fixture(scope="session")
def plan() -> PromptPlan:
    return plan_prompts(parse_label_config(CONFIG), {})


@pytest.fixture(scope="session")
def predict() -> Callable[..., Prediction]:
    """`predict(mask, ...)`: a prediction of version "v1" with a region of label "red" for each mask."""

    def build(*masks: np.ndarray, score: float = 0.9) -> Prediction:
        height, width = masks[0].shape if masks else (4, 4)
        shapes = map(CroppedMask.of, masks)
        predicted = [PredictedMask("red", "red", "brush", "image", "brushlabels", shape, score) for shape in shapes]
        return build_prediction(predicted, "v1", width, height)

    return build


@pytest.fixture
def square() -> np.ndarray:
    """A mask of 12 x 16 px with a 5 x 5 square."""
    mask = np.zeros((12, 16), dtype=np.bool_)
    mask[3:8, 4:9] = True
    return mask

"""Two pages open a task at once: where Label Studio is pinned its prediction is stored once, and no page is empty."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from pydantic import SecretStr

from backend.web import double_opens
from backend.web.app import create_app
from labeling.label_studio.client import LabelStudioClient
from labeling.prompts.label_config import parse_label_config
from labeling.settings import Settings
from labeling.store import Store
from labeling.versions import model_version
from tests.backend.operations.projects.label_studio_double import LabelStudioDouble
from tests.backend.web.recorded import recorded, send

OPENED = recorded("predict_single")
OPENED["json"]["project"] = "5.1700000000"
TASK = OPENED["json"]["tasks"][0]["id"]
CONFIG = OPENED["json"]["label_config"]


@pytest.fixture
def label_studio() -> Iterator[LabelStudioDouble]:
    double = LabelStudioDouble(CONFIG)
    double.tasks[TASK] = {"id": TASK, "data": OPENED["json"]["tasks"][0]["data"], "total_annotations": 0}
    yield double
    double.close()


@pytest.fixture
def settings(settings: Settings, label_studio: LabelStudioDouble) -> Settings:
    changes = {"label_studio_url": label_studio.url, "label_studio_api_key": SecretStr("secret-token"), "threads": 8}
    return settings.model_copy(update=changes)


@pytest.fixture
def version(settings: Settings) -> str:
    return model_version(settings.model, parse_label_config(CONFIG))


@pytest.fixture
def open_page(settings: Settings, store: Store, connection: Any, label_studio: LabelStudioDouble) -> Any:
    """What a page's opening is answered; Label Studio stores it, if it is a prediction."""
    app = create_app(settings, store, connection)

    def open_page(pages: Barrier | None = None, *, is_stored: bool = True) -> Any:
        if pages is not None:
            pages.wait()
        (answer,) = send(app.test_client(), OPENED).json["results"]
        if answer and is_stored:
            label_studio.add_prediction(TASK, answer["model_version"])
        return answer

    yield open_page
    app.extensions["argenseg"].background.close()


@pytest.mark.usefixtures("gpu_worker")
def test_a_pinned_project_stores_one_of_three(open_page: Any, label_studio: LabelStudioDouble, version: str) -> None:
    label_studio.project["model_version"] = version
    pages = Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        answers = [future.result() for future in [pool.submit(open_page, pages) for _ in range(3)]]
    assert sorted(map(bool, answers)) == [False, False, True]
    assert [held["model_version"] for held in label_studio.predictions.values()] == [version]


@pytest.mark.usefixtures("gpu_worker")
@pytest.mark.parametrize("shown", ["ARGenSeg", "", "another version"])
def test_where_an_empty_answer_may_hide_the_masks_every_page_gets_them(
    open_page: Any, label_studio: LabelStudioDouble, shown: str
) -> None:
    label_studio.project["model_version"] = shown
    assert open_page()["result"] and open_page()["result"]


@pytest.mark.usefixtures("gpu_worker")
def test_an_answer_that_was_never_stored_is_given_again(
    open_page: Any, label_studio: LabelStudioDouble, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(double_opens, "_STORED_S", 0.1)
    label_studio.project["model_version"] = version
    first = open_page(is_stored=False)
    assert first["result"] and open_page() == first


@pytest.mark.usefixtures("gpu_worker")
def test_a_label_studio_that_does_not_answer_hides_nothing(
    open_page: Any, label_studio: LabelStudioDouble, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_studio.project["model_version"] = version
    first = open_page()
    label_studio.close()
    assert open_page(is_stored=False) == first
    monkeypatch.setattr(LabelStudioClient, "from_settings", lambda _: None)
    assert open_page(is_stored=False) == first

"""What the page is told beside the text that was typed, as Label Studio sends and takes it (recorded)."""

from typing import Any

import pytest

from backend.web.page_answer import for_page
from labeling.label_studio.messages import PredictRequest
from tests.backend.web.recorded import recorded

TYPED, BOXED = recorded("predict_interactive_text"), recorded("predict_interactive_rectangle")


def asked(recording: dict[str, Any] = TYPED, *, predictions: list[Any] | None = None) -> PredictRequest:
    body = recording["json"]
    return PredictRequest.model_validate({**body, "tasks": [{**body["tasks"][0], "predictions": predictions or []}]})


ANSWER = TYPED["response"]["results"][0]
ANSWER["result"][0]["id"] = "r1"


def told(answer: Any) -> str:
    """The text in the field."""
    (field,) = answer["result"]
    assert (field["type"], field["from_name"], field["to_name"]) == ("textarea", "prompt", "image")
    (text,) = field["value"]["text"]
    return str(text)


def test_an_answer_with_a_mask_stays_as_it_is() -> None:
    assert for_page(asked(), ANSWER, "v") == ANSWER


def test_an_answer_without_an_object_says_so_beside_the_text() -> None:
    answer = for_page(asked(), {"result": [], "score": 0.9, "model_version": "v"}, "v")
    assert told(answer) == "blue box: nothing found" and answer["score"] == 0.9


def test_the_reason_of_a_failure_stands_there_too() -> None:
    assert told(for_page(asked(), {"result": [], "error": "Box is no word it knows."}, "v")) == (
        "blue box: Box is no word it knows."
    )


def test_an_answer_that_is_late_asks_to_try_again() -> None:
    assert told(for_page(asked(), [], "v")) == "blue box: no answer in time, press Add again"


def test_what_is_on_the_page_already_is_said_to_be_there() -> None:
    there = [{"result": ANSWER["result"], "created_at": "2026-11-01"}]
    assert told(for_page(asked(predictions=there), ANSWER, "v")) == "blue box: is there already"


def test_texts_that_were_typed_before_stay_in_the_field() -> None:
    body = {**TYPED["json"], "params": {"context": {"result": [dict(TYPED["json"]["params"]["context"]["result"][0])]}}}
    body["params"]["context"]["result"][0]["value"] = {"text": ["red box", "blue box"]}
    answer = for_page(PredictRequest.model_validate(body), [], "v")
    assert answer["result"][0]["value"]["text"][0] == "red box" and len(answer["result"][0]["value"]["text"]) == 2


@pytest.mark.parametrize("answer", [[], {"result": []}])
def test_boxes_and_opened_tasks_are_answered_as_before(answer: Any) -> None:
    assert for_page(asked(BOXED), answer, "v") == answer
    assert for_page(PredictRequest.model_validate(recorded("predict_single")["json"]), answer, "v") == answer

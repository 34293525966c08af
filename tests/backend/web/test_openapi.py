"""The description of our endpoints, and what becomes of requests that are made from it."""

import re

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from redis import Redis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from backend.web.app import create_app
from backend.web.openapi import describe
from labeling.settings import Settings
from labeling.store import Store

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_every_route_but_those_of_pages_is_described_and_no_other(app: Flask) -> None:
    """Pages are for people; what they write they take as forms, with a token that programs do not have."""
    routes = {
        (re.sub(r"<[^>]*:(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
        and not app.view_functions[rule.endpoint].__module__.startswith("backend.web.pages")
    }
    assert {(path, method) for path, methods in describe()["paths"].items() for method in methods} == routes


def test_it_is_served(client: FlaskClient) -> None:
    assert client.get("/openapi.json").json == describe()


@pytest.fixture
def api(settings: Settings, store: Store, connection: "Redis") -> schemathesis.BaseSchema:
    """Nobody draws masks here, so nobody waits for them."""
    impatient = settings.model_copy(update={"predict_wait_s": 0, "interactive_wait_s": 0})
    return schemathesis.openapi.from_wsgi("/openapi.json", create_app(impatient, store, connection))


def cases() -> list[tuple[str, str, GenerationMode]]:
    """Every endpoint with right requests, and with wrong ones where there is something that can be wrong."""
    return [
        (path, method, mode)
        for path, methods in describe()["paths"].items()
        for method, operation in methods.items()
        for mode in GenerationMode
        if mode == GenerationMode.POSITIVE or "requestBody" in operation or operation["parameters"]
    ]


@pytest.mark.parametrize(("path", "method", "mode"), cases())
def test_no_request_crashes_the_backend(
    path: str, method: str, mode: GenerationMode, api: schemathesis.BaseSchema
) -> None:
    """Never a 500, and never an answer that was not described."""

    @given(request=api[path][method].as_strategy(generation_mode=mode))
    @hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def send(request: schemathesis.Case) -> None:
        request.call_and_validate(checks=CHECKS)

    send()

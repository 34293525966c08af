"""A project is connected once, and again without a change; what forbids it is named."""

from base64 import b64encode
from pathlib import Path

import pytest
from click.testing import CliRunner

from backend.console.cli import main
from backend.operations.projects.connection import connect_backend, same_address, webhook_faults
from labeling.label_studio.client import LabelStudioClient
from labeling.settings import Settings, environment_of
from tests.backend.operations.projects.label_studio_double import LabelStudioDouble
from worker.errors import WorkerError

URL = "http://127.0.0.1:9191"


@pytest.fixture
def client(label_studio: LabelStudioDouble) -> LabelStudioClient:
    return LabelStudioClient(label_studio.url, "secret-token")


@pytest.fixture
def guarded(connected: Settings) -> Settings:
    return Settings(**{**connected.model_dump(), "basic_auth_user": "we", "basic_auth_pass": "pässword"})


def test_connecting_twice_changes_nothing(
    client: LabelStudioClient, label_studio: LabelStudioDouble, connected: Settings
) -> None:
    assert connect_backend(client, 5, URL, connected) == [f"connected the ML backend {URL}"]
    assert connect_backend(client, 5, URL, connected) == []
    assert len(label_studio.backends) == len(label_studio.webhooks) == 1


def test_who_connects_is_told_which_words_the_model_was_not_taught(
    connected: Settings, label_studio: LabelStudioDouble
) -> None:
    """`argenseg connect`; `up --connect` says the same in its log."""

    def connect() -> str:
        answer = CliRunner().invoke(main, ["connect", "--project", "5"], env=environment_of(connected))
        assert answer.exit_code == 0, answer.output
        return answer.output

    assert "was not taught" not in connect()
    (Path(connected.model) / "config.json").write_text('{"known_names": {"cells": ["cell", "cells"]}}')
    assert 'Label "l0" asks "bright": the model was not taught \'bright\'; it knows, for example, cells.' in connect()
    label_studio.project["label_config"] = "<View/>"
    assert "It is not predicted. The label config has no image" in connect()


def test_the_password_is_sent_with_everything(
    client: LabelStudioClient, label_studio: LabelStudioDouble, guarded: Settings
) -> None:
    done = connect_backend(client, 5, URL, guarded)
    assert done == [f"connected the ML backend {URL}", "put the webhook right"]
    assert label_studio.backends[0]["basic_auth_pass_is_set"]
    expected = f"Basic {b64encode('we:pässword'.encode()).decode()}"
    assert label_studio.webhooks[0]["headers"] == {"Authorization": expected}
    assert connect_backend(client, 5, URL, guarded) == []


def test_a_broken_connection_is_put_right_and_what_annotators_see_stays(
    client: LabelStudioClient, label_studio: LabelStudioDouble, connected: Settings
) -> None:
    connect_backend(client, 5, "http://127.0.0.1:1", connected)
    label_studio.project["model_version"] = "tiny · 1"
    label_studio.webhooks[0].update(is_active=False, headers={"X-Theirs": "1"})
    done = connect_backend(client, 5, URL, connected)
    assert done == [f"moved the ML backend from http://127.0.0.1:1 to {URL}", "put the webhook right"]
    (hook,) = label_studio.webhooks
    assert (hook["url"], hook["is_active"], hook["headers"]) == (f"{URL}/webhook", True, {"X-Theirs": "1"})
    assert label_studio.project["model_version"] == "tiny · 1"
    label_studio.webhooks.clear()
    assert connect_backend(client, 5, URL, connected) == ["added the webhook"]


def test_a_password_in_the_url_is_sent_and_not_told(
    client: LabelStudioClient, label_studio: LabelStudioDouble, connected: Settings
) -> None:
    connect_backend(client, 5, "http://127.0.0.1:1", connected)
    done = connect_backend(client, 5, "http://we:hunter2@127.0.0.1:9191", connected)
    assert done[0] == "moved the ML backend from http://127.0.0.1:1 to http://we:***@127.0.0.1:9191"
    assert label_studio.backends[0]["url"] == "http://we:hunter2@127.0.0.1:9191"
    assert connect_backend(client, 5, "http://we:hunter3@127.0.0.1:9191", connected)[0] == "set the backend's password"
    label_studio.blocks_backends = True
    with pytest.raises(WorkerError) as refused:
        connect_backend(client, 5, "http://we:hunter2@127.0.0.1:9191", connected)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("setting", ["blocks_backends", "blocks_webhooks"])
def test_what_forbids_it_is_named(
    client: LabelStudioClient, label_studio: LabelStudioDouble, connected: Settings, setting: str
) -> None:
    setattr(label_studio, setting, True)
    name = {"blocks_backends": "ML_BLOCK_LOCAL_IP", "blocks_webhooks": "SSRF_PROTECTION_ENABLED"}[setting]
    with pytest.raises(WorkerError, match=name) as refused:
        connect_backend(client, 5, URL, connected)
    assert "ML_BLOCK_LOCAL_IP=false" in str(refused.value)
    assert not label_studio.backends and not label_studio.webhooks


def test_faults_of_a_webhook(guarded: Settings, connected: Settings) -> None:
    hook = {"url": f"{URL}/webhook", "is_active": True, "send_payload": True, "send_for_all_actions": False}
    hook |= {"actions": ["ANNOTATION_CREATED"], "headers": None}
    assert webhook_faults({**hook, "send_for_all_actions": True}, connected) == []
    faults = webhook_faults({**hook, "is_active": False, "send_payload": False}, guarded)
    assert len(faults) == 4
    assert "ANNOTATION_UPDATED" in faults[2]
    in_url = {**hook, "send_for_all_actions": True, "url": "http://we:x@127.0.0.1:9191/webhook"}
    assert webhook_faults(in_url, guarded) == []


def test_addresses() -> None:
    assert same_address("http://a:b@host:9/x/", "http://host:9/x")
    assert not same_address("http://host:9/x", "http://host:8/x")

"""Checks stand alone: one that raises, hangs or tells a secret spoils no other."""

import time
from collections.abc import Iterator

from pydantic import SecretStr

from backend.operations.doctor.findings import Check, Finding, failure, ok, run_checks, warning
from labeling.errors import LabelStudioError
from labeling.settings import Settings
from worker.errors import QueueUnreachable


def raising(error: Exception) -> Iterator[Finding]:
    yield ok("half of it works")
    raise error


def hanging() -> Iterator[Finding]:
    yield warning("slow", "wait")
    time.sleep(30)


def test_no_check_hides_another(settings: Settings) -> None:
    checks = [
        Check("a", lambda: raising(LabelStudioError("Label Studio is away. Start it."))),
        Check("b", lambda: raising(QueueUnreachable("refused", "Start it."))),
        Check("c", lambda: raising(KeyError("bug"))),
        Check("d", hanging, 0.3),
        Check("e", lambda: [ok("fine")]),
    ]
    began = time.monotonic()
    found = run_checks(checks, settings)
    assert time.monotonic() - began < 5
    assert [(each.link, each.state) for each in found] == [
        *[(link, state) for link in "abc" for state in ("ok", "failure")],
        ("d", "warning"),
        ("d", "failure"),
        ("e", "ok"),
    ]
    assert found[1].text == "Label Studio is away. Start it."
    assert "bug of argenseg" in found[5].mend
    assert "no answer within 0.3 s" in found[7].text


def test_one_cause_is_told_once(settings: Settings) -> None:
    def missing(what: str) -> Iterator[Finding]:
        return raising(LabelStudioError("Label Studio answered 404 (No Project).", what=what, status=404))

    checks = [Check(name, lambda name=name: missing(name)) for name in ("config", "webhook", "image")]  # type: ignore[misc]
    found = [each for each in run_checks(checks, settings) if each.state != "ok"]
    assert [(each.link, each.state) for each in found] == [
        ("config", "failure"),
        ("webhook", "skipped"),
        ("image", "skipped"),
    ]
    assert found[0].text == "config: Label Studio answered 404 (No Project)."
    assert found[2].text == "Not looked at: it fails as config does."


def test_secrets_are_never_told(settings: Settings) -> None:
    secrets = {
        "label_studio_api_key": SecretStr("tokentoken"),
        "basic_auth_pass": SecretStr("hunter2"),
        "redis_url": "redis://user:redispass@queue:6379",
        "database_url": "postgresql://me:dbp%40ss@db/argenseg",
        "label_studio_url": "http://me:lspass@labels",
        "backend_url": "http://me:backpass@backend",
    }
    guarded = settings.model_copy(update=secrets)
    text = (
        "tokentoken hunter2 redis://user:redispass@queue postgresql://me:dbp%40ss@db dbp@ss lspass http://x:backpass@b"
    )
    (found,) = run_checks([Check("x", lambda: [failure(text, text)])], guarded)
    assert not [
        secret
        for secret in ("tokentoken", "hunter2", "redispass", "dbp", "lspass", "backpass")
        if secret in found.text + found.mend
    ]
    assert "redis://user:***@queue" in found.text

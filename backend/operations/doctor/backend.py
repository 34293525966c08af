"""The backend, as this machine reaches it."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx

from backend.operations.doctor.findings import Finding, failure, ok, warning
from backend.operations.projects.connection import basic_authorization, refuses_host
from backend.operations.running import where_a_store_is
from labeling.errors import StoreError
from labeling.settings import Settings
from labeling.store import Store

_TIMEOUT_S = 5.0


def backend(settings: Settings) -> Iterator[Finding]:
    """Up, and guarded as the settings say?"""
    url = settings.local_backend_url
    authorization = basic_authorization(settings)
    headers = {"Authorization": authorization} if authorization else {}
    try:
        answer = httpx.get(f"{url}/", headers=headers, timeout=_TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        yield failure(f"The backend does not answer at {url} ({error}).", "Start argenseg up, or argenseg backend.")
        return
    if answer.status_code == 401:
        yield failure(
            f"The backend at {url} wants another user or password.",
            "Set BASIC_AUTH_USER and BASIC_AUTH_PASS here as they are there.",
        )
    elif not answer.is_success:
        yield failure(f"The backend at {url} answers {answer.status_code}.", "Its log says why.")
    else:
        if (other := _other_store(settings, url, headers)) is not None:
            yield other
            return
        yield ok(f"The backend answers at {url}{', for its user only' if authorization else ''}.")
        share = _told(answer).get("blind_share")
        if isinstance(share, int | float) and share != settings.blind_share:
            yield warning(
                f"The backend leaves {share:.0%} of the tasks blind, commands here {settings.blind_share:.0%}.",
                "Give both the same BLIND_SHARE, else argenseg predict draws masks for blind tasks.",
            )
    if (refusal := refuses_host(settings, settings.public_backend_url)) is not None:
        yield failure(
            f"The backend refuses what is sent to {settings.public_backend_url}: no correction arrives.", refusal
        )
    if settings.is_open_to_all:
        yield warning(f"Everybody who reaches {settings.host} can call it.", "Set BASIC_AUTH_USER and BASIC_AUTH_PASS.")


def _other_store(settings: Settings, url: str, headers: dict[str, str]) -> Finding | None:
    """That the backend keeps another store than these settings lead to; None if it is the same, or nobody knows."""
    try:
        told = _told(httpx.get(f"{url}/health", headers=headers, timeout=_TIMEOUT_S, trust_env=False)).get("store")
    except httpx.HTTPError:
        return None
    with suppress(StoreError):
        with Store.open(settings.database_url, settings.blob_url, must_exist=True) as store:
            ours = store.identity()
        if told in (None, "", ours):
            return None
    return failure(
        f"The backend at {url} is of another installation: it keeps another store than the settings here lead to.",
        "Set ARGENSEG_DATA_DIR (or DATABASE_URL) and PORT here as they are for it. " + where_a_store_is(),
    )


def _told(answer: httpx.Response) -> dict[str, Any]:
    try:
        reported = answer.json()
    except ValueError:
        return {}
    return reported if isinstance(reported, dict) else {}

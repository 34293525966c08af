"""The backend, as this machine reaches it."""

from collections.abc import Iterator
from typing import Any

import httpx

from backend.operations.doctor.findings import Finding, failure, ok, warning
from backend.operations.projects.connection import basic_authorization, refuses_host
from labeling.settings import Settings

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


def _told(answer: httpx.Response) -> dict[str, Any]:
    try:
        reported = answer.json()
    except ValueError:
        return {}
    return reported if isinstance(reported, dict) else {}

"""Label Studio: does it answer, does it take our token, does its clock agree, does it let us be called?"""

import time
from collections.abc import Iterator

import jwt

from backend.operations.doctor.findings import Finding, failure, ok, warning
from backend.operations.projects.connection import refuses_backend, refuses_webhook
from labeling.settings import Settings
from worker.projects.open_project import require_client

_TESTED = "1.23"
_SOON_S = 7 * 24 * 3600
_CLOCKS_DIFFER_S = 60.0
_NEW_TOKEN = "Make a personal access token in Label Studio (Account & Settings), and set LABEL_STUDIO_API_KEY to it."


def server(settings: Settings) -> Iterator[Finding]:
    """Reachable, and which version?"""
    client = require_client(settings)
    reported = client.call("GET", "/api/version/", what="Label Studio's version could not be read")
    version = str(reported.get("release") or "of unknown version")
    if version.startswith(f"{_TESTED}."):
        yield ok(f"Label Studio {version} answers at {client.url}.")
    else:
        yield warning(
            f"Label Studio {version} answers at {client.url}.", f"If something fails, try {_TESTED}, which is tested."
        )


def token(settings: Settings) -> Iterator[Finding]:
    """Which kind, whose, and for how long?"""
    client = require_client(settings)
    user = client.call("GET", "/api/current-user/whoami", what="The token was not accepted")
    if not client.auth.is_personal:
        yield ok(f"A legacy token of {user.get('email')} is accepted.")
        return
    key = settings.label_studio_api_key.get_secret_value() if settings.label_studio_api_key else ""
    left_s = float(jwt.decode(key, options={"verify_signature": False}).get("exp", 0)) - time.time()
    text = f"A personal access token of {user.get('email')} is accepted; it ends in {left_s / 86400:.0f} days."
    yield warning(text, _NEW_TOKEN) if left_s < _SOON_S else ok(text)


def clock(settings: Settings) -> Iterator[Finding]:
    """Tokens and times are wrong when clocks are."""
    client = require_client(settings)
    before = time.time()
    reported = client.server_time()
    if reported is None:
        yield warning("Label Studio tells no time.", "Compare its clock with this machine's by hand.")
        return
    skew = reported.timestamp() - (before + time.time()) / 2
    if abs(skew) > _CLOCKS_DIFFER_S:
        yield warning(f"Label Studio's clock is {skew:+.0f} s from this machine's.", "Let NTP set both clocks.")
    else:
        yield ok("Its clock agrees with this machine's, within a minute.")


def private_addresses(settings: Settings) -> Iterator[Finding]:
    """Two of its defaults forbid the backend's address: one loudly when connecting, one silently for every webhook."""
    client = require_client(settings)
    url = settings.public_backend_url
    rules = (
        ("ML_BLOCK_LOCAL_IP", refuses_backend, f"It refuses ML backends at {url}", "connecting fails"),
        ("SSRF_PROTECTION_ENABLED", refuses_webhook, f"It drops webhooks to {url}", "corrections never arrive"),
    )
    for setting, refuses, what, follows in rules:
        if refuses(client, url):
            yield failure(
                f"{what} ({setting}): {follows}.",
                f"Set {setting}=false in Label Studio's environment and start it again.",
            )
        else:
            yield ok(f"{setting} does not stand in the way of {url}.")

"""Label Studio's two kinds of tokens, and the Authorization header that each of them becomes.

A legacy token is sent as it is. A personal access token is sent only to be exchanged at `/api/token/refresh/` for an
access token, which lives 300 s. It is exchanged again shortly before those end, and once when Label Studio answers 401.
"""

import math
import threading
import time
from collections.abc import Generator
from typing import Any

import httpx
import jwt

from labeling.credentials import hide_secrets
from labeling.errors import LabelStudioError
from labeling.label_studio.connections import ONLY_BEGINNING
from labeling.label_studio.refusals import is_page, told

_RENEW_BEFORE_S = 30.0
_REFUSED = (400, 401, 403)
_ADVICE = "Make a personal access token in Label Studio (Account & Settings), and set LABEL_STUDIO_API_KEY to it."

Flow = Generator[httpx.Request, httpx.Response, None]
Exchange = Generator[httpx.Request, httpx.Response, str]


class LabelStudioAuth(httpx.Auth):
    """Puts the Authorization header on requests to one Label Studio. Hand it to no request that goes elsewhere.

    Threads may share it: one of them exchanges, the others wait for it. Requests raise LabelStudioError, which never
    quotes a token, where Label Studio gives no access token.
    """

    def __init__(self, url: str, api_key: str) -> None:
        self._refresh_url = f"{url.rstrip('/')}/api/token/refresh/"
        self._api_key = api_key
        self._claims = _claims(api_key)
        self._lock = threading.Lock()
        self._access_token: str | None = None
        self._renew_at = 0.0  # of time.monotonic()

    @property
    def is_personal(self) -> bool:
        """Whether the key is a personal access token."""
        return self._claims.get("token_type") == "refresh"

    def sync_auth_flow(self, request: httpx.Request) -> Flow:
        """What httpx asks for every request: yields an exchange if one is due, the request, and both again on 401."""
        if not self.is_personal:
            request.headers["Authorization"] = f"{'Bearer' if self._claims else 'Token'} {self._api_key}"
            yield request
            return
        token = yield from self._current_token(request, rejected=None)
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401:
            token = yield from self._current_token(request, rejected=token)
            request.headers["Authorization"] = f"Bearer {token}"
            yield request

    def header(self, http: httpx.Client) -> str:
        """The header's value of now, after an exchange through `http` if one is due."""
        request = httpx.Request("GET", self._refresh_url)
        flow = self.sync_auth_flow(request)
        step = next(flow)
        while step is not request:
            step = flow.send(http.send(step, auth=None))
        return request.headers["Authorization"]

    def without_tokens(self, text: str) -> str:
        """The text with the key, the access token and the passwords of URLs made unreadable."""
        return hide_secrets(text, (self._api_key, self._access_token))

    def _current_token(self, request: httpx.Request, rejected: str | None) -> Exchange:
        """The access token, exchanged if it ends soon or is the one that Label Studio `rejected`."""
        with self._lock:
            if self._access_token in (None, rejected) or time.monotonic() >= self._renew_at:
                body, extensions = {"refresh": self._api_key}, {**request.extensions, ONLY_BEGINNING: True}
                response = yield httpx.Request("POST", self._refresh_url, json=body, extensions=extensions)
                response.read()
                self._accept(response)
            return self._access_token or ""

    def _accept(self, response: httpx.Response) -> None:
        try:
            token = response.json()["access"] if response.is_success else None
            claims = _claims(token)
        except (ValueError, KeyError, TypeError):
            claims = {}
        if not claims:
            status = response.status_code
            is_transient = status == 429 or status >= 500
            reason = self.without_tokens(told(response.content))
            advice = _ADVICE if status in _REFUSED and not is_page(response.content) else "Check LABEL_STUDIO_URL."
            if status in _REFUSED and self._claims.get("exp", math.inf) < time.time():  # our clock may be wrong: tried
                advice = f"By this machine's clock it has expired. {advice}"
            raise LabelStudioError(
                f"Label Studio gave no access token for the personal access token: it answered {status} ({reason}). "
                f"{advice}",
                status=401 if status in _REFUSED else status if is_transient else None,
                is_transient=is_transient,
            )
        # by the server's own clock where it tells when it made the token: ours may be wrong
        lives_s = claims.get("exp", 0.0) - claims.get("iat", time.time())
        self._access_token, self._renew_at = token, time.monotonic() + lives_s - _RENEW_BEFORE_S


def _claims(token: Any) -> dict[str, Any]:
    """What a JSON web token says, not verified (that is the server's business); {} if it is none."""
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        return claims
    except jwt.InvalidTokenError:
        return {}

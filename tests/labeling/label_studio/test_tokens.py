"""Both kinds of tokens against a server that counts exchanges."""

import json
import logging
import threading
import time

import httpx
import jwt
import pytest

from labeling.errors import LabelStudioError
from labeling.label_studio.tokens import LabelStudioAuth

LEGACY = "0123456789abcdef0123456789abcdef01234567"


def signed(kind: str, lives_s: float, **claims: object) -> str:
    return jwt.encode({"token_type": kind, "exp": time.time() + lives_s, **claims}, "k" * 32, "HS256")


PERSONAL = signed("refresh", 10_000)


class Tokens:
    """What a Label Studio does: exchange the personal token, and answer 401 to access tokens that it does not know."""

    def __init__(self, server, answer) -> None:
        self.issued: list[str] = []
        self.revoked: set[str] = set()
        self.lives_s, self.claims = 300.0, {}
        self.server, self.answer = server, answer
        server.answers["POST", "/api/token/refresh/"] = self._exchange
        server.answers["GET", "/data/a.png"] = self._file

    def _exchange(self, request):
        assert json.loads(request.body) == {"refresh": PERSONAL}
        assert "Authorization" not in request.headers
        self.issued.append(signed("access", self.lives_s, jti=str(len(self.issued)), **self.claims))
        return self.answer(json.dumps({"access": self.issued[-1]}).encode())

    def _file(self, request):
        token = request.headers["Authorization"].removeprefix("Bearer ")
        is_known = token in self.issued and token not in self.revoked
        return self.answer(b"image", 200 if is_known else 401)


@pytest.fixture
def tokens(label_studio, answer) -> Tokens:
    return Tokens(label_studio, answer)


def get(server, auth: LabelStudioAuth) -> httpx.Response:
    with httpx.Client(auth=auth, timeout=2) as http:
        return http.get(f"{server.url}/data/a.png")


def test_a_legacy_token_is_sent_as_it_is(label_studio, answer) -> None:
    label_studio.answers["GET", "/data/a.png"] = answer(b"no", 401)
    assert get(label_studio, LabelStudioAuth(label_studio.url, LEGACY)).status_code == 401
    (request,) = label_studio.requests  # no second try: it would be the same
    assert request.headers["Authorization"] == f"Token {LEGACY}"


def test_an_access_token_is_a_bearer(label_studio, answer) -> None:
    label_studio.answers["GET", "/data/a.png"] = answer(b"ok")
    access = signed("access", 300)
    get(label_studio, LabelStudioAuth(label_studio.url, access))
    assert [request.headers["Authorization"] for request in label_studio.requests] == [f"Bearer {access}"]


def test_one_exchange_serves_many_requests(label_studio, tokens) -> None:
    auth = LabelStudioAuth(label_studio.url, PERSONAL)
    assert [get(label_studio, auth).status_code for _ in range(3)] == [200, 200, 200]
    assert len(tokens.issued) == 1


@pytest.mark.parametrize(("lives_s", "exchanges"), [(29.0, 2), (300.0, 1)])
def test_it_is_renewed_before_its_end(label_studio, tokens, lives_s: float, exchanges: int) -> None:
    tokens.lives_s = lives_s
    auth = LabelStudioAuth(label_studio.url, PERSONAL)
    assert get(label_studio, auth).is_success and get(label_studio, auth).is_success
    assert len(tokens.issued) == exchanges


def test_the_servers_clock_counts_where_ours_is_wrong(label_studio, tokens) -> None:
    """It says that the token was made an hour ago and has just ended: it lives 300 s from now."""
    tokens.lives_s, tokens.claims = -3300.0, {"iat": time.time() - 3600}
    auth = LabelStudioAuth(label_studio.url, PERSONAL)
    assert get(label_studio, auth).is_success and get(label_studio, auth).is_success
    assert len(tokens.issued) == 1


def test_a_revoked_access_token_is_exchanged_once_more(label_studio, tokens) -> None:
    auth = LabelStudioAuth(label_studio.url, PERSONAL)
    get(label_studio, auth)
    tokens.revoked.update(tokens.issued)
    assert get(label_studio, auth).is_success
    assert len(tokens.issued) == 2


def test_a_401_that_stays_is_given_back_after_one_retry(label_studio, tokens, answer) -> None:
    label_studio.answers["GET", "/data/a.png"] = answer(b"no", 401)
    assert get(label_studio, LabelStudioAuth(label_studio.url, PERSONAL)).status_code == 401
    assert len(tokens.issued) == 2


def test_threads_share_one_exchange(label_studio, tokens) -> None:
    auth, statuses = LabelStudioAuth(label_studio.url, PERSONAL), []
    threads = [threading.Thread(target=lambda: statuses.append(get(label_studio, auth).status_code)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 8
    assert len(tokens.issued) == 1


@pytest.mark.parametrize(
    ("body", "status", "advice", "is_transient"),
    [
        (b'{"detail": "Token is invalid"}', 401, "Make a personal access token", False),
        (b"down", 503, "503", True),
        (b"<html>", 200, "LABEL_STUDIO_URL", False),
        (b'{"access": null}', 200, "LABEL_STUDIO_URL", False),
        (b'["access"]', 200, "LABEL_STUDIO_URL", False),
        (b'{"access": "no JSON web token"}', 200, "LABEL_STUDIO_URL", False),
    ],
)
def test_refused_exchanges_say_what_to_do(label_studio, answer, body, status, advice, is_transient) -> None:
    label_studio.answers["POST", "/api/token/refresh/"] = answer(body + PERSONAL.encode(), status)
    auth = LabelStudioAuth(label_studio.url, PERSONAL)
    with pytest.raises(LabelStudioError, match=advice) as error:
        get(label_studio, auth)
    assert error.value.is_transient == is_transient
    assert PERSONAL not in str(error.value)


def test_an_exchange_that_hangs_is_given_up(label_studio, answer) -> None:
    label_studio.answers["POST", "/api/token/refresh/"] = lambda _: time.sleep(1) or answer(b"")
    auth = LabelStudioAuth(label_studio.url, PERSONAL)
    with httpx.Client(auth=auth, timeout=0.2) as http, pytest.raises(httpx.TimeoutException):
        http.get(f"{label_studio.url}/data/a.png")


def test_tokens_are_never_logged(label_studio, tokens, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    auth = LabelStudioAuth(label_studio.url, PERSONAL)
    get(label_studio, auth)
    get(label_studio, LabelStudioAuth(label_studio.url, LEGACY))
    for secret in (PERSONAL, LEGACY, *tokens.issued):
        assert secret not in caplog.text
        assert secret not in repr(auth)

"""What is shown, logged or answered holds no credentials: neither a URL's password nor a secret of the settings."""

import re
from collections.abc import Iterable
from urllib.parse import unquote

_PASSWORD = re.compile(r"(?<=://)([^\s/?#:]*):(\S{1,200})@")  # up to the last @: people forget to encode a password
_LEAST_CHARACTERS = 4  # a shorter secret is in every text, and hiding it there would spoil the text and tell the secret


def hide_passwords(text: str) -> str:
    """A text with the passwords of its URLs made unreadable: http://user:***@host."""
    return _PASSWORD.sub(r"\1:***@", text)


def without_credentials(url: str) -> str:
    """A URL as a link on a page: without user and password."""
    return re.sub(r"(?<=://)[^\s/?#]*@", "", hide_passwords(url))


def hide_secrets(text: str, secrets: Iterable[str | None]) -> str:
    """A text with these secrets, and the passwords of its URLs, made unreadable."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):  # one may hold another
        if len(secret) >= _LEAST_CHARACTERS:
            text = text.replace(secret, "***")
    return hide_passwords(text)


def url_passwords(url: str) -> list[str]:
    """The password of a URL, as it is there and as it was meant; none without one."""
    return [form for _, password in _PASSWORD.findall(url) if password for form in (password, unquote(password))]

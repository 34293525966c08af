"""What was answered instead of what was asked for, as one line for people: neither HTML nor Python's brackets."""

import html
import json
import re
from typing import Any

_SHOWN_CHARACTERS = 200
_PAGE = re.compile(rb"\s*(<!doctype|<html|<head|<body|<\?xml|<!--)", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_UNSEEN = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)


def is_page(body: bytes) -> bool:
    """Whether it is a web page, as of a login, a proxy or a server that is being repaired."""
    return _PAGE.match(body) is not None


def is_json(body: bytes) -> bool:
    """Whether a program wrote it for programs."""
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def told(body: bytes) -> str:
    """The gist of an answer: what Label Studio's JSON says, a page's title, else its first words; "" for nothing."""
    text = body.decode("utf-8", "replace")
    try:
        words = _said(json.loads(text))
    except (ValueError, RecursionError):
        title = _TITLE.search(text)
        words = html.unescape(_UNSEEN.sub(" ", title[1] if title else text))
    return " ".join(words.split())[:_SHOWN_CHARACTERS]


def _said(document: Any) -> str:
    if not isinstance(document, dict):
        return _listed(document)
    errors = document.get("validation_errors")
    of_fields = {} if errors else {name: value for name, value in document.items() if name not in _FRAME}
    said = [str(document.get("detail") or ""), _listed(errors or of_fields)]
    return ": ".join(part.rstrip(":") for part in said if part)


_FRAME = ("id", "status_code", "version", "detail", "exc_info", "display_context", "validation_errors")  # of any error


def _listed(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_listed(part)}" for name, part in value.items() if part not in (None, "", [], {}))
    if isinstance(value, list):
        return ", ".join(map(_listed, value))
    return "" if value is None else str(value)

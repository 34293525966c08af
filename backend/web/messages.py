"""Read a request's body: JSON of a known shape, or a 400 that says what is wrong with it."""

import logging
import re
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

logger = logging.getLogger(__name__)

_HALF_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)

# What a body may hold, because a few bytes of text can take twenty times as many of memory. The largest annotation that
# we made has 14 million numbers (100 brush regions with ragged edges, each over half of 12 Mpixel: 64 MB).
_MOST = (
    (b"{[", 1_000_000, "objects and lists"),
    (b'"', 8_000_000, "quotation marks"),
    (b",", 20_000_000, "values"),
)

M = TypeVar("M", bound=BaseModel)


def read_json() -> dict[str, Any]:
    """The body as a JSON object. BadRequest for anything else; also for NaN, and for nesting deeper than 200.

    RequestEntityTooLarge for what would take far more memory than an annotation.
    """
    raw = request.get_data(cache=False)
    _check_size(raw)
    try:
        body = _parse(raw)
    except ValueError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    return body


def _check_size(raw: bytes) -> None:
    for signs, most, what in _MOST:
        if (count := sum(raw.count(signs[place : place + 1]) for place in range(len(signs)))) > most:
            logger.warning("A body of %s was refused: %d %s, and %d may be.", request.remote_addr, count, what, most)
            raise RequestEntityTooLarge(f"The body holds {count} {what}; {most} may be.")


def _parse(raw: bytes) -> Any:
    """A browser can send half a surrogate pair in a text: no reason to refuse an annotation."""
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError:
        return from_json(_HALF_SURROGATE.sub(rb"\\ufffd", raw), allow_inf_nan=False)


def read_message(shape: type[M]) -> M:
    """The body as a message of this shape. BadRequest names the first field that does not fit."""
    try:
        return shape.model_validate(read_json())
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f'The field "{where}" does not fit: {first["msg"]}.') from None

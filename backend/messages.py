"""Read a request's body: JSON of a known shape, or a 400 that says what is wrong with it."""

from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from werkzeug.exceptions import BadRequest

M = TypeVar("M", bound=BaseModel)


def read_json() -> dict[str, Any]:
    """The body as a JSON object. BadRequest for anything else; also for NaN, and for nesting deeper than 200."""
    try:
        body = from_json(request.get_data(cache=False), allow_inf_nan=False)
    except ValueError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    return body


def read_message(shape: type[M]) -> M:
    """The body as a message of this shape. BadRequest names the first field that does not fit."""
    try:
        return shape.model_validate(read_json())
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f'The field "{where}" does not fit: {first["msg"]}.') from None

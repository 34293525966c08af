"""GET /openapi.json: what the backend takes and answers, described from the messages that it reads.

What has no place here: pages, which are for people; and what Label Studio sends beside these fields, which its own
documents tell, and we ignore.
"""

from typing import Any

from flask import Blueprint, Response, jsonify

from labeling.label_studio.messages import PredictRequest, SetupRequest

_TEXT = {"type": "string"}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": _TEXT}}
_REFUSALS = {
    "400": "The body is no JSON object of this shape; `error` names the first field that does not fit.",
    "401": "BASIC_AUTH_USER and BASIC_AUTH_PASS are set, and others or none were sent.",
    "403": "A page of another site asked.",
    "413": "The body is larger than MAX_BODY_BYTES, or would take too much memory.",
    "415": "The body is not application/json.",
    "421": "The host is not ours: see ALLOWED_HOSTS.",
    "503": "The store does not answer; nothing was lost that was answered before.",
}
_RESULT = {
    "description": "A prediction, or an empty list: nothing yet.",
    "anyOf": [
        {
            "type": "object",
            "required": ["result", "score", "model_version"],
            "properties": {
                "result": {"type": "array", "items": {"type": "object"}},
                "score": {"type": ["number", "null"]},
                "model_version": _TEXT,
                "error": {"type": ["string", "null"], "description": "Why there is no answer to what the page asked."},
            },
        },
        {"type": "array", "maxItems": 0},
    ],
}
_EVENT = {
    "type": "object",
    "required": ["action"],
    "properties": {"action": {"type": "string", "minLength": 1}},
    "additionalProperties": True,
}


def make_blueprint() -> Blueprint:
    """The route /openapi.json."""
    openapi = Blueprint("openapi", __name__)

    @openapi.get("/openapi.json")
    def show() -> Response:
        return jsonify(describe())

    return openapi


def describe() -> dict[str, Any]:
    """The description, as OpenAPI 3.1."""
    versions = _json(versions={"type": "array", "items": _TEXT})
    project = {"name": "project", "in": "query", "schema": _NUMBER}
    state = {"type": "object", "required": ["ready"], "properties": {"ready": {"type": "boolean"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "ARGenSeg for Label Studio", "version": "1"},
        "paths": {
            "/": {"get": _asks("The model and how many predictions there are", _json(status=_TEXT, model=_TEXT))},
            "/health": {
                "get": _asks("Whether the backend answers", _json(status=_TEXT, model_class=_TEXT, store=_TEXT))
            },
            "/live": {"get": _asks("Whether the process lives", _json(live={"type": "boolean"}))},
            "/ready": {
                "get": _asks("Whether an event can be kept", _schema(state))
                | {"responses": {code: _answer("Whether it can", _schema(state)) for code in ("200", "503")}}
            },
            "/metrics": {"get": _asks("Prometheus", {"text/plain": {"schema": _TEXT}})},
            "/setup": {"post": _takes("A project's label config", _body(SetupRequest), _json(model_version=_TEXT))},
            "/predict": {
                "post": _takes(
                    "Predictions of tasks", _body(PredictRequest), _json(results={"type": "array", "items": _RESULT})
                )
            },
            "/webhook": {"post": _takes("What happened in Label Studio", _EVENT, _json(status=_TEXT), "201")},
            "/versions": {
                "get": _asks("Versions of predictions, newest first", versions),
                "post": _takes("The same", {"type": "object"}, versions),
            },
            "/api/statistics": {
                "get": _asks("How predictions fared", _schema({"type": "object"}), parameters=[project], may_lack=True)
            },
            "/openapi.json": {"get": _asks("This description", _schema({"type": "object"}))},
        },
    }


def _body(message: type[SetupRequest] | type[PredictRequest]) -> dict[str, Any]:
    """A message's schema in one piece, with the project as Label Studio names it: "id.ts"."""
    schema = message.model_json_schema()
    parts = schema.pop("$defs", {})
    schema["properties"]["project"] = {"anyOf": [_NUMBER, {"type": "string", "pattern": r"^[0-9]{1,18}(\.[0-9]+)?$"}]}
    whole = _with_parts(schema, parts)
    assert isinstance(whole, dict)
    return whole


def _with_parts(schema: Any, parts: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_with_parts(item, parts) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _with_parts(parts[schema["$ref"].rpartition("/")[2]], parts)
    return {name: _with_parts(value, parts) for name, value in schema.items()}


def _json(**fields: Any) -> dict[str, Any]:
    return _schema({"type": "object", "required": list(fields), "properties": fields})


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _answer(text: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": content}


def _refusals(*codes: str) -> dict[str, Any]:
    return {code: _answer(_REFUSALS[code], _schema(_ERROR)) for code in codes}


def _asks(
    text: str, content: dict[str, Any], *, parameters: list[dict[str, Any]] | None = None, may_lack: bool = False
) -> dict[str, Any]:
    lacks = {"404": _answer("There is none.", _schema(_ERROR))} if may_lack else {}
    answers = {"200": _answer(text, content), **lacks, **_refusals("401", "421", "503")}
    return {"summary": text, "parameters": parameters or [], "responses": answers}


def _takes(text: str, body: dict[str, Any], content: dict[str, Any], code: str = "200") -> dict[str, Any]:
    return {
        "summary": text,
        "requestBody": {"required": True, "content": _schema(body)},
        "responses": {code: _answer(text, content), **_refusals(*_REFUSALS)},
    }

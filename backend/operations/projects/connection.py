"""Connect a project of Label Studio to our backend: the ML backend, and the webhook that brings corrections."""

from base64 import b64encode
from typing import Any

import httpx

from labeling.credentials import hide_passwords
from labeling.errors import LabelStudioError
from labeling.label_studio.client import LabelStudioClient
from labeling.settings import Settings
from worker.errors import WorkerError

BACKEND_TITLE = "ARGenSeg"
NEEDED_EVENTS = frozenset(
    {
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_CREATED",
        "ANNOTATIONS_DELETED",
        "TASKS_CREATED",
        "TASKS_DELETED",
        "PROJECT_UPDATED",
    }
)
_TRY_S = 5.0
_FORBIDDEN = 403  # also what Label Studio answers for an address that its settings forbid

ALLOW_PRIVATE_ADDRESSES = (
    "start it with ML_BLOCK_LOCAL_IP=false SSRF_PROTECTION_ENABLED=false label-studio start (in Docker: -e for each)."
    " Where its environment cannot be changed, give the backend a public address (BACKEND_URL), as by a reverse proxy"
)


def connect_backend(client: LabelStudioClient, project: int, url: str, settings: Settings) -> list[str]:
    """Connect a project to the backend at `url` (as Label Studio reaches it); the changes made, in words.

    What is right already is left as it is, and so is the version that annotators see. The backend must be running.
    WorkerError where Label Studio forbids the address, or the backend its name; LabelStudioError for the rest.
    """
    shown = hide_passwords(url)
    if (refusal := refuses_host(settings, url)) is not None:
        raise WorkerError(f"The backend would refuse what Label Studio sends to {shown}. {refusal}")
    require_allowed_address(client, url)
    done = []
    wanted = {"url": url, **_credentials(settings)}
    what = f"Project {project} could not be connected to {shown}"
    old_url = url
    if (backend := find_backend(client, project, url)) is None:
        new = {**wanted, "project": project, "title": BACKEND_TITLE, "is_interactive": True}
        client.call("POST", "/api/ml/", what=what, json=new)
        done.append(f"connected the ML backend {shown}")
    elif backend["url"] != url or not has_credentials(backend, settings):
        old_url = str(backend["url"])
        client.call("PATCH", f"/api/ml/{backend['id']}", what=what, json={**wanted, "project": project})
        is_moved = hide_passwords(old_url) != shown
        moved = f"moved the ML backend from {hide_passwords(old_url)} to {shown}"
        done.append(moved if is_moved else "set the backend's password")
    return done + _connect_webhook(client, project, url, old_url, settings)


def require_allowed_address(client: LabelStudioClient, url: str) -> None:
    """WorkerError if Label Studio's settings forbid a backend at this address. Nothing need run there yet."""
    rules = (("ML_BLOCK_LOCAL_IP", refuses_backend), ("SSRF_PROTECTION_ENABLED", refuses_webhook))
    forbidding = [name for name, refuses in rules if refuses(client, url)]
    if forbidding:
        raise WorkerError(
            f"Label Studio forbids the private address {hide_passwords(url)} ({' and '.join(forbidding)}):"
            f" {ALLOW_PRIVATE_ADDRESSES}."
        )


def find_backend(client: LabelStudioClient, project: int, url: str) -> dict[str, Any] | None:
    """Our ML backend of the project: the one at `url`, else the one of our title; None if there is none."""
    backends = client.list_ml_backends(project)
    at_url = [backend for backend in backends if same_address(backend["url"], url)]
    return next(iter([*at_url, *(backend for backend in backends if backend["title"] == BACKEND_TITLE)]), None)


def find_webhooks(client: LabelStudioClient, project: int, url: str) -> list[dict[str, Any]]:
    """The project's webhooks to the backend at `url`."""
    return [hook for hook in client.list_webhooks(project) if same_address(hook["url"], webhook_url(url))]


def webhook_url(backend_url: str) -> str:
    """Where the backend at this URL takes events."""
    return f"{backend_url.rstrip('/')}/webhook"


def webhook_faults(hook: dict[str, Any], settings: Settings) -> list[str]:
    """What keeps this webhook of ours from bringing all events, in words."""
    faults = [] if hook["is_active"] else ["it is switched off"]
    faults += [] if hook["send_payload"] else ["it sends no payload"]
    missing = NEEDED_EVENTS - set(hook["actions"])
    faults += [f"it does not send {', '.join(sorted(missing))}"] if missing and not hook["send_for_all_actions"] else []
    headers = {name.lower(): value for name, value in (hook["headers"] or {}).items()}
    expected = basic_authorization(settings)
    if expected and headers.get("authorization") != expected and httpx.URL(hook["url"]).userinfo == b"":
        faults.append("it sends no password, or another one than BASIC_AUTH_PASS")
    return faults


def basic_authorization(settings: Settings) -> str | None:
    """The Authorization header that the backend asks of its callers; None if it asks for none."""
    if not (settings.basic_auth_user or settings.basic_auth_pass):
        return None
    password = settings.basic_auth_pass.get_secret_value() if settings.basic_auth_pass else ""
    return f"Basic {b64encode(':'.join((settings.basic_auth_user or '', password)).encode()).decode()}"


def has_credentials(backend: dict[str, Any], settings: Settings) -> bool:
    """Whether the ML backend sends the user that we expect; Label Studio never tells its password."""
    return not basic_authorization(settings) or (
        backend.get("auth_method") == "BASIC_AUTH"
        and (backend.get("basic_auth_user") or "") == (settings.basic_auth_user or "")
        and bool(backend.get("basic_auth_pass_is_set"))
    )


def same_address(one: str, other: str) -> bool:
    """Whether two URLs differ at most in credentials and in a slash at the end."""
    first, second = httpx.URL(one.rstrip("/")), httpx.URL(other.rstrip("/"))
    return first.copy_with(username=None, password=None) == second.copy_with(username=None, password=None)


def refuses_host(settings: Settings, url: str) -> str | None:
    """Why our backend does not answer under the host of this URL, and what allows it; None if it does, or is away."""
    authorization = basic_authorization(settings)
    headers = {"Host": httpx.URL(url).netloc.decode(), **({"Authorization": authorization} if authorization else {})}
    try:
        answer = httpx.get(f"{settings.local_backend_url}/health", headers=headers, timeout=_TRY_S, trust_env=False)
    except httpx.HTTPError:
        return None
    return str(answer.json()["error"]) if answer.status_code == httpx.codes.MISDIRECTED_REQUEST else None


def refuses_backend(client: LabelStudioClient, url: str) -> bool:
    """Whether Label Studio forbids ML backends at this address. Nothing is created: the request lacks credentials."""
    incomplete = {"url": url, "title": BACKEND_TITLE, "auth_method": "BASIC_AUTH"}
    return _is_forbidden(client, "/api/ml/", incomplete)


def refuses_webhook(client: LabelStudioClient, url: str) -> bool:
    """Whether Label Studio forbids webhooks to this address. Nothing is created: the headers sent are no object."""
    return _is_forbidden(client, "/api/webhooks/", {"url": webhook_url(url), "headers": "none"})


def _is_forbidden(client: LabelStudioClient, path: str, incomplete: dict[str, Any]) -> bool:
    try:
        client.call("POST", path, what="An address could not be tried", json=incomplete)
    except LabelStudioError as error:
        if error.status == _FORBIDDEN and "permission" not in str(error):
            return True
        if error.status != 400:
            raise
    return False


def _credentials(settings: Settings) -> dict[str, str]:
    if basic_authorization(settings) is None:
        return {"auth_method": "NONE"}
    password = settings.basic_auth_pass.get_secret_value() if settings.basic_auth_pass else ""
    user = settings.basic_auth_user or ""
    return {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}


def _connect_webhook(client: LabelStudioClient, project: int, url: str, old_url: str, settings: Settings) -> list[str]:
    what = f"The webhook of project {project} could not be set"
    hooks = find_webhooks(client, project, url) or find_webhooks(client, project, old_url)
    if not hooks:
        wanted = {"project": project, "url": webhook_url(url), **_webhook_fields({}, settings)}
        client.call("POST", "/api/webhooks/", what=what, json=wanted)
        return ["added the webhook"]
    hook = hooks[0]
    if same_address(hook["url"], webhook_url(url)) and not webhook_faults(hook, settings):
        return []
    fields = {"url": webhook_url(url), "actions": hook["actions"], **_webhook_fields(hook["headers"] or {}, settings)}
    client.call("PATCH", f"/api/webhooks/{hook['id']}/", what=what, json=fields)
    return ["put the webhook right"]


def _webhook_fields(headers: dict[str, str], settings: Settings) -> dict[str, Any]:
    authorization = basic_authorization(settings)
    kept = {name: value for name, value in headers.items() if name.lower() != "authorization" or not authorization}
    return {
        "is_active": True,
        "send_payload": True,
        "send_for_all_actions": True,
        "headers": {**kept, "Authorization": authorization} if authorization else kept,
    }

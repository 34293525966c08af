"""Names of people: of Label Studio's users for their numbers, and of who sits before our pages."""

from collections.abc import Callable, Mapping

from flask import request

from backend.web.kept import Kept
from backend.web.services import Services
from labeling.label_studio.client import LabelStudioClient

_MAX_AGE_S = 600.0
_LONGEST = 200  # that the store keeps of a name


def make_names(services: Services) -> Callable[[int | None], str]:
    """A function from a user's number to a name, such as "Ada Lovelace"; "Annotator 7" while it is not known."""

    def look_for_names() -> Mapping[int, str]:
        client = LabelStudioClient.from_settings(services.settings)
        if client is None:
            return {}
        try:
            users = client.call("GET", "/api/users/", what="The users could not be read")
            return {int(user["id"]): _name(user) for user in users}
        finally:
            client.close()

    kept: Kept[Mapping[int, str]] = Kept(look_for_names, _MAX_AGE_S, {})

    def name(number: int | None) -> str:
        if number is None:
            return "Somebody"
        return kept.get().get(number) or f"Annotator {number}"

    return name


def who_asks() -> str | None:
    """The user of the page, where the backend asks for one."""
    return ((request.authorization.username or "")[:_LONGEST] or None) if request.authorization else None


def _name(user: Mapping[str, object]) -> str:
    full = " ".join(str(user.get(part) or "") for part in ("first_name", "last_name")).strip()
    return full or str(user.get("email") or user.get("username") or "")

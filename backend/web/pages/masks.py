"""GET /masks: the newest predictions as pictures, by label, score and status."""

from typing import cast

from flask import Blueprint, Response

from backend.web.pages import show
from backend.web.pages.choices import Choices, chosen, chosen_number, chosen_share, task_address, without_paging
from backend.web.pages.layout import link
from backend.web.services import Services
from labeling.store import PredictionFilter, PredictionStatus

_A_PAGE = 24
STATUSES = {  # in the order in which they are offered; kind of badge, name, explanation
    "published": ("good", "sent", "Label Studio has it"),
    "delivered": ("good", "answered", "Label Studio got it when the task was opened"),
    "ready": ("info", "to be sent", "computed, on its way to Label Studio"),
    "postponed_for_draft": ("warn", "waits for a draft", "somebody annotates the task just now"),
    "failed": ("bad", "failed", "there are no masks"),
    "pruned": ("", "replaced", "a newer version's masks took its place"),
}
_SCORES = {"0-0.5": "below 50 %", "0.5-0.8": "50 to 80 %", "0.8-1": "80 % and more"}


def make_blueprint(services: Services) -> Blueprint:
    """The route /masks."""
    pages = Blueprint("masks", __name__, template_folder="templates")

    @pages.get("/masks")
    def page() -> Response:
        choices = Choices.of(services.store)
        before, status = chosen_number("before"), chosen("status")
        least, _, most = (chosen("score") or "").partition("-") if chosen("score") in _SCORES else ("", "", "")
        wanted = PredictionFilter(
            project=choices.project,
            label=chosen("label"),
            status=cast(PredictionStatus, status) if status in STATUSES else None,
            min_score=float(least) if least else chosen_share("min"),
            max_score=float(most) if most else chosen_share("max"),
        )
        found = services.store.gallery.predictions(wanted, before=before, limit=_A_PAGE + 1)
        shown = found[:_A_PAGE]
        older = link("masks.page", **without_paging(before=shown[-1].id)) if len(found) > _A_PAGE else None
        return show(
            "masks.html",
            live_s=None if before else 10,
            choices=choices,
            label=chosen("label"),
            status=status,
            score=chosen("score"),
            is_filtered=bool(without_paging()),
            statuses=STATUSES,
            scores=list(_SCORES.items()),
            predictions=shown,
            newer=link("masks.page", **without_paging()) if before else None,
            older=older,
            task_address=task_address,
        )

    return pages

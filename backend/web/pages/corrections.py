"""/corrections: what annotators changed last, by label, annotator and outcome; what is left out, and taken back."""

from typing import cast

from flask import Blueprint, Response, abort, flash, redirect, request
from werkzeug import Response as WerkzeugResponse

from backend.web.forms import takes_form
from backend.web.pages import show
from backend.web.pages.choices import Choices, all_choices, chosen, chosen_number, task_address, without_paging
from backend.web.pages.layout import link
from backend.web.people import make_names, who_asks
from backend.web.services import Services
from labeling.store import CorrectionKind, Exclusion, ExclusionScope, ShownCorrection, ShownCorrectionFilter
from labeling.store.exclusions import TASK_DELETED

_A_PAGE = 24
_LARGEST = 2**31 - 1
KINDS = {  # kind of badge, what it means
    "accepted": ("good", "left as it was predicted"),
    "edited": ("info", "its shape or label was changed"),
    "deleted": ("bad", "removed: there was nothing"),
    "added": ("warn", "drawn where nothing was predicted"),
}
_SCOPES: dict[ExclusionScope, str] = {
    "region": "this region",
    "annotation": "the whole annotation",
    "task": "the whole task",
    "annotator": "all that this annotator did",
}


def make_blueprint(services: Services) -> Blueprint:
    """The routes /corrections, /corrections/N/leave-out and /corrections/N/take-back."""
    pages = Blueprint("corrections", __name__, template_folder="templates")
    store, name_of = services.store, make_names(services)

    @pages.get("/corrections")
    def page() -> Response:
        choices = Choices.of(store)
        before, kind, use = chosen_number("before"), chosen("outcome"), chosen("use")
        wanted = ShownCorrectionFilter(
            project=choices.project,
            label=chosen("label"),
            annotator_id=chosen_number("annotator"),
            kind=cast(CorrectionKind, kind) if kind in KINDS else None,
            left_out={"in": False, "out": True}.get(use or ""),
        )
        found = store.gallery.corrections(wanted, before=before, limit=_A_PAGE + 1)
        shown = found[:_A_PAGE]
        older = link("corrections.page", **without_paging(before=shown[-1].id)) if len(found) > _A_PAGE else None
        return show(
            "corrections.html",
            live_s=None if before else 10,
            choices=choices,
            label=chosen("label"),
            annotators=[(number, name_of(number)) for number in store.gallery.annotators(choices.project)],
            annotator=chosen_number("annotator"),
            kind=kind,
            kinds=KINDS,
            use=use,
            scopes=list(_SCOPES.items()),
            address=all_choices(),
            is_filtered=bool(without_paging()),
            corrections=shown,
            newer=link("corrections.page", **without_paging()) if before else None,
            older=older,
            name_of=name_of,
            task_address=task_address,
            task_deleted=TASK_DELETED,
        )

    @pages.post(f"/corrections/<int(max={_LARGEST}):number>/leave-out")
    @takes_form
    def leave_out(number: int) -> WerkzeugResponse:
        correction = _find(number)
        scope = cast(ExclusionScope, request.form.get("scope", "region"))
        if scope not in _SCOPES:
            abort(400, "Choose what is to be left out: a region, an annotation, a task or an annotator.")
        reason = request.form.get("reason", "").strip()[:500] or "left out on the page Corrections"
        exclusion = Exclusion(scope, _value(correction, scope), reason, who=who_asks())
        store.exclusions.add(correction.project, exclusion)
        flash(f"Task {correction.task_id}: {_SCOPES[scope]} is left out of training and statistics.", "good")
        return _back(number)

    @pages.post(f"/corrections/<int(max={_LARGEST}):number>/take-back")
    @takes_form
    def take_back(number: int) -> WerkzeugResponse:
        correction = _find(number)
        excluded = correction.excluded
        if excluded is not None and request.form.get("scope", excluded.scope) != excluded.scope:
            flash("Something else is left out here by now: look at the card, and try once more.", "bad")
        elif excluded is not None and store.exclusions.remove(correction.project, excluded.scope, excluded.value):
            flash(f"Task {correction.task_id}: {_SCOPES[excluded.scope]} counts again.", "good")
        else:
            flash("Nothing was left out here that could be taken back.", "bad")
        return _back(number)

    def _find(number: int) -> ShownCorrection:
        correction = store.gallery.correction(number)
        if correction is None:
            abort(404, f"There is no correction {number}, or its annotation has a newer state by now.")
        return correction

    return pages


def _value(correction: ShownCorrection, scope: ExclusionScope) -> str:
    if scope == "region":
        return f"{correction.annotation_id}/{correction.region.region_id}"
    if scope == "annotator" and correction.annotator_id is None:
        abort(400, "It is not known who this annotator was.")
    numbers = {
        "annotation": correction.annotation_id,
        "task": correction.task_id,
        "annotator": correction.annotator_id,
    }
    return str(numbers[scope])


def _back(number: int) -> WerkzeugResponse:
    """To the list as it was, where the correction is."""
    return redirect(f"{link('corrections.page', **all_choices())}#correction-{number}", 303)

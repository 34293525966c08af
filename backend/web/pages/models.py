"""/models: the versions as a family, what the gate said of each, its report, promoting and rolling back."""

from dataclasses import dataclass
from functools import partial

from flask import Blueprint, Response, abort, flash, redirect, request
from werkzeug import Response as WerkzeugResponse

from backend.operations import model_versions
from backend.operations.lineage import Member, look_at_family
from backend.operations.model_versions import BASE, Promoted
from backend.web.forms import takes_form
from backend.web.pages import show
from backend.web.pages.choices import chosen
from backend.web.pages.layout import link
from backend.web.people import who_asks
from backend.web.promotions import Promotions
from backend.web.services import Services
from labeling.errors import StoreError
from labeling.settings import Settings
from labeling.store import Project, Store
from labeling.versions import weights_name
from worker.finetune.progress import run_folder

BADGES = {"candidate": "info", "accepted": "good", "refused": "bad", "deleted": ""}
_ACTIONS = 15
_SHOWN = ("promote", "roll back", "delete", "start", "stop", "schedule")
_PICTURED = 4


@dataclass(frozen=True)
class Card:
    """A version as the page shows it. `pictured`: the items that changed most, as the report has them."""

    member: Member
    report: int | None
    pictured: tuple[dict[str, object], ...]


def make_blueprint(services: Services) -> Blueprint:
    """The routes /models, /models/promote and /models/roll-back; the two write by POST, and GET says what that does."""
    pages = Blueprint("models", __name__, template_folder="templates")
    settings, store, promotions = services.settings, services.store, Promotions()

    @pages.get("/models")
    def page() -> Response:
        last = promotions.last
        return show(
            "models.html",
            live_s=3 if last is not None and last.is_under_way else 20,
            cards=[_card(settings, each) for each in look_at_family(settings, store)],
            base=weights_name(settings.model)[0],
            base_name=BASE,
            last=last,
            actions=[each for each in store.actions.latest(100) if each.action in _SHOWN][:_ACTIONS],
            badges=BADGES,
        )

    @pages.get("/models/promote")
    def plan() -> Response:
        name, project = chosen("version") or "", _project(request.args.get("project", ""))
        try:
            planned = model_versions.plan_promotion(settings, store, name, project)
        except StoreError as error:
            _unless_transient(error)
        return show("promote.html", plan=planned, name=name, project=project, projects=_projects(services))

    @pages.post("/models/promote")
    @takes_form
    def promote() -> WerkzeugResponse:
        name, project = request.form.get("version", "")[:200], _project(request.form.get("project", ""))
        try:
            planned = model_versions.plan_promotion(settings, store, name, project)
        except StoreError as error:
            _unless_transient(error)
        if planned.needs_consent and request.form.get("consent") != "yes":
            flash("Nothing was promoted: tick that you want it all the same.", "bad")
            return redirect(link("models.plan", version=name, **_scope(project)), 303)
        return _start(f"Promote {name} {_where(project)}", partial(_promote, name, project, who_asks() or NOBODY))

    @pages.get("/models/roll-back")
    def plan_roll_back() -> Response:
        project = _project(request.args.get("project", ""))
        return show("roll_back.html", project=project, projects=_projects(services), active=_active(project))

    @pages.post("/models/roll-back")
    @takes_form
    def roll_back() -> WerkzeugResponse:
        project = _project(request.form.get("project", ""))
        active = _active(project)
        if request.form.get("active", active) != active:  # pressed twice, or somebody was faster
            flash(f"Nothing was rolled back: {active} is active {_where(project)} by now.", "bad")
            return redirect(link("models.page"), 303)
        return _start(f"Roll back {_where(project)}", partial(_roll_back, project, who_asks() or NOBODY))

    def _start(what: str, do: partial[Promoted]) -> WerkzeugResponse:
        if promotions.start(what, who_asks() or NOBODY, do):
            flash(f"{what}: under way. Open tasks get their masks first.", "good")
        else:
            flash("Another promotion is under way: wait until it has ended.", "bad")
        return redirect(link("models.page"), 303)

    def _promote(name: str, project: Project | None, who: str) -> Promoted:
        done = model_versions.promote(settings, store, name, project)
        store.actions.add("promote", f"{name}, {_where(project)}", who=who)
        return done

    def _roll_back(project: Project | None, who: str) -> Promoted:
        done = model_versions.roll_back(settings, store, project)
        store.actions.add("roll back", f"to {done.active}, {_where(project)}", who=who)
        return done

    def _active(project: Project | None) -> str:
        version = store.models.active(project)
        return weights_name(settings.model)[0] if version is None else version.name

    def _project(row_id: str) -> Project | None:
        """None for no number; one that makes no sense must not mean all projects."""
        if not row_id:
            return None
        found = store.projects.get(int(row_id)) if row_id.isdecimal() and len(row_id) < 10 else None
        if found is None:
            abort(404, "There is no such project.")
        return found

    return pages


NOBODY = "not signed in"


def _unless_transient(error: StoreError) -> None:
    if error.is_transient:
        raise error
    abort(404, str(error))


def _projects(services: Services) -> list[Project]:
    url = services.settings.label_studio_url
    store: Store = services.store
    return store.projects.all() if url is None else store.projects.of_address(url)


def _scope(project: Project | None) -> dict[str, int]:
    return {} if project is None else {"project": project.id}


def _where(project: Project | None) -> str:
    return "by default" if project is None else f"for {project.name} (project {project.project_id})"


def _card(settings: Settings, member: Member) -> Card:
    run = member.run
    if run is None:
        return Card(member, None, ())
    folder = run_folder(settings, run)
    has_report = (folder / "report.html").is_file()
    changed = ((member.version.report if member.version else None) or {}).get("most_changed") or []
    shown = [each for each in changed if (folder / "live" / "pictures" / f"{each['number']}-truth.jpg").is_file()]
    return Card(member, run.id if has_report else None, tuple(shown[:_PICTURED]))

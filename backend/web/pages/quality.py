"""GET /quality: how predictions fared, over time, by version, label and prompt, with intervals."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from flask import Blueprint, Response, abort, request

from backend.web.pages import show
from backend.web.pages.charts import Chart, Series, over_time
from backend.web.services import Services
from labeling.corrections.intervals import FEWEST
from labeling.corrections.quality import GOOD, SURE, Chosen, Quality, measure_quality
from labeling.store import Project
from labeling.store.base import utc_now

_SPANS = (("7", "7 days"), ("28", "4 weeks"), ("91", "13 weeks"), ("365", "a year"))
_KEPT_S = 20.0  # a page of a large store takes most of a second: who comes back at once gets the same
_KEPT = 16


@dataclass(frozen=True)
class Asked:
    """What the page is to show, as its form names it; empty: all."""

    project: str
    label: str
    version: str
    days: str


def make_blueprint(services: Services) -> Blueprint:
    """The route /quality."""
    pages = Blueprint("quality", __name__, template_folder="templates")
    measured = _Kept()

    @pages.get("/quality")
    def page() -> Response:
        asked = Asked(*(request.args.get(each, "")[:500] for each in ("project", "label", "version", "days")))
        projects = _projects(services)
        meant = [each for each in projects if asked.project in ("", str(each.id))]
        if not meant and asked.project:
            abort(404, "This project is not known: no prediction and no event of it was ever seen.")
        found = measured.get(asked, lambda: _measure(services, meant, asked))
        return show(
            "quality.html",
            live_s=60,
            quality=found,
            charts=make_charts(found),
            asked=asked,
            projects=[(str(each.id), each.name) for each in projects],
            labels=[(each, each) for each in found.labels],
            versions=[(each, each) for each in found.version_names],
            spans=_SPANS,
            blind_share=services.settings.blind_share,
            sure=SURE,
            good=GOOD,
            fewest=FEWEST,
        )

    return pages


def _projects(services: Services) -> list[Project]:
    url = services.settings.label_studio_url
    return services.store.projects.all() if url is None else services.store.projects.of_address(url)


def _measure(services: Services, projects: list[Project], asked: Asked) -> Quality:
    since = utc_now() - timedelta(days=int(asked.days)) if asked.days in dict(_SPANS) else None
    chosen = Chosen(asked.label or None, asked.version or None, since)
    outcomes = services.store.outcomes.of_projects(projects)
    return measure_quality(outcomes, blind_share=services.settings.blind_share, chosen=chosen)


def make_charts(quality: Quality) -> dict[str, Chart]:
    """The page's charts by name."""
    days = [each.name for each in quality.periods]
    paces = quality.paces
    bins = quality.calibration
    return {
        "fates": over_time(
            days,
            quality.period,
            (
                Series.of("accepted", 1, (each.accepted for each in quality.periods)),
                Series.of("edited", 2, (each.edited for each in quality.periods)),
                Series.of("deleted", 3, (each.deleted for each in quality.periods)),
                Series.of("added", 4, (each.added for each in quality.periods)),
            ),
            format="percent",
        ),
        "overlaps": over_time(
            days,
            quality.period,
            (
                Series.of("IoU", 1, (each.iou for each in quality.periods)),
                Series.of("boundary IoU", 2, (each.boundary_iou for each in quality.periods)),
            ),
            format="ratio",
        ),
        "paces": over_time(
            [each.name for each in paces],
            quality.period,
            (
                Series.of("with predictions", 1, (each.assisted_s for each in paces)),
                Series.of("blind slice", 3, (each.blind_s for each in paces)),
            ),
            format="seconds",
            top=None,
        ),
        "calibration": Chart(
            kind="score",
            format="percent",
            x=tuple(each.mean_score for each in bins),
            series=(
                Series.of(f"IoU of at least {GOOD}", 1, (each.good for each in bins)),
                Series.of("kept", 2, (each.kept for each in bins)),
            ),
        ),
    }


class _Kept:
    """What was measured in the last seconds, by what was asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[Asked, tuple[float, Quality]] = {}

    def get(self, asked: Asked, measure: Callable[[], Quality]) -> Quality:
        """What is kept, or what `measure` returns; one at a time, so that many who come at once wait for one answer."""
        with self._lock:
            at, found = self._found.get(asked, (float("-inf"), None))
            if found is None or time.monotonic() - at > _KEPT_S:
                found = measure()
                self._found.pop(asked, None)
                self._found[asked] = time.monotonic(), found
                while len(self._found) > _KEPT:
                    del self._found[next(iter(self._found))]
            return found

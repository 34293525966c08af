"""GET /api/statistics: how predictions fared, for dashboards; `argenseg stats` shows the same as a table."""

from dataclasses import asdict

from flask import Blueprint, Response, abort, jsonify, request

from backend.web.services import Services
from labeling.corrections.statistics import compute_statistics
from labeling.store import CorrectionFilter


def make_blueprint(services: Services) -> Blueprint:
    """The route /api/statistics?project=N; without a project, of all. 404 for a project that was never seen."""
    statistics = Blueprint("statistics", __name__)

    @statistics.get("/api/statistics")
    def show() -> Response:
        url, number = services.settings.label_studio_url, None
        if (asked := request.args.get("project")) is not None:
            number = int(asked[:18]) if asked.isdecimal() else -1
            if services.store.projects.find(number, url) is None:
                abort(404, "This project is not known: no prediction and no event of it was ever seen.")
        wanted = CorrectionFilter(number, label_studio_url=url)
        share = services.settings.blind_share
        return jsonify(asdict(compute_statistics(services.store.annotations.stream(wanted), blind_share=share)))

    return statistics

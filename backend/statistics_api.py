"""GET /api/statistics: how predictions fared, for dashboards; `argenseg stats` shows the same as a table."""

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, request

from backend.services import Services
from labeling.corrections.statistics import compute_statistics
from labeling.store.correction_records import CorrectionFilter


def make_blueprint(services: Services) -> Blueprint:
    """The route /api/statistics?project=N; without a project, of all."""
    statistics = Blueprint("statistics", __name__)

    @statistics.get("/api/statistics")
    def show() -> Response:
        wanted = CorrectionFilter(project_id=request.args.get("project", type=int))
        share = services.settings.blind_share
        return jsonify(asdict(compute_statistics(services.store.list_reviews(wanted), blind_share=share)))

    return statistics

"""/live and /ready: what orchestrators and load balancers ask, without a password.

Ready means that an event of Label Studio can be kept, in the store or in the spool folder. A dead worker or Redis that
is away is reported and changes nothing: the webhook's door stays open, and what comes in waits.
"""

from typing import Any

from flask import Blueprint, Response, jsonify

from backend.web.services import Services
from labeling.store import Store
from labeling.versions import weights_name
from worker.events.spool import probe, spool_folder
from worker.queue.queues import GPU, live_workers

OPEN_PATHS = frozenset({"/live", "/ready"})

_STORE_S = 0.6  # as long as a webhook waits for it
_REDIS_S = 0.5


def make_blueprint(services: Services) -> Blueprint:
    """The routes /live and /ready."""
    health = Blueprint("health", __name__)

    @health.get("/live")
    def live() -> Response:
        return jsonify(live=True)

    @health.get("/ready")
    def ready() -> tuple[Response, int]:
        report = readiness(services)
        return jsonify(report), 200 if report["ready"] else 503

    return health


def readiness(services: Services) -> dict[str, Any]:
    """What works: `ready`, `store`, `spool`, `redis` (bool), `corrections` (in words), `workers` (None: not known) and
    `model` (its name)."""
    store = bool(services.background.call(_STORE_S, _takes_events, services.store))
    spool = probe(spool_folder(services.settings))
    workers = services.background.call(_REDIS_S, live_workers, services.connection, GPU)
    return {
        "ready": store or spool,
        "corrections": "kept" if store or spool else "REFUSED: neither the store nor the spool folder takes one",
        "store": store,
        "spool": spool,
        "redis": workers is not None,
        "workers": workers,
        "model": weights_name(services.settings.model)[0],
    }


def _takes_events(store: Store) -> bool:
    """StoreError if it does not, such as while another writer holds SQLite's lock, or the disk is full."""
    store.events.require_writable()
    return True

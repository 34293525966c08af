"""GET /api/statistics tells what `argenseg stats` does."""

from flask.testing import FlaskClient

from labeling.corrections.events import process_event
from labeling.store import Store
from tests.backend.recorded import recorded


def test_statistics(client: FlaskClient, store: Store) -> None:
    payload = recorded("webhook_annotation_created_corrected_brush")["json"]
    process_event(store, store.record_event(payload["action"], payload, label_studio_url="http://label-studio.test"))
    told = client.get("/api/statistics").json
    assert told["annotations"] == 1
    assert told["time_saved"]["blind_s"]["count"] == 0
    assert client.get("/api/statistics?project=1").json == told
    assert client.get("/api/statistics?project=2").json["annotations"] == 0

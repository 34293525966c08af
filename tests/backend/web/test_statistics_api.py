"""GET /api/statistics tells what `argenseg stats` does."""

from flask.testing import FlaskClient

from labeling.corrections.events import record_corrections
from labeling.store import Store
from tests.backend.web.recorded import recorded


def test_statistics(client: FlaskClient, store: Store) -> None:
    payload = recorded("webhook_annotation_created_corrected_brush")["json"]
    record_corrections(
        store, store.events.record(payload["action"], payload, label_studio_url="http://label-studio.test")
    )
    reported = client.get("/api/statistics").json
    assert reported["annotations"] == 1
    assert reported["time_saved"]["blind_s"]["count"] == 0
    assert client.get("/api/statistics?project=1").json == reported
    store.projects.upsert("http://label-studio.test", 2, "<View/>")
    assert client.get("/api/statistics?project=2").json["annotations"] == 0


def test_a_project_that_was_never_seen(client: FlaskClient) -> None:
    for number in ("99", "nuclei", "-1", "9" * 30, ""):
        answer = client.get(f"/api/statistics?project={number}")
        assert answer.status_code == 404
        assert "not known" in answer.json["error"]

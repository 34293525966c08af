"""What a browser gets of fine-tune runs."""

import json

from flask.testing import FlaskClient

from labeling.settings import Settings
from labeling.store import FinetuneRun, Store
from worker.finetune.learnt_from import LearntFrom
from worker.finetune.progress import run_folder

CONFIG = '<View><Image name="image" value="$image"/><Brush name="brush" toName="image"/></View>'


def begun(store: Store, settings: Settings) -> FinetuneRun:
    """A run of project 3 that somebody drives, with its folder."""
    store.finetunes.request("now", store.projects.upsert("http://label-studio.test", 3, CONFIG))
    run = store.finetunes.claim("me", 60.0)
    assert run is not None
    run_folder(settings, run).mkdir(parents=True)
    return run


def test_without_runs_there_is_a_page(client: FlaskClient) -> None:
    answer = client.get("/finetune")
    assert answer.status_code == 200 and "No training run yet" in answer.text and "data-live" not in answer.text


def test_an_open_run_tells_how_far_it_is(client: FlaskClient, store: Store, settings: Settings) -> None:
    run = begun(store, settings)
    folder = run_folder(settings, run)
    assert "gathers its images" in client.get("/finetune").text
    (folder / "run.json").write_text(json.dumps({"options": {"steps": 300}}))
    assert "learning, step 0 of 300" in client.get("/finetune").text
    (folder / "log.jsonl").write_text('{"step": 0, "giou": 0.1}\n{"step": 40, "codes": 0.5}\n')
    page = client.get("/finetune").text
    assert "learning, step 40 of 300" in page and 'data-live="5"' in page
    answer = client.get(f"/finetune/{run.id}")
    assert answer.status_code == 404 and "learning, step 40 of 300" in answer.json["error"]
    (folder / "finished.json").write_text("{}")
    assert "measured on the holdout" in client.get("/finetune").text


def test_an_ended_run_shows_its_reasons_and_its_report(client: FlaskClient, store: Store, settings: Settings) -> None:
    run = begun(store, settings)
    (run_folder(settings, run) / "report.html").write_text("<h1>the report</h1>")
    learnt_from = LearntFrom(56, 60, 58, 2, 6, 14, "0a1b", 300, {"annotators disagree": 3})
    report = {"gate": {"reasons": ["IoU <worse> than before."]}, "learnt_from": learnt_from.to_json()}
    store.finetunes.end(run.id, "refused", report=report)
    page = client.get("/finetune").text
    assert "learnt from 56 images, 14 held out, 3 left out" in page
    assert "IoU &lt;worse&gt; than before." in page and "stays active" in page and "data-live" not in page
    assert f'href="finetune/{run.id}"' in page
    answer = client.get(f"/finetune/{run.id}")
    assert answer.text == "<h1>the report</h1>" and answer.mimetype == "text/html"
    assert "script" not in answer.headers["Content-Security-Policy"]
    assert client.get("/finetune/99").status_code == 404
    assert client.post("/finetune").status_code == 405

"""The page Quality: what it shows of few and of many corrections, and what it takes from its address."""

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from labeling.settings import Settings
from labeling.store import Store
from tests.backend.web.pages.large_store import fill
from tests.backend.web.pages.seeded import seed

HTML = {"Accept": "text/html"}


def charts(page: str) -> list[dict[str, Any]]:
    return [json.loads(each) for each in re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)]


def test_without_corrections_the_page_says_how_many_are_needed(client: FlaskClient) -> None:
    page = client.get("/quality").text
    assert "No corrections yet" in page and "100 tasks" in page and not charts(page)


def test_figures_and_charts_are_those_of_the_corrections(client: FlaskClient, store: Store) -> None:
    fill(store, tasks=120, regions=6)
    answer = client.get("/quality")
    fates, overlaps, paces, calibration = charts(answer.text)
    assert [each["name"] for each in fates["series"]] == ["accepted", "edited", "deleted", "added"]
    assert (
        fates["kind"] == "time" and fates["period"] == "week" and len(fates["x"]) == len(fates["series"][0]["values"])
    )
    assert len(fates["x"]) == len(overlaps["x"]) == 27 and paces["format"] == "seconds"
    assert all(
        0 <= low <= high <= 1
        for low, high in zip(calibration["series"][0]["low"], calibration["series"][0]["high"], strict=True)
    )
    assert "starter-3.2 · 0718a9" in answer.text and "every gland" in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy


def test_a_chosen_label_and_version_are_all_that_counts(client: FlaskClient, store: Store) -> None:
    fill(store, tasks=120, regions=6)
    page = client.get("/quality", query_string={"label": "stroma", "version": "starter-3 · a1b2c3"}).text
    tables = page[page.index("By model version") :]
    assert "starter-3.2" not in tables and "every nucleus" not in tables and "stroma" in tables
    assert "Too few to be sure" in page or "tasks" in page


def test_few_tasks_say_how_many_are_needed(client: FlaskClient, store: Store, settings: Settings) -> None:
    seed(settings, store)
    page = client.get("/quality").text
    assert re.search(r"Too few to be sure: \d+ tasks so far, and about \d+ are needed", page)
    assert "BLIND_SHARE=0.05" in page  # no slice is held back here


def test_what_people_wrote_is_shown_as_text(client: FlaskClient, store: Store, settings: Settings) -> None:
    project = fill(store, tasks=8, regions=4)
    with store.database.writing() as session:
        session.connection().exec_driver_sql("UPDATE corrections SET prompt = '</script><b>x', label_before = '<i>'")
    store.projects.describe(project, "<u>title", 8)
    page = client.get("/quality").text
    assert "<b>x" not in page and "<i>" not in page and "<u>title" not in page
    assert "&lt;i&gt;" in page and "&lt;u&gt;title" in page


@pytest.mark.parametrize("query", ["project=99", "project=x"])
def test_an_unknown_project_is_not_found(client: FlaskClient, query: str) -> None:
    assert client.get(f"/quality?{query}").status_code == 404


def test_files_of_the_charts_are_served_with_their_licence(
    client: FlaskClient, store: Store, settings: Settings
) -> None:
    seed(settings, store)
    page = client.get("/quality").text
    for name in ("uplot.js", "uplot.css", "charts.js", "charts.css"):
        address = re.search(rf'(?:src|href)="([^"]*{re.escape(name)})"', page)
        assert address is not None and client.get(f"/{address[1]}").status_code == 200, name

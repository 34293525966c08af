"""What all pages share, as a browser gets it."""

import re

import pytest
from flask import Flask, flash
from flask.testing import FlaskClient

from backend.web.pages import layout, show

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def addresses(html: str) -> list[str]:
    """Of scripts, styles and pictures."""
    return re.findall(r'(?:src|href)="([^"]*static/[^"]*)"', html)


@pytest.mark.parametrize(("path", "up"), [("/status", ""), ("/finetune/7", "../"), ("/no/where/else", "../../")])
def test_addresses_are_relative_so_that_a_proxy_may_add_a_path(path: str, up: str, client: FlaskClient) -> None:
    page = client.get(path, headers=BROWSER).text
    assert f'href="{up}status"' in page and "Skip to the content" in page
    assert addresses(page) and all(each.startswith(f"{up}static/") for each in addresses(page))
    assert not re.search(r'(?:src|href|action)="/', page)


def test_static_files_are_kept_by_browsers_until_they_change(client: FlaskClient) -> None:
    for address in addresses(client.get("/status").text):
        answer = client.get(f"/{address}")
        assert answer.status_code == 200 and "immutable" in answer.headers["Cache-Control"]
        assert answer.mimetype in ("text/css", "text/javascript", "image/svg+xml")
    assert client.get("/static/0123456789ab/page.css").status_code == 404


@pytest.mark.parametrize(
    "name", ["../layout.py", "..%2Flayout.py", "%2e%2e/layout.py", "nothing.css", ".", "%00", "x" * 300]
)
def test_static_files_are_those_of_their_folder_only(name: str, client: FlaskClient) -> None:
    assert client.get(f"/static/0123456789ab/{name}").status_code == 404


def test_the_navigation_names_pages_that_exist_and_marks_the_one_that_is_shown(app: Flask) -> None:
    page = app.test_client().get("/status").text
    assert re.findall(r'aria-current="page">(\w+)<', page) == ["Overview"]
    missing = [title for title, endpoint in layout.NAVIGATION if endpoint not in app.view_functions]
    assert not any(f">{title}</a>" in page for title in missing)


def test_a_notice_is_shown_once_and_escaped(app: Flask) -> None:
    app.add_url_rule("/noticed", view_func=lambda: (flash("<b>done</b>", "good"), show("error.html", error="x"))[1])
    client = app.test_client()
    first = client.get("/noticed")
    assert '<p class="notice good">&lt;b&gt;done&lt;/b&gt;</p>' in first.text
    assert "notice good" not in client.get("/status").text


def test_a_page_allows_no_script_and_no_style_but_our_files(client: FlaskClient) -> None:
    page = client.get("/status")
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy and "default-src 'none'" in policy
    assert "style=" not in page.text and "<style" not in page.text
    assert all("src=" in script for script in re.findall(r"<script[^>]*>", page.text))

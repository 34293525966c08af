"""Overview, Masks and Corrections in a real browser: their look, keyboard, live updates, and what they write."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from backend.web.app import create_app
from backend.web.http_server import HttpServer
from labeling.settings import Settings
from labeling.store import Project, ShownCorrectionFilter, Store
from tests.backend.web.conftest import redis_url  # noqa: F401 - a fixture
from tests.backend.web.pages.seeded import draw_task, predict, seed
from tests.backend.web.pages.seeded_training import train, try_prompts
from worker.queue.connection import connect
from worker.queue.queues import GPU
from worker.queue.worker_list import DEVICE, MODEL, note_end

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PAGES = ("status", "masks", "corrections", "quality", "models", "schedule", "prompts", "prompts/1")
WATCH = """() => { window.violations = [];
  document.addEventListener('securitypolicyviolation', event => window.violations.push(event.violatedDirective)); }"""
ALL_DRAWN = "() => [...document.querySelectorAll('.picture img')].every(image => image.naturalWidth > 1)"
IS_WIDER_THAN_SCREEN = "() => document.documentElement.scrollWidth > window.innerWidth"


@dataclass(frozen=True)
class Pages:
    """A backend with two projects and a worker that says of itself what one does."""

    url: str
    store: Store
    project: Project


@pytest.fixture(scope="module")
def pages(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:  # noqa: F811
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("pages"), redis_url=redis_url, label_studio_url="http://label-studio.test"
    )
    connection = connect(settings)
    with (
        Store.open(settings.database_url, settings.blob_url) as store,
        socket.create_server(("127.0.0.1", 0)) as listening,
    ):
        project = seed(settings, store)
        better = train(settings, store, project, "starter-2", passed=True, gain=0.08)
        train(settings, store, project, better, passed=False, gain=0.01)
        try_prompts(store, project, "dark nuclei", "round things; nuclei", tasks=3)
        seed(settings, store, tasks=7, project=5, title="Tissue <i>H&E</i> of the second hospital, with a long title")
        key = "rq:worker:gpu-lab-7-0123"
        said = {"hostname": "lab-7", "pid": 7, "state": "busy", "birth": "2026-11-29T09:00:00.000000Z"}
        connection.hset(key, mapping=said | {MODEL: "starter-2", DEVICE: "cuda:0", "total_working_time": 9000})
        connection.sadd(f"rq:workers:{GPU}", key)
        note_end(connection, key, 7)
        app = create_app(settings, store, connection)
        server = HttpServer(app, listening, threads=8, max_body=10**6)
        threading.Thread(target=server.run, daemon=True).start()
        yield Pages(f"http://127.0.0.1:{listening.getsockname()[1]}", store, project)
        server.task_dispatcher.shutdown(timeout=1)
        app.extensions["argenseg"].background.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """In which nothing may go wrong unseen."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    page = watched(context.new_page())
    yield page
    assert faults(page) == []
    context.close()


def watched(page: Page) -> Page:
    page.add_init_script(f"({WATCH})()")
    page.faults = []  # type: ignore[attr-defined]
    page.on("console", lambda said: page.faults.append(said.text) if said.type in ("error", "warning") else None)  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.faults.append(str(error)))  # type: ignore[attr-defined]
    return page


def faults(page: Page) -> list[str]:
    return [*page.faults, *page.evaluate("() => window.violations ?? []")]  # type: ignore[attr-defined]


def test_what_the_content_policy_forbids_is_seen(pages: Pages, browser: Browser) -> None:
    page = watched(browser.new_page())
    page.goto(f"{pages.url}/status")
    assert faults(page) == []
    page.evaluate("() => document.body.setAttribute('style', 'color: red')")
    page.evaluate(
        "() => document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))"
    )
    page.wait_for_function("() => window.violations.length >= 2")
    assert page.evaluate("() => window.ran") is None and any("style" in fault for fault in faults(page))
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_pages_fit_the_screen_and_can_be_used_by_everybody(
    width: int, scheme: str, pages: Pages, browser: Browser, artifacts: Path
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    for name in PAGES:
        page = watched(context.new_page())
        page.goto(f"{pages.url}/{name}")
        for each in page.locator(".picture img").all():
            each.scroll_into_view_if_needed()
        page.wait_for_function(ALL_DRAWN)
        page.screenshot(path=artifacts / f"{name.replace('/', '-')}-{width}-{scheme}.png", full_page=True)
        assert not page.evaluate(IS_WIDER_THAN_SCREEN), f"{name} is wider than the screen"
        found = [each for each in Axe().run(page).response["violations"] if each["impact"] in ("serious", "critical")]
        said = [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in found]
        assert said == [], f"{name}: {said}"
        assert faults(page) == []
        page.close()
    context.close()


def test_the_keyboard_reaches_the_content_first_and_sees_where_it_is(pages: Pages, page: Page) -> None:
    page.goto(f"{pages.url}/status")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    assert (skip.bounding_box() or {"x": -1})["x"] >= 0
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_the_overview_tells_projects_workers_and_what_needs_attention(pages: Pages, page: Page) -> None:
    page.goto(f"{pages.url}/status")
    card = page.locator("section", has=page.get_by_role("heading", name="Nuclei, plate 7 #3"))
    expect(card.locator("progress")).to_have_attribute("max", "15")
    expect(card.get_by_text("2 failed, with")).to_be_visible()
    worker = page.locator(".worker", has_text="lab-7")
    expect(worker).to_contain_text("starter-2")
    expect(worker).to_contain_text("cuda:0")
    expect(worker).to_contain_text("prediction 7")
    expect(page.locator(".finding", has_text="LABEL_STUDIO_API_KEY not set")).to_be_visible(timeout=30_000)


def test_a_page_brings_itself_up_to_date_without_loading_again(pages: Pages, page: Page) -> None:
    page.goto(f"{pages.url}/status")
    card = page.locator("section", has=page.get_by_role("heading", name="Nuclei, plate 7 #3"))
    had = int(card.locator("progress").get_attribute("value") or 0)
    card.locator("summary").click()
    page.evaluate("() => { window.isSameDocument = true; }")
    row = next(
        pages.store.predictions.get(number)
        for number in (4, 5)
        if pages.store.predictions.get(number).status == "requested"
    )
    predict(pages.store, row, draw_task(row.task_id))
    expect(card.locator("progress")).to_have_attribute("value", str(had + 1), timeout=30_000)
    assert page.evaluate("() => window.isSameDocument") is True
    expect(card.locator("table")).to_be_visible()  # what was opened stays so


def test_a_picture_opens_larger_and_the_keyboard_goes_on_to_the_next(pages: Pages, page: Page) -> None:
    page.goto(f"{pages.url}/masks")
    first, second = page.locator("a[data-zoom]").nth(0), page.locator("a[data-zoom]").nth(1)
    first.click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text(first.get_attribute("data-caption") or "?")
    page.wait_for_function("() => document.querySelector('dialog img').naturalWidth > 400")
    page.keyboard.press("ArrowRight")
    expect(dialog).to_contain_text(second.get_attribute("data-caption") or "?")
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    expect(second).to_be_focused()


def test_a_choice_shows_at_once_what_fits(pages: Pages, page: Page) -> None:
    page.goto(f"{pages.url}/corrections")
    page.get_by_label("Outcome").select_option("added")
    page.wait_for_url("**outcome=added**")
    assert set(page.locator(".caption .split .badge").all_inner_texts()) == {"added"}
    page.get_by_role("link", name="Show all").click()
    assert len(set(page.locator(".caption .split .badge").all_inner_texts())) == 4


def test_a_correction_is_left_out_and_taken_back_on_the_page(pages: Pages, page: Page) -> None:
    page.goto(f"{pages.url}/corrections")
    number = pages.store.gallery.corrections(ShownCorrectionFilter())[0].id
    card = page.locator(f"#correction-{number}")
    card.locator("summary").click()
    card.get_by_label("Why").fill("blurred <b>")
    card.get_by_role("button", name="Leave out of training").click()
    expect(page.get_by_role("status")).to_contain_text("this region is left out")
    expect(card).to_contain_text("blurred <b>")
    card.get_by_role("button", name="Take back").click()
    expect(page.get_by_role("status")).to_contain_text("counts again")
    expect(card.get_by_text("left out", exact=True)).to_have_count(0)
    assert pages.store.exclusions.of_project(pages.project) == []


def test_a_backend_that_is_away_is_told_and_what_was_there_stays(pages: Pages, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{pages.url}/status")
    context.set_offline(True)
    page.wait_for_function("() => document.documentElement.classList.contains('stale')", timeout=60_000)
    expect(page.get_by_text("Nuclei, plate 7")).to_be_visible()
    context.set_offline(False)
    page.wait_for_function("() => !document.documentElement.classList.contains('stale')", timeout=60_000)
    context.close()

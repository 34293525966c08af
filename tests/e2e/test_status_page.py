"""The status page in a real browser: counts and failures of a real run, and a label config that cannot work."""

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from backend.console.demo.sample_project import label_config
from tests.e2e.label_studio_api import RunningDemo, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

WITHOUT_MASKS = (
    '<View><Image name="image" value="$image"/><Choices name="c" toName="image"><Choice value="a"/></Choices></View>'
)
S = 1000.0  # milliseconds


def test_a_person_sees_what_is_under_way_what_failed_and_what_cannot_work(
    demo: RunningDemo, browser_context: BrowserContext, artifacts: Path
) -> None:
    api = demo.label_studio
    project = api.create_project("Status page", label_config())
    api.connect(project, demo.backend_url)
    api.import_images(project, ["culture_12", "culture_05"])
    broken = [{"image": "data:image/png;base64,AAAA"}]
    api.call("POST", f"/api/projects/{project}/import", json=broken)

    page = browser_context.new_page()
    page.goto(demo.backend_url)  # the front page leads a browser there
    expect(page).to_have_url(f"{demo.backend_url}/status")
    ours = page.locator("section", has=page.get_by_role("heading", name=f"Status page #{project}", exact=True))
    expect(ours.get_by_text("failed, with")).to_be_visible(timeout=300 * S)  # the page brings itself up to date
    expect(ours.locator("li").first).to_contain_text("image")
    expect(ours.get_by_text("2 of 3 tasks have masks")).to_be_visible(timeout=300 * S)
    expect(ours.locator("progress")).to_have_attribute("value", "2")
    expect(ours.get_by_text("under way")).to_have_count(0, timeout=60 * S)
    expect(page.get_by_text("1 worker,")).to_be_visible()
    ours.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("Status page: 1 task asked for again.")).to_be_visible()
    expect(ours.get_by_text("failed, with")).to_be_visible(timeout=300 * S)

    api.call("PATCH", f"/api/projects/{project}", json={"label_config": WITHOUT_MASKS})
    problem = ours.locator(".problem").filter(has_text="no tag that can hold a mask")
    wait_for("the label config's problem", lambda: page.reload() is not None and problem.count() > 0)
    page.screenshot(path=artifacts / "status-page.png", full_page=True)
    assert len(api.predictions(api.task_ids(project)[0])) == 1, "the mask that was there is there no more"
    page.close()

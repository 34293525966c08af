"""Label Studio's settings page of a project's models."""

from playwright.sync_api import Page


def start_training(page: Page, label_studio_url: str, project: int) -> None:
    """Press Start Training in the menu of the project's only ML backend, and once more where it asks."""
    page.goto(f"{label_studio_url}/projects/{project}/settings/ml")
    page.get_by_label("Machine learning model options").click()
    page.get_by_text("Start Training", exact=True).click()
    with page.expect_response(lambda response: response.url.endswith("/train")) as answer:
        page.get_by_role("button", name="Start Training").click()
    assert answer.value.ok

"""Images behind the real Label Studio's login, with both kinds of tokens."""

from pathlib import Path

import httpx
import jwt
import pytest

from backend.console.demo.sample_project import NUCLEI
from labeling.errors import ImageFetchError, LabelStudioError
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.images import fetch_image
from labeling.settings import Settings
from tests.e2e.label_studio_api import RunningDemo, wait_for
from tests.e2e.test_label_studio import IMAGES, OTHER_CONFIG

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture(scope="module")
def reference(demo: RunningDemo) -> tuple[int, str]:
    """A task and what its data says of its image, an upload."""
    api = demo.label_studio
    (task,) = api.import_images(api.create_project("images", OTHER_CONFIG), IMAGES[:1])
    return task, api.call("GET", f"/api/tasks/{task}")["data"]["image"]


@pytest.fixture(scope="module")
def personal_access_token(demo: RunningDemo) -> str:
    enabled = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}
    demo.label_studio.call("POST", "/api/jwt/settings", json=enabled)
    return str(demo.label_studio.call("POST", "/api/token/")["token"])


def test_an_upload_comes_with_either_token(demo, reference, personal_access_token, settings) -> None:
    task, image = reference
    assert image.startswith("/data/upload/")
    original = NUCLEI.images()[IMAGES[0]]
    for token in (demo.label_studio.token, personal_access_token):
        client = LabelStudioClient(demo.label_studio.url, token)
        assert client.get_task(task)["data"]["image"] == image
        for where in (image, demo.label_studio.url + image):
            fetched = fetch_image(where, client, settings.model_copy(update={"image_reuse_s": 0.0}))
            assert fetched.read_bytes() == original
        client.close()


def test_a_spoiled_access_token_is_exchanged_again(demo, reference, personal_access_token, settings) -> None:
    client = LabelStudioClient(demo.label_studio.url, personal_access_token)
    access = client.authorization().removeprefix("Bearer ")
    claims = jwt.decode(access, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 300
    client.auth._access_token = jwt.encode(
        claims, "k" * 32, "HS256"
    )  # what a restarted server with new keys makes of it
    assert fetch_image(reference[1], client, settings).is_file()
    client.close()


def test_without_a_token_it_is_refused(demo, reference, settings) -> None:
    client = LabelStudioClient(demo.label_studio.url, "0" * 40)
    with pytest.raises(LabelStudioError, match="LABEL_STUDIO_API_KEY"):
        client.get_task(reference[0])
    with pytest.raises(ImageFetchError, match=r"LABEL_STUDIO_API_KEY|token"):
        fetch_image(reference[1], client, settings)
    client.close()


def test_what_no_storage_holds_is_said(demo, reference, settings) -> None:
    client = LabelStudioClient(demo.label_studio.url, demo.label_studio.token)
    with pytest.raises(ImageFetchError, match="no storage that is connected"):
        fetch_image("s3://bucket/a.png", client, settings, task_id=reference[0])
    with pytest.raises(ImageFetchError, match="no storage that is connected"):
        fetch_image("/data/local-files/?d=a.png", client, settings)
    client.close()


def test_an_image_of_a_local_storage_is_fetched_behind_the_login_and_predicted(demo, settings) -> None:
    """A folder that is connected as Settings > Cloud Storage > Local files does it; syncing makes the tasks."""
    api = demo.label_studio
    folder = demo.data_dir.parent / "label-studio" / "local-files" / "cells"
    folder.mkdir(parents=True)
    content = NUCLEI.images()[IMAGES[0]]
    (folder / "a cell.png").write_bytes(content)
    project = api.create_project("local files", OTHER_CONFIG)
    api.connect(project, demo.backend_url)
    body = {"project": project, "title": "cells", "path": str(folder), "use_blob_urls": True}
    storage = api.call("POST", "/api/storages/localfiles/", json=body)["id"]
    api.call("POST", f"/api/storages/localfiles/{storage}/sync")
    (task,) = wait_for("the storage's task", lambda: api.task_ids(project))
    image = api.call("GET", f"/api/tasks/{task}")["data"]["image"]
    assert "/data/local-files/?d=cells" in image
    assert httpx.get(image, trust_env=False).status_code in (401, 403)
    client = LabelStudioClient(api.url, api.token)
    assert fetch_image(image, client, settings).read_bytes() == content
    client.close()
    (prediction,) = wait_for("the masks of the storage's task", lambda: api.predictions(task))
    assert prediction["result"]

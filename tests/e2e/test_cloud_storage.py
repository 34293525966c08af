"""Images of a bucket that is connected to a project as Settings > Cloud Storage > Amazon S3 does it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from argenseg_model.metrics import iou
from backend.console.demo.sample_project import NUCLEI
from labeling.errors import ImageFetchError
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.images import fetch_image
from labeling.regions.kinds import region_mask
from labeling.settings import Settings
from tests.e2e.label_studio_api import LabelStudioApi, RunningDemo, wait_for
from tests.e2e.s3_bucket import KEY_ID, REGION, SECRET, Bucket
from tests.e2e.test_bulk import argenseg
from tests.e2e.test_label_studio import IMAGES, MIN_IOU, OTHER_CONFIG

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

KEY = "cells/a cell ü+1 & #2.png"
GONE = "cells/gone.png"


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with Bucket("slides").running() as bucket:
        bucket.put(KEY, image_file(0))
        yield bucket


def image_file(number: int) -> bytes:
    return NUCLEI.images()[IMAGES[number]]


def connect_bucket(api: LabelStudioApi, project: int, bucket: Bucket, *, presign: bool) -> None:
    """Its sync makes a task of each object."""
    body = {
        **{"project": project, "title": "slides", "bucket": bucket.name, "prefix": "cells", "regex_filter": ".*a cell"},
        **{"s3_endpoint": bucket.url, "region_name": REGION, "presign": presign, "presign_ttl": 1},
        **{"aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET, "use_blob_urls": True},
    }
    storage = api.call("POST", "/api/storages/s3", json=body)["id"]
    api.call("POST", f"/api/storages/s3/{storage}/sync")


@pytest.mark.parametrize("presign", [True, False], ids=["by signed links", "through Label Studio"])
def test_an_image_of_a_bucket_is_predicted(demo: RunningDemo, bucket: Bucket, presign: bool) -> None:
    api, before = demo.label_studio, len(bucket.linked)
    project = api.create_project("bucket", OTHER_CONFIG)
    api.connect(project, demo.backend_url)
    connect_bucket(api, project, bucket, presign=presign)
    (task,) = wait_for("the storage's task", lambda: api.task_ids(project))
    (prediction,) = wait_for("the masks of the storage's task", lambda: api.predictions(task))
    assert iou(region_mask(prediction["result"][0]), NUCLEI.truth(IMAGES[0])) > MIN_IOU
    wait_for("the row", lambda: demo.store.progress.counts(project) == {"published": 1})
    assert bucket.linked[before:] == ([KEY] if presign else [])


@pytest.mark.parametrize(
    ("presign", "reason"),
    [(True, "127.0.0.1 answered 404. It is gone."), (False, "127.0.0.1 answered 424. Label Studio got no file")],
    ids=["by signed links", "through Label Studio"],
)
def test_an_object_that_is_not_there_fails_until_it_is(
    demo: RunningDemo, bucket: Bucket, presign: bool, reason: str
) -> None:
    api, key = demo.label_studio, f"{presign}/{GONE}"
    reference = f"s3://{bucket.name}/{key}"
    project = api.create_project("gone", OTHER_CONFIG)
    connect_bucket(api, project, bucket, presign=presign)
    api.connect(project, demo.backend_url)
    before = set(api.task_ids(project))
    api.call("POST", f"/api/projects/{project}/import", json=[{"image": reference}])
    (task,) = wait_for("the task", lambda: set(api.task_ids(project)) - before)
    wait_for("the failure", lambda: demo.store.progress.counts(project) == {"failed": 1})
    reported = " ".join(argenseg(demo, "predict", "--project", str(project), "--failed").split())
    assert reason in reported and f"(task {task})" in reported
    log = (demo.data_dir.parent / "logs" / "demo.log").read_text(errors="replace")
    assert reason in log
    assert not [secret for secret in (SECRET, "X-Amz-", demo.label_studio.token) if secret in reported + log]

    bucket.put(key, image_file(1))
    argenseg(demo, "predict", "--project", str(project), "--retry-failed")
    (prediction,) = wait_for("its masks", lambda: api.predictions(task))
    wait_for("the row", lambda: not demo.store.progress.counts(project).get("ready"))
    record = demo.store.projects.find(project, api.url)
    assert record is not None and demo.store.images.of_tasks(record, [task])[task].reference == reference
    argenseg(demo, "corrections", "sync", "--project", str(project), "--all")
    counts = demo.store.progress.counts(project)
    assert sum(counts.values()) == 1 and counts.keys() <= {"published", "delivered"}, "it is no other image now"
    assert [each["id"] for each in api.predictions(task)] == [prediction["id"]]


def test_a_bucket_in_a_private_network_is_refused_unless_it_is_allowed(
    demo: RunningDemo, bucket: Bucket, tmp_path: Path
) -> None:
    api, before = demo.label_studio, len(bucket.linked)
    project = api.create_project("private", OTHER_CONFIG)
    connect_bucket(api, project, bucket, presign=True)
    (task,) = wait_for("the storage's task", lambda: api.task_ids(project))
    client = LabelStudioClient(api.url, api.token)
    reference = client.get_task(task)["data"]["image"]
    assert reference == f"s3://{bucket.name}/{KEY}", "what webhooks and /predict call it, too"
    settings = Settings(data_dir=tmp_path, allow_private_image_hosts=False)
    with pytest.raises(ImageFetchError, match="ALLOW_PRIVATE_IMAGE_HOSTS") as refused:
        fetch_image(reference, client, settings, task_id=task)
    assert "X-Amz-" not in str(refused.value) and len(bucket.linked) == before
    allowed = settings.model_copy(update={"allow_private_image_hosts": True})
    assert fetch_image(reference, client, allowed, task_id=task).read_bytes() == image_file(0)
    client.close()

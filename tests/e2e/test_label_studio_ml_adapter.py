"""label-studio-ml 1.0.9 with our model in it, beside the demo's worker and publisher, behind the real Label Studio."""

import pytest

from tests.e2e.label_studio_api import RunningDemo, wait_for
from tests.e2e.test_label_studio import IMAGES, OTHER_CONFIG
from tests.label_studio_ml_server import label_studio_ml_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def test_connect_open_one_and_retrieve_many(demo: RunningDemo) -> None:
    api = demo.label_studio
    environment = {
        "ARGENSEG_DATA_DIR": str(demo.data_dir),
        "LABEL_STUDIO_URL": api.url,
        "LABEL_STUDIO_API_KEY": api.token,
        "PREDICT_WAIT_S": "60",
    }
    with label_studio_ml_server(environment) as url:
        project = api.create_project("label-studio-ml", OTHER_CONFIG)
        first, *others = api.import_images(project, IMAGES)  # before it is connected: no webhook tells of them
        backend = api.connect(project, url)
        version = api.call("GET", f"/api/ml/{backend}")["model_version"]
        assert " · " in version
        (opened,) = api.call("GET", f"/api/tasks/{first}", params={"project": project})["predictions"]
        assert opened["model_version"] == version and opened["result"]
        api.retrieve_predictions(project)
        for task in others:
            (pushed,) = wait_for(f"the pushed masks of task {task}", lambda task=task: api.predictions(task))
            assert pushed["model_version"] == version and pushed["result"]
        assert len(api.predictions(first)) == 1

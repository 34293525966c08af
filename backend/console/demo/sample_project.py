"""The sample projects: made once, connected to our backend, pre-annotated through the queue; all repeatable."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from backend.console.demo import pictures
from backend.console.demo.pictures import DrawnPicture, Picture
from backend.operations.projects.connection import BACKEND_TITLE, connect_backend
from labeling.errors import LabelStudioError
from labeling.label_studio.client import LabelStudioClient
from labeling.settings import Settings

_COLOURS = ("#00c8ff", "#ffb000", "#ff5fa2", "#7ce38b")
_HIDDEN_COLUMNS = [  # of the Data Manager; the same as in the view that Label Studio makes itself
    *("tasks:inner_id", "tasks:annotations_results", "tasks:annotations_ids", "tasks:predictions_results"),
    *("tasks:file_upload", "tasks:storage_filename", "tasks:created_at", "tasks:updated_at", "tasks:updated_by"),
    *("tasks:avg_lead_time", "tasks:draft_exists", "tasks:predictions_model_versions"),
]
_HIDDEN_BESIDE_A_TASK = [
    *("tasks:id", "tasks:completed_at", "tasks:cancelled_annotations", "tasks:total_predictions", "tasks:annotators"),
    "tasks:predictions_score",
]


@dataclass(frozen=True)
class Sample:
    """The pictures of a project, its title and its label config. What a missing package ships is left out."""

    title: str
    pictures: tuple[Picture, ...]
    label_config: str

    @cached_property
    def _shown(self) -> dict[str, Picture]:
        return {each.id: each for each in self.pictures if isinstance(each, DrawnPicture) or each.path is not None}

    @property
    def ids(self) -> list[str]:
        """The images' ids, in the order of the tasks: those to be worked on first."""
        return list(self._shown)

    def images(self) -> dict[str, bytes]:
        """The images' PNG files by id, in the order of the tasks. Drawn once."""
        return self._images

    @cached_property
    def _images(self) -> dict[str, bytes]:
        return {image_id: picture.png() for image_id, picture in self._shown.items()}

    def truth(self, image_id: str) -> NDArray[np.bool_] | None:
        """The nuclei of an image, (height, width) bool; None of a real picture, of which nobody knows them."""
        picture = self._shown[image_id]
        return picture.truth() if isinstance(picture, DrawnPicture) else None


def label_config(
    header: str = "Nuclei",
    prompts: Mapping[str, str] | None = None,
    typed: str = "the largest nucleus",
    *,
    instances: bool = False,
) -> str:
    """A label config of brush labels with their prompts, by label (nuclei), and a text field for typed prompts, both
    above the image. `typed`: what it suggests. `instances`: a region for each object, which can be chosen, deleted and
    counted.
    """
    prompts = {"Nucleus": "all nuclei"} if prompts is None else prompts
    colours = itertools.cycle(_COLOURS)
    labels = "\n".join(
        f"    <Label value={quoteattr(label)} prompt={quoteattr(prompt)} background={quoteattr(next(colours))}/>"
        for label, prompt in prompts.items()
    )
    each_object = ' instances="true" min_area="20"' if instances else ""
    hint = f"Type what to segment, such as: {typed} (Auto-Annotation on), then press Add"
    return f"""<View>
  <Header value={quoteattr(f"{header}: correct masks with brush and eraser, then submit. Or type what to segment:")}
    size="5"/>
  <TextArea name="prompt" toName="image" editable="true" rows="1" showSubmitButton="true"
    placeholder={quoteattr(hint)}/>
  <BrushLabels name="mask" toName="image"{each_object}>
{labels}
  </BrushLabels>
  <Image name="image" value="$image" zoom="true" zoomControl="true" brightnessControl="true" contrastControl="true"/>
</View>
"""


NUCLEI = Sample("Nuclei: masks by ARGenSeg", (*pictures.CULTURES, *pictures.NUCLEI), label_config(instances=True))


def photographs() -> list[Sample]:
    """Photographs on which the shipped model draws something well, of the packages that are installed.

    A project for each: a small model that is asked for all their names on all of them finds some that are not there.
    """
    shown = [each for each in pictures.PHOTOGRAPHS if each.path]
    return [
        Sample(f"Photograph: {each.prompt}", (each,), label_config("Photograph", {each.label: each.prompt}, each.typed))
        for each in shown
        if each.label and each.prompt and each.typed
    ]


def is_holdout(image_id: str) -> bool:
    """Whether an image is one that models are measured on."""
    return image_id.startswith("holdout_")


@dataclass(frozen=True)
class SampleTask:
    """A task of a sample project. `image_id` names the sample's image and its truth."""

    id: int
    image_id: str
    is_annotated: bool


class SampleProject:
    """A sample project of one Label Studio, through its HTTP API. Errors are LabelStudioError."""

    def __init__(self, label_studio_url: str, token: str, sample: Sample = NUCLEI) -> None:
        self.sample = sample
        self._client = LabelStudioClient(label_studio_url, token, timeout_s=120.0)

    def close(self) -> None:
        self._client.close()

    @cached_property
    def id(self) -> int:
        """Label Studio's number of the project, which is created when it is missing."""
        found = self._call("GET", "/api/projects/", params={"title": self.sample.title})["results"]
        if exact := [project for project in found if project["title"] == self.sample.title]:
            return int(exact[0]["id"])
        project = {"title": self.sample.title, "label_config": self.sample.label_config}
        return int(self._call("POST", "/api/projects/", json=project | {"show_collab_predictions": True})["id"])

    def import_images(self, *, only_first: bool = False) -> None:
        """Upload the sample's images, in one request, if the project has no task yet: what people changed stays. The
        first one can be uploaded before, alone.
        """
        if (there := self.task_count()) > (0 if only_first else 1):
            return
        images = list(self.sample.images().items())[there : 1 if only_first else None]
        files = [(f"{name}.png", (f"{name}.png", image, "image/png")) for name, image in images]
        if not files:
            return
        self._call("POST", f"/api/projects/{self.id}/import", files=files)

    def create_view(self) -> None:
        """Make the Data Manager's first view, if there is none.

        Otherwise Label Studio 1.23 makes it when the first page is opened; if that page is a task's, the task is loaded
        twice then, and now and then its masks are gone after the second time until the page is loaded again.
        """
        if not self._call("GET", "/api/dm/views", params={"project": self.id}):
            hidden = {"explore": _HIDDEN_COLUMNS, "labeling": [*_HIDDEN_COLUMNS, *_HIDDEN_BESIDE_A_TASK]}
            view = {"title": "Default", "type": "list", "target": "tasks", "hiddenColumns": hidden}
            self._call("POST", "/api/dm/views/", json={"project": self.id, "data": view})

    def connect_backend(self, backend_url: str, settings: Settings) -> None:
        """Connect the ML backend, for typed prompts too, and its webhook; an earlier start may have had other ports."""
        connect_backend(self._client, self.id, backend_url, settings)

    def retrieve_predictions(self) -> None:
        """What "Retrieve Predictions" does for all tasks: one /predict for those that lack the current version."""
        selection = {"ordering": [], "selectedItems": {"all": True, "excluded": []}}
        action = {"id": "retrieve_tasks_predictions", "project": self.id}
        self._call("POST", "/api/dm/actions", params=action, json=selection)

    def model_version(self) -> str:
        """The version that the backend's /setup reported to Label Studio."""
        backends = self._client.list_ml_backends(self.id)
        versions = [backend["model_version"] for backend in backends if backend["title"] == BACKEND_TITLE]
        if not versions or not versions[0]:
            raise LabelStudioError("Label Studio does not know the backend's model version: is the backend running?")
        return str(versions[0])

    def task_count(self) -> int:
        """How many tasks the project holds."""
        return int(self._project()["task_number"])

    def predicted(self, model_version: str) -> int:
        """How many predictions of `model_version` the project holds."""
        return self._client.prediction_counts(self.id).get(model_version, 0)

    def pin(self, model_version: str) -> None:
        """Show annotators the masks of `model_version`, whatever becomes of the backend.

        While the project follows the backend "live" (the default), masks vanish from the page as soon as /setup fails
        or tells a new version. A task without any prediction asks /predict when it is opened, pinned or not.
        """
        if self._project()["model_version"] != model_version:
            self._client.change_project(self.id, model_version=model_version)

    def tasks(self) -> list[SampleTask]:
        """The tasks with the sample's images; tasks that somebody added are left out."""
        shown = set(self.sample.ids)
        listed = self._call("GET", "/api/tasks", params={"project": self.id, "page_size": 1000})["tasks"]
        named = [
            SampleTask(int(task["id"]), _image_id(task["data"]["image"]), bool(task["total_annotations"]))
            for task in listed
        ]
        return [task for task in named if task.image_id in shown]

    def task(self, task_id: int) -> dict[str, Any]:
        """A task as Label Studio's API gives it, with its predictions."""
        task: dict[str, Any] = self._call("GET", f"/api/tasks/{task_id}")
        return task

    def annotate(self, task_id: int, annotation: dict[str, Any]) -> int:
        """Submit an annotation; its id."""
        return int(self._call("POST", f"/api/tasks/{task_id}/annotations/", json=annotation)["id"])

    def _project(self) -> dict[str, Any]:
        project: dict[str, Any] = self._call("GET", f"/api/projects/{self.id}")
        return project

    def _call(self, method: str, path: str, **request: Any) -> Any:
        return self._client.call(method, path, what=f"The sample project's {method} {path} failed", **request)


def _image_id(reference: str) -> str:
    """`culture_12` of `/data/upload/1/96360b92-culture_12.png`."""
    return reference.rpartition("/")[2].rpartition("-")[2].removesuffix(".png")

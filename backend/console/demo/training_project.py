"""The training project: tissue that an antibody marks brown, which the starter never saw and takes for nuclei. A person
corrects a little of it and trains on that.

Half of its images are corrected beforehand, with the known truth. They are the holdout that the gate needs before it
decides anything: models are measured on them and never learn from them.
"""

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

from argenseg_model.images import load_image
from backend.console.demo import pictures
from backend.console.demo.sample_project import Sample, SampleProject, SampleTask, is_holdout, label_config
from labeling.datasets.perceptual_hash import perceptual_hash
from labeling.prompts.label_config import parse_label_config
from labeling.regions.kinds import draw_regions, region_dict
from labeling.store import ImageSplit, Store

_OPEN, _HOLDOUT = ([each for each in pictures.TISSUE if is_holdout(each.id) == side] for side in (False, True))
TISSUE = Sample(
    "Tissue: correct some, then Start Training",
    (*_OPEN, *pictures.IMMUNOHISTOCHEMISTRY, *_HOLDOUT),
    label_config("Nuclei, not what is brown"),
)


def place_tissue(store: Store) -> None:
    """Say which side the tissue's images are on, before it is drawn: from what a person corrects models learn."""
    store.datasets.place_images(_missing_splits)


def submit_holdout(project: SampleProject, model_version: str) -> None:
    """Submit the truth of the holdout's tasks as an annotator would, where it was not; a star marks them in Label
    Studio as ground truth.
    """
    for task in project.tasks():
        if is_holdout(task.image_id) and not task.is_annotated:
            project.annotate(task.id, true_annotation(project, task, model_version) | {"ground_truth": True})


def true_annotation(project: SampleProject, task: SampleTask, model_version: str) -> dict[str, Any]:
    """An annotation for the API: the predicted mask painted right, or a new one where nothing was predicted.

    Only of drawn images: of others nobody knows the truth (ValueError).
    """
    if (truth := project.sample.truth(task.image_id)) is None:
        raise ValueError(f"nobody knows the truth of image {task.image_id}")
    predictions = [each for each in project.task(task.id)["predictions"] if each["model_version"] == model_version]
    predicted = next((region for prediction in predictions for region in prediction["result"]), None)
    control = parse_label_config(project.sample.label_config).controls[0]
    (drawn,) = draw_regions(control.type, truth)
    region = region_dict(
        drawn,
        kind=control.type,
        label=control.labels[0].label,
        from_name=control.name,
        to_name=control.to_name,
        score=predicted["score"] if predicted else None,
        region_id=predicted["id"] if predicted else uuid.uuid4().hex[:10],
    )
    region["origin"] = "prediction-changed" if predicted else "manual"
    return {"result": [region], "parent_prediction": predictions[0]["id"] if predictions else None}


def _missing_splits(known: Sequence[ImageSplit]) -> list[ImageSplit]:
    placed = {each.sha256 for each in known}
    splits = [_split(image_id, content) for image_id, content in TISSUE.images().items()]
    return [split for split in splits if split.sha256 not in placed]


def _split(image_id: str, content: bytes) -> ImageSplit:
    sha256 = hashlib.sha256(content).hexdigest()
    side = "holdout" if is_holdout(image_id) else "train"
    return ImageSplit(sha256, perceptual_hash(load_image(content)), f"p-{sha256[:16]}", side)

"""What a trained starter's scores mean, and how sure it must be of an answer: found on pictures that were kept back.

    python -m recipes.starter.calibrate --photos DIR --nuclei DIR --model runs/starter/model --plot scores.svg

Writes `least_score`, `least_scores` and `score_curves` into the model's config.json, prints how far the scores were
and are from what they say (expected calibration error, each picture judged by curves that were fitted without it), and
draws it. Pictures are the split "validation", scenes have a seed of their own: no test picture is looked at.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from argenseg_model.metrics import iou
from argenseg_model.model import ARGenSeg
from argenseg_model.scenes import scene_sample
from argenseg_model.score_calibration import DRAWN, EMPTY, GOOD_IOU, KINDS, chance, evidence, kind_of
from argenseg_model.segmentation import SegmentationResult
from argenseg_model.training.calibration import VALIDATION_SEED, best_threshold
from recipes.starter.asking import nonsense
from recipes.starter.evaluate import words_of
from recipes.starter.names import NAMES, SETS, surely_absent
from recipes.starter.pictures import NUCLEI, Picture, microscope_images, photographs

MOST = 0.35
"""No higher: a model that has forgotten names must not empty what it has learnt instead."""
LEAST_ANSWERS, FOLDS, BINS = 25, 5, 10
SCENE_SIDE, ABSENT_SHARE = 64, 0.25
_Asked = tuple[NDArray[np.uint8], list[str], list[NDArray[np.bool_]]]


@dataclass(frozen=True)
class Answered:
    """An answer, judged: with which picture it came, of which kind the prompt is, and both ways to look at it.

    Attributes:
        kept: IoU of what was drawn; emptied: of nothing at all.
        certainty: of the model; drawn, empty: features of both (score_calibration.evidence).
    """

    picture: int
    kind: str
    certainty: float
    kept: float
    emptied: float
    is_drawn: bool
    drawn: list[float]
    empty: list[float]

    def iou(self, least: dict[str, float]) -> float:
        return self.kept if self.certainty >= least[self.kind] else self.emptied

    def curve(self, least: dict[str, float]) -> str:
        return f"{self.kind} {DRAWN if self.is_drawn and self.certainty >= least[self.kind] else EMPTY}"

    def features(self, least: dict[str, float]) -> list[float]:
        return self.drawn if self.curve(least).endswith(DRAWN) else self.empty


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of COCO sets, each with images/, train.json")
    parser.add_argument("--nuclei", type=Path, required=True, help="folder with manifest.csv, images/, instances/")
    parser.add_argument("--model", type=Path, required=True, help="a model folder")
    parser.add_argument("--images", type=int, default=12, help="of each set (default %(default)s)")
    parser.add_argument("--scenes", type=int, default=400, help="(default %(default)s)")
    parser.add_argument("--plot", type=Path, help="an .svg or .png of how far scores can be believed")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = ARGenSeg.from_pretrained(arguments.model)
    model.config.least_score, model.config.least_scores, model.config.score_curves = 0.0, None, None
    asked = _asked(arguments.photos, arguments.nuclei, arguments.images, arguments.scenes)
    answers = [one for number, some in enumerate(asked) for one in _judge(model, number, *some)]
    least = choose_least(answers)
    curves = fit_curves(answers, least)
    config_file = arguments.model / "config.json"
    settings = {
        "least_score": least["name"],
        "least_scores": {kind: value for kind, value in least.items() if value != least["name"]} or None,
        "score_curves": {name: [round(weight, 4) for weight in curve] for name, curve in curves.items()},
    }
    config_file.write_text(json.dumps(json.loads(config_file.read_text()) | settings, indent=2, sort_keys=True) + "\n")
    print(json.dumps(settings, indent=2))
    good = np.array([one.iou(least) >= GOOD_IOU for one in answers])
    before, after = np.array([one.certainty for one in answers]), scores_of_others(answers, least)
    print(table(answers, good, before, after))
    if arguments.plot:
        draw(arguments.plot, good, before, after)


def _asked(photos: Path, nuclei: Path, images: int, scenes: int) -> Iterator[_Asked]:
    """Pictures with prompts and their answers: two about what is there to one about what is not, words, nonsense."""
    rng = np.random.default_rng(VALIDATION_SEED)
    for set_name in SETS:
        if set_name != NUCLEI and (photos / set_name).is_dir():
            for picture in photographs(photos / set_name, "validation", 0.0, slice(images)):
                yield _about(rng, picture, {})
    for picture in microscope_images(nuclei, "validation", "fluorescence", 0.0, slice(2 * images)):
        yield _about(rng, picture, words_of(picture))
    for _ in range(scenes):
        sample = scene_sample(rng, SCENE_SIDE, level=3, absent_share=ABSENT_SHARE)
        yield sample.image, [sample.prompt], [sample.mask]


def _about(rng: np.random.Generator, picture: Picture, words: dict[str, NDArray[np.bool_]]) -> _Asked:
    there = [name for name in sorted(picture.objects) if name in NAMES and picture.objects[name].any()]
    absent = [str(name) for name in rng.choice(surely_absent(picture.set), 1 + len(there) // 2, replace=False)]
    asked = {f"all {NAMES[name].wordings[0][1]}": picture.objects[name] > 0 for name in there} | words
    empty = np.zeros(picture.image.shape[:2], bool)
    asked |= {f"all {NAMES[name].wordings[0][1]}": empty for name in absent} | {nonsense(rng): empty}
    return picture.image, list(asked), list(asked.values())


def _judge(
    model: ARGenSeg, number: int, image: NDArray[np.uint8], prompts: list[str], truths: list[NDArray[np.bool_]]
) -> Iterator[Answered]:
    for result, truth in zip(model.segment(image, prompts)[0], truths, strict=True):
        yield _answered(model, number, result, truth)


def _answered(model: ARGenSeg, number: int, result: SegmentationResult, truth: NDArray[np.bool_]) -> Answered:
    nothing = np.zeros_like(result.mask)
    return Answered(
        number,
        kind_of(result.prompt, model.knows(result.prompt), model.choice(result.prompt)),
        result.certainty,
        iou(result.mask, truth),
        float(not truth.any()),
        bool(result.mask.any()),
        evidence(result.certainty, result.probability, result.mask),
        evidence(result.certainty, result.probability, nothing),
    )


def choose_least(answers: list[Answered]) -> dict[str, float]:
    """The certainty below which answers are empty, by kind of prompt: where the mean IoU is highest.

    Choices and prompts with unknown words are asked about names, so they have the names' value.
    """

    def best(kind: str) -> float:
        some = [one for one in answers if one.kind == kind]
        columns = (np.array([getattr(one, of) for one in some]) for of in ("certainty", "kept", "emptied"))
        return round(best_threshold(*columns, MOST), 4) if some else 0.0

    names = best("name")
    return dict.fromkeys(KINDS, names) | {"described": best("described")}


def fit_curves(answers: list[Answered], least: dict[str, float]) -> dict[str, list[float]]:
    """Curve's name -> weights of its features: logistic regression, held near 0; none of too few answers."""
    curves = {}
    for name in sorted({one.curve(least) for one in answers}):
        some = [one for one in answers if one.curve(least) == name]
        features = np.array([one.features(least) for one in some])
        good = np.array([one.iou(least) >= GOOD_IOU for one in some], float)
        if len(some) >= LEAST_ANSWERS:
            curves[name] = _fit(features, good)
    return curves


def _fit(features: NDArray[np.float64], good: NDArray[np.float64]) -> list[float]:
    def loss(weights: NDArray[np.float64]) -> float:
        odds = features @ weights
        return float((np.logaddexp(0, odds) - good * odds).sum() + 0.5 * (weights**2).sum())

    return [float(weight) for weight in minimize(loss, np.zeros(features.shape[1])).x]


def scores_of_others(answers: list[Answered], least: dict[str, float]) -> NDArray[np.float64]:
    """Each answer's score by curves that were fitted without its picture."""
    scores = np.array([one.certainty for one in answers])
    for fold in range(FOLDS):
        curves = fit_curves([one for one in answers if one.picture % FOLDS != fold], least)
        for i, one in enumerate(answers):
            if one.picture % FOLDS == fold and (curve := curves.get(one.curve(least))):
                scores[i] = chance(curve, one.features(least))
    return scores


def calibration_error(score: NDArray[np.float64], good: NDArray[np.bool_]) -> float:
    """Expected calibration error: |share that is good - mean score| of ten bins, by their answers."""
    bins = np.minimum((score * BINS).astype(int), BINS - 1)
    return float(sum(abs(good[bins == b].mean() - score[bins == b].mean()) * (bins == b).mean() for b in set(bins)))


def table(
    answers: list[Answered], good: NDArray[np.bool_], before: NDArray[np.float64], after: NDArray[np.float64]
) -> str:
    """Markdown: a row for each kind of prompt."""
    kinds = np.array([one.kind for one in answers])
    lines = ["| kind of prompt | answers | good | ECE before | ECE after |", "|---|---|---|---|---|"]
    for kind in (*KINDS, "all"):
        some = (kinds == kind) | (kind == "all")
        if some.any():
            errors = [calibration_error(score[some], good[some]) for score in (before, after)]
            lines.append(f"| {kind} | {some.sum()} | {good[some].mean():.2f} | {errors[0]:.3f} | {errors[1]:.3f} |")
    return "\n".join(lines)


def draw(file: Path, good: NDArray[np.bool_], before: NDArray[np.float64], after: NDArray[np.float64]) -> None:
    """The share of good answers by score, before and after."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "starter"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), sharey=True)
    for axis, score, title in zip(axes, (before, after), ("certainty (before)", "score (after)"), strict=True):
        bins = np.minimum((score * BINS).astype(int), BINS - 1)
        used = sorted(set(bins))
        axis.plot([0, 1], [0, 1], color="#999", linewidth=1)
        axis.scatter(
            [score[bins == b].mean() for b in used],
            [good[bins == b].mean() for b in used],
            s=[8 + 200 * (bins == b).mean() for b in used],
            color="#2563eb",
        )
        axis.set(xlabel=title, xlim=(0, 1), ylim=(0, 1), title=f"ECE {calibration_error(score, good):.3f}")
    axes[0].set_ylabel(f"share with IoU >= {GOOD_IOU}")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


if __name__ == "__main__":
    main()

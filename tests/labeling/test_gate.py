"""The gate promotes what is better and little else: simulated holdouts, and rows with known figures."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from labeling.gate import GateError, GateRules, HeldOut, decide, find_too_few


@dataclass(frozen=True)
class Row:
    image: str
    group: str
    prompt: str
    source: str = "correction:1"
    area: int = 100
    drawn: int = 100
    iou: float = 0.6
    boundary_iou: float = 0.5
    baselines: dict[str, float] = field(default_factory=lambda: {"everything": 0.2})
    label: str | None = "cell"


def holdout(images: int = 14, prompts: int = 1) -> list[Row]:
    """As many images with a mask, an absent label and a replay image for each."""
    rows = []
    for number in range(images):
        name = f"{number:03}"
        rows += [Row(f"{name}.png", f"g{name}", f"p{prompt}") for prompt in range(prompts)]
        rows.append(Row(f"{name}.png", f"g{name}", "absent", "negative:car", area=0, drawn=0, iou=1.0))
        rows.append(Row(f"r{name}.png", f"r{name}", "p0", "replay:old"))
    return rows


def raised(rows: list[Row], by: float, *, replay: bool = False) -> list[Row]:
    """The rows with a higher IoU, on what is new or on the replay."""
    return [
        replace(row, iou=row.iou + by, boundary_iou=row.boundary_iou + by)
        if row.area and row.source.startswith("replay") == replay
        else row
        for row in rows
    ]


def test_a_better_model_is_promoted_with_its_reasons() -> None:
    report = decide(holdout(), raised(holdout(), 0.1), "holdout-1")
    assert (report.passed, report.decided, report.snapshot) == (True, True, "holdout-1")
    assert [check.name for check in report.checks] == [
        "IoU", "IoU beside marking everything", "boundary IoU", "IoU on replay", "drawn where the label is absent",
    ]  # fmt: skip
    assert report.reasons[0] == "IoU on 14 images: 0.600 → 0.700 (+0.100, interval +0.100 … +0.100): better."
    assert report.to_json()["checks"][0]["change"] == pytest.approx(0.1)


def test_equal_rows_are_not_promoted() -> None:
    report = decide(holdout(), holdout(), "h")
    assert not report.passed
    assert [check.passed for check in report.checks] == [False, True, True, True, True]
    assert "not better for certain" in report.reasons[0]


def test_too_few_images_are_said_and_nothing_is_decided() -> None:
    report = decide(holdout(9), raised(holdout(9), 0.3), "h")
    assert (report.passed, report.decided) == (False, False)
    assert "has 9 images" in report.reasons[0]
    assert "3 more are missing" in report.reasons[0]


def test_near_duplicates_count_as_one_image() -> None:
    rows = [replace(row, group=row.group[:3]) for row in holdout(30)]  # groups of ten
    report = decide(rows, raised(rows, 0.3), "h")
    assert not report.decided and "3 images with an object to find (30 images, but" in report.reasons[0]


def test_a_model_that_forgot_is_stopped() -> None:
    better = raised(holdout(), 0.1)
    assert decide(holdout(), raised(better, -0.03, replay=True), "h").passed
    report = decide(holdout(), raised(better, -0.05, replay=True), "h")
    assert [check.passed for check in report.checks] == [True, True, True, False, True]
    assert report.reasons[3].endswith(": lower by more than the 0.04 that are allowed.")


def test_small_losses_of_what_was_known_do_not_add_up() -> None:
    """The candidate is little worse than the live model, which was little worse than the first: on base data only."""
    first = scenes()
    live = [*raised(holdout(), 0.2), *raised(first, -0.03, replay=True)]
    candidate = [*raised(holdout(), 0.3), *raised(first, -0.06, replay=True)]
    assert decide(live, candidate, "h").passed
    report = decide(live, candidate, "h", first=first)
    assert [check.name for check in report.checks if not check.passed] == ["IoU on base data, beside the first model"]
    assert "0.700 → 0.640" in report.reasons[5]
    assert decide(live, [*raised(holdout(), 0.3), *raised(first, -0.03, replay=True)], "h", first=first).passed

    def drawing(share: int) -> list[Row]:
        return [
            replace(row, drawn=9 * (number % 100 < share)) if not row.area else row for number, row in enumerate(first)
        ]

    report = decide([*holdout(), *drawing(6)], [*raised(holdout(), 0.1), *drawing(9)], "h", first=drawing(0))
    assert [check.name for check in report.checks if not check.passed] == [
        "drawn where the label is absent, beside the first model"
    ]


def test_a_holdout_is_counted_before_it_is_measured_as_it_is_after() -> None:
    rows = [replace(row, group=row.group[:3]) for row in holdout(30)]
    unmeasured = [HeldOut(row.image, row.group, row.source, row.area) for row in rows]
    assert find_too_few(unmeasured, "h") == decide(rows, rows, "h")
    assert find_too_few(unmeasured, "h", GateRules(min_images=3)) is None


def test_too_little_replay_to_exclude_a_loss_is_said() -> None:
    """The mean is within the margin, but two of fourteen images lost a lot: nobody knows."""
    better = raised(holdout(), 0.1)
    some = [replace(row, iou=0.4) if row.image in ("r000.png", "r001.png") else row for row in better]
    report = decide(holdout(), some, "h")
    assert -0.04 < report.checks[3].change < 0
    assert not report.passed
    assert "perhaps lower" in report.reasons[3]


def test_a_model_that_draws_what_is_absent_is_stopped() -> None:
    drawing = [replace(row, drawn=5) if not row.area else row for row in raised(holdout(), 0.1)]
    report = decide(holdout(), drawing, "h")
    assert [check.passed for check in report.checks] == [True, True, True, True, False]
    assert "0.000 → 1.000" in report.reasons[4]


def test_a_model_that_marks_what_is_likely_is_stopped() -> None:
    """As one that learnt from other images' masks: better than a live model that drew little, no better than all."""
    rng = np.random.default_rng(4)
    little = [replace(row, iou=0.1, boundary_iou=0.1) if row.area else row for row in holdout()]
    likely = [replace(row, iou=0.2 + rng.normal(0, 0.03), boundary_iou=0.2) if row.area else row for row in holdout()]
    report = decide(little, likely, "h")
    assert [check.passed for check in report.checks] == [True, False, True, True, True]


def test_a_model_with_coarse_outlines_is_stopped() -> None:
    coarse = [replace(row, iou=row.iou + 0.1, boundary_iou=row.boundary_iou - 0.05) for row in holdout()]
    assert [check.passed for check in decide(holdout(), coarse, "h").checks][:3] == [True, True, False]


def test_what_was_not_measured_is_said() -> None:
    rows = [row for row in holdout() if row.source == "correction:1"]
    report = decide(rows, raised(rows, 0.1), "h")
    assert report.passed
    assert sum("not known" in reason for reason in report.reasons) == 2


def test_different_holdouts_are_refused() -> None:
    with pytest.raises(GateError, match="same snapshot"):
        decide(holdout(14), holdout(15), "h")
    with pytest.raises(GateError, match="same snapshot"):
        decide(holdout(), [replace(row, area=row.area and 7) for row in holdout()], "h")


def test_the_report_depends_on_nothing_else() -> None:
    rows = holdout()
    noisy = [replace(row, iou=row.iou + 0.01 * (int(row.image[-5]) % 3)) for row in rows]
    assert decide(rows, noisy, "h", seed=3) == decide(rows[::-1], noisy[::-1], "h", seed=3)


@pytest.mark.parametrize("images", [12, 30])
@pytest.mark.parametrize("noise", ["normal", "skewed"])
def test_an_equal_model_is_rarely_promoted(images: int, noise: str) -> None:
    """Two models of the same quality: image by image they differ at random, items of one image alike."""
    rng = np.random.default_rng(1)
    draws, promoted = 400, 0
    rules = GateRules(draws=800)
    rows = holdout(images, prompts=3)
    for _ in range(draws):
        by_group = {row.group: rng.normal(0, 0.08) if noise == "normal" else rng.exponential(0.08) - 0.08
                    for row in rows}  # fmt: skip
        changed = [
            replace(row, iou=row.iou + by_group[row.group] + rng.normal(0, 0.02), boundary_iou=row.boundary_iou)
            if row.area
            else row
            for row in rows
        ]
        promoted += decide(rows, changed, "h", rules).checks[0].passed
    assert promoted / draws <= 0.05


@pytest.mark.parametrize(
    ("loss", "more_drawn", "least", "most"), [(0.0, 0.0, 0.65, 1.0), (0.04, 0.0, 0.0, 0.06), (0.0, 0.08, 0.0, 0.06)]
)
def test_what_must_not_get_worse_is_held_without_flapping(
    loss: float, more_drawn: float, least: float, most: float
) -> None:
    """120 scenes of two prompts about what is there and two about what is not, on which both models waver."""
    rng, passed, trials = np.random.default_rng(5), 0, 100
    new = [row for row in holdout() if row.source == "correction:1"]
    scenes = [
        Row(f"s{scene}.png", f"s{scene}", f"p{prompt}", "replay:scene", area=100 * (prompt < 2), drawn=0)
        for scene in range(120)
        for prompt in range(4)
    ]
    for _ in range(trials):
        live, candidate = (
            [
                replace(row, iou=0.6 - less + rng.normal(0, 0.07)) if row.area
                else replace(row, drawn=int(rng.random() < 0.1 + more))
                for row in scenes
            ]
            for less, more in ((0.0, 0.0), (loss, more_drawn))
        )  # fmt: skip
        passed += decide(new + live, raised(new, 0.1) + candidate, "h", GateRules(draws=400)).passed
    assert least <= passed / trials <= most


def test_a_real_gain_is_seen() -> None:
    rng = np.random.default_rng(2)
    promoted = 0
    for _ in range(100):
        rows = holdout(14)
        by_group = {row.group: rng.normal(0.08, 0.08) for row in rows}
        better = [
            replace(row, iou=row.iou + by_group[row.group], boundary_iou=row.boundary_iou + by_group[row.group])
            if row.area and row.source == "correction:1"
            else row
            for row in rows
        ]
        promoted += decide(rows, better, "h", GateRules(draws=800)).passed
    assert promoted >= 80


def test_shuffled_masks_are_stopped() -> None:
    """A model that learnt from shuffled masks loses on most images; ten of ten such runs end here."""
    rng = np.random.default_rng(3)
    for _ in range(10):
        rows = [replace(row, iou=float(rng.uniform(0.4, 0.8))) if row.area else row for row in holdout()]
        worse = [replace(row, iou=row.iou * float(rng.uniform(0.2, 1.0))) if row.area else row for row in rows]
        assert not decide(rows, worse, "h").passed


def scenes(count: int = 120) -> list[Row]:
    """Drawn scenes, each with something that is there and something that is not."""
    present = [Row(f"s{n}.png", f"s{n}", "a star", "replay:scene", iou=0.7) for n in range(count)]
    return present + [Row(f"s{n}.png", f"s{n}", "a cat", "replay:scene", 0, 0, 1.0) for n in range(count)]


def test_many_scenes_do_not_hide_that_the_projects_absent_labels_are_drawn() -> None:
    live = [*holdout(), *scenes()]
    candidate = [replace(row, drawn=50, iou=0.0) if row.source == "negative:car" else row for row in raised(live, 0.1)]
    for images in (14, 6, 2):  # that have an absent label of the project's own
        named = {f"{number:03}.png" for number in range(images)}
        ours, theirs = (
            [row for row in rows if row.source != "negative:car" or row.image in named] for rows in (live, candidate)
        )
        report = decide(ours, theirs, "h")
        assert not report.passed
        assert report.checks[-1].name == "drawn where the label is absent, the project's own labels"
        assert f"on {images} images: 0.000 → 1.000 (+1.000" in report.reasons[-1]
        assert report.reasons[-1].endswith("worse for certain.")


def test_a_kind_of_replay_that_is_lost_is_not_drowned_by_another() -> None:
    nuclei = [Row(f"n{n}.png", f"n{n}", "all nuclei", "replay:nuclei", iou=0.84) for n in range(6)]
    live = [*holdout(), *scenes(), *nuclei]
    candidate = [replace(row, iou=0.44) if row.source == "replay:nuclei" else row for row in raised(live, 0.1)]
    report = decide(live, candidate, "h")
    assert [check.name for check in report.checks if not check.passed] == ["IoU, replay of nuclei"]


def test_a_label_that_is_lost_is_not_drowned_by_another() -> None:
    live = holdout() + [replace(row, label="wall", prompt="walls") for row in holdout() if row.area][:14]
    candidate = [replace(row, iou=0.95 if row.label == "cell" else 0.3) if row.area else row for row in live]
    report = decide(live, candidate, "h")
    assert "IoU, label 'wall'" in [check.name for check in report.checks if not check.passed]


def test_a_part_on_a_handful_of_images_is_not_judged_by_itself() -> None:
    few = [replace(row, label="wall", prompt="walls") for row in holdout(4) if row.area and row.label]
    few = [row for row in few if not row.source.startswith("replay")]
    live = [*holdout(), *few]
    candidate = [replace(row, iou=row.iou - 0.02) if row.label == "wall" else row for row in raised(live, 0.1)]
    assert decide(live, candidate, "h").passed


def test_parts_seldom_refuse_a_model_that_is_only_better() -> None:
    """Noise alone must not make a part "worse for certain" much more often than an interval errs."""
    rng, refused = np.random.default_rng(5), 0
    live = [replace(row, label=f"label {number % 3}") for number, row in enumerate([*holdout(42), *scenes(60)])]
    for _ in range(100):
        noise = rng.normal(0, 0.08, len(live))
        candidate = [
            replace(row, iou=row.iou + change) if row.area else row
            for row, change in zip(raised(live, 0.1), noise, strict=True)
        ]
        report = decide(live, candidate, "h", GateRules(draws=400))
        refused += any("worse for certain" in reason for reason in report.reasons)
    assert refused <= 8

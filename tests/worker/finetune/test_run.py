"""A run from the row to the verdict: with stand-ins for its processes, and once with the real ones."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from argenseg_model.evaluation import ItemResult, write_rows
from argenseg_model.manifest import Manifest, ManifestItem, encode_mask
from labeling.errors import LabelStudioError, StoreError
from labeling.settings import Settings
from labeling.store import FinetuneRun, Store
from tests.argenseg_model.conftest import byte_bpe, small_model
from worker.context import JobContext
from worker.errors import QueueUnreachable
from worker.finetune import children, scenes_holdout
from worker.finetune import run as running
from worker.finetune.children import ChildFailed
from worker.finetune.progress import tell_verdict
from worker.finetune.promotion import promote, roll_back
from worker.finetune.run import LEASE_S, drive, run_folder
from worker.projects.requests import ProjectRequests

__all__ = ["byte_bpe"]
CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image"><Label value="red"/>'
    "</BrushLabels></View>"
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """One thread, two steps, and no Label Studio."""
    changes = {"label_studio_url": None, "finetune_steps": 2, "finetune_threads": 1, "gate_min_images": 3}
    return settings.model_copy(update=changes)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Red squares: two images to learn from, four held out."""
    folder, items = tmp_path / "set", []
    folder.mkdir()
    for number in range(6):
        pixels, mask = np.full((40, 50, 3), 90, np.uint8), np.zeros((40, 50), bool)
        mask[8 : 20 + number, 10:30] = True
        pixels[mask] = (220, 30, 30)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        same: dict[str, Any] = {"image": f"{number}.png", "width": 50, "height": 40, "weight": 1.0, "label": "red",
                                "group": str(number), "split": "train" if number < 2 else "holdout"}  # fmt: skip
        items.append(ManifestItem(prompt="red", mask=encode_mask(mask), source="correction:1", **same))
    Manifest.write(folder / "set.jsonl", items)
    return folder / "set.jsonl"


Claim = Callable[[], FinetuneRun]


@pytest.fixture
def claim(store: Store, manifest: Path) -> Claim:
    """Want a run of project 1 if none is open, and claim it for "me"."""

    def claim() -> FinetuneRun:
        project = store.projects.upsert("http://localhost:8080", 1, CONFIG)
        store.finetunes.request("now", project, manifest=str(manifest))
        run = store.finetunes.claim("me", LEASE_S)
        assert run is not None
        return run

    return claim


class Processes:
    """Stand-ins: training writes a model folder, an evaluation rows whose IoU is that of the model's name."""

    def __init__(self) -> None:
        self.iou = {"starter": 0.5, "model": 0.7}  # by the model's name, or the run that made it
        self.replay = {"starter": 0.6}
        self.ran: list[str] = []
        self.fails: Exception | None = None

    def __call__(self, argv: list[str], log: Path, *, on_tick: Callable[[], None], **_: Any) -> None:
        on_tick()
        self.ran.append(argv[1].rpartition(".")[2])
        if self.fails is not None:
            raise self.fails
        out = Path(argv[argv.index("--out") + 1])
        if argv[1].endswith("finetune"):
            (out / "model").mkdir()
            (out / "model" / "config.json").write_text(json.dumps({"model_name": argv[argv.index("--name") + 1]}))
            (out / "finished.json").write_text("{}")
            return
        model = Path(argv[argv.index("--model") + 1])
        iou = self.iou.get(model.parent.name, self.iou[model.name])
        replay = self.replay.get(model.parent.name, 0.6)
        items = Manifest.read(argv[2]).split("holdout").items
        write_rows(out / "items.jsonl", [_row(item, replay if item.is_replay else iou) for item in items])
        (out / "summary.json").write_text("{}")


def _row(item: ManifestItem, iou: float) -> ItemResult:
    area = 0 if item.mask is None else 9
    return ItemResult(
        image=item.image, group=item.group, prompt=item.prompt, label=item.label, source=item.source,
        area=area, size="small", drawn=area, intersection=int(90 * iou), union=90,
        iou=iou, boundary_iou=iou, matched=1, predicted=1, actual=1, score=0.5,
        baselines={"otsu": 0.4, "inverted otsu": 0.1, "everything": 0.2, "nothing": 0.0},
    )  # fmt: skip


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    stand_in = Processes()
    monkeypatch.setattr(running, "run_child", stand_in)
    return stand_in


def test_a_winner_goes_live_and_can_be_rolled_back(
    context: JobContext, store: Store, settings: Settings, claim: Claim, processes: Processes
) -> None:
    run = claim()
    before = ProjectRequests(settings, store, 1, CONFIG)
    drive(context, run, "me", lambda: False)
    ended = store.finetunes.get(run.id)
    assert (ended.status, ended.error, ended.candidate) == ("promoted", None, "starter-3.1")
    version = store.models.get("starter-3.1")
    assert (version.state, version.parent) == ("accepted", "starter")
    assert store.models.active(run.project) == version
    after = ProjectRequests(settings, store, 1, CONFIG)
    assert after.model_version.startswith("starter-3.1 · ")
    page = (run_folder(settings, run) / "report.html").read_text()
    assert "starter-3.1: passed the gate" in page and "0.500 → 0.700" in page and "<svg" in page
    assert json.loads((run_folder(settings, run) / "report.json").read_text())["gate"]["passed"]
    assert roll_back(settings, store, run.project) == (None, [])
    assert ProjectRequests(settings, store, 1, CONFIG).model_version == before.model_version
    promote(settings, store, "starter-3.1", None)
    assert store.models.active().name == "starter-3.1"


def test_what_a_winner_did_on_scenes_is_not_measured_again(
    context: JobContext, store: Store, claim: Claim, processes: Processes
) -> None:
    run = claim()
    drive(context, run, "me", lambda: False)
    assert processes.ran == ["finetune", *["evaluation_run"] * 4]
    store.finetunes.request("later", run.project, manifest=run.manifest)
    later = store.finetunes.claim("me", LEASE_S)
    assert later is not None
    drive(context, later, "me", lambda: False)
    assert store.finetunes.get(later.id).base == store.models.get("starter-3.1").folder
    assert processes.ran[5:] == ["finetune", *["evaluation_run"] * 3]


def test_a_loser_is_kept_with_its_report_and_does_not_serve(
    context: JobContext, store: Store, claim: Claim, processes: Processes
) -> None:
    processes.iou["model"] = 0.3
    run = claim()
    drive(context, run, "me", lambda: False)
    assert store.finetunes.get(run.id).status == "refused"
    assert store.models.get("starter-3.1").state == "refused"
    assert "worse" in store.models.get("starter-3.1").report["gate"]["reasons"][0]
    assert store.models.active(run.project) is None


def test_too_small_a_holdout_is_said_before_anything_is_learnt(
    context: JobContext, settings: Settings, store: Store, claim: Claim, processes: Processes
) -> None:
    strict = JobContext(settings.model_copy(update={"gate_min_images": 12}), store, None, context.connection)
    run = claim()
    drive(strict, run, "me", lambda: False)
    ended = store.finetunes.get(run.id)
    assert (ended.status, ended.candidate, ended.error, processes.ran) == ("refused", None, None, [])
    assert ended.report is not None and ended.report["gate"]["holdout_images"] == 4, "for who lowers the limit"
    (reported,) = tell_verdict(ended)
    assert reported.startswith("Nothing is decided: the holdout has 4 images") and "8 more are missing" in reported
    assert not store.models.all() and store.models.active(run.project) is None
    page = (run_folder(settings, run) / "report.html").read_text()
    assert "8 more are missing" in page and "Held out, to measure on: 4 images." in page and "Figures" not in page
    assert json.loads((run_folder(settings, run) / "report.json").read_text()) == ended.report


def test_small_losses_do_not_add_up(context: JobContext, store: Store, claim: Claim, processes: Processes) -> None:
    """Of what was known before each version loses 0.03, which one may: the second has lost too much all in all."""
    processes.iou |= {"run-1": 0.7, "run-2": 0.9}
    processes.replay |= {"run-1": 0.57, "run-2": 0.54}
    first = claim()
    drive(context, first, "me", lambda: False)
    assert store.finetunes.get(first.id).status == "promoted"
    store.finetunes.request("later", first.project, manifest=first.manifest)
    second = store.finetunes.claim("me", LEASE_S)
    assert second is not None
    drive(context, second, "me", lambda: False)
    ended = store.finetunes.get(second.id)
    assert ended.status == "refused" and ended.report is not None
    assert [check["name"] for check in ended.report["gate"]["checks"] if not check["passed"]] == [
        "IoU on base data, beside the first model"
    ]
    assert any("0.600 → 0.540" in reason and "first model" in reason for reason in tell_verdict(ended))


def test_a_first_model_that_is_gone_is_said(
    context: JobContext, store: Store, claim: Claim, processes: Processes, tmp_path: Path
) -> None:
    store.models.add("old.1", str(tmp_path / "run-0" / "model"), str(tmp_path / "gone"))
    run = claim()
    store.models.set_active("old.1", run.project)
    processes.iou["run-0"] = 0.5
    drive(context, run, "me", lambda: False)
    ended = store.finetunes.get(run.id)
    assert ended.status == "promoted"
    assert (
        tell_verdict(ended)[-1]
        == f"The first model, {tmp_path / 'gone'}, is gone: what was lost since then is not known."
    )


def test_the_report_says_what_was_learnt_from(
    context: JobContext, settings: Settings, store: Store, claim: Claim, processes: Processes, manifest: Path
) -> None:
    run = claim()
    drive(context, run, "me", lambda: False)
    report = store.finetunes.get(run.id).report
    assert report is not None and report["learnt_from"] == {
        "images": 2, "annotations": 1, "masks": 2, "absent": 0, "replay": 0, "holdout_images": 4,
        "data_set": Manifest.read(manifest).digest(), "steps": 2, "left_out": {},
    }  # fmt: skip
    page = (run_folder(settings, run) / "report.html").read_text()
    assert "Learnt in 2 steps from 2 images with 2 corrected masks" in page
    assert Manifest.read(manifest).digest() in page


def test_what_a_process_says_when_it_fails_is_kept(
    context: JobContext, store: Store, claim: Claim, processes: Processes
) -> None:
    processes.fails = ChildFailed("out of memory")
    run = claim()
    drive(context, run, "me", lambda: False)
    assert (store.finetunes.get(run.id).status, store.finetunes.get(run.id).error) == ("failed", "out of memory")


def test_a_run_that_was_interrupted_goes_on_where_it_was(
    context: JobContext, store: Store, claim: Claim, processes: Processes
) -> None:
    """At every moment between two ticks; nothing is done twice, and the name stays."""
    for moment in range(1, 6):
        ticks = iter(range(100))
        drive(context, claim(), "me", lambda ticks=ticks, moment=moment: next(ticks) >= moment)  # type: ignore[misc]
        if store.finetunes.newest()[0].status != "requested":  # released: it is to go on
            break
    else:
        drive(context, claim(), "me", lambda: False)
    assert store.finetunes.newest()[0].status == "promoted"
    assert processes.ran.count("finetune") == 1
    assert len(processes.ran) == 5
    assert [version.name for version in store.models.all()] == ["starter-3.1"]


def test_a_run_is_stopped_and_a_lost_one_left_alone(
    context: JobContext, store: Store, claim: Claim, processes: Processes
) -> None:
    run = claim()
    assert store.finetunes.stop() == 1
    drive(context, run, "me", lambda: False)
    assert store.finetunes.get(run.id).status == "stopped"
    assert processes.ran == []

    store.finetunes.request("later", run.project, manifest=run.manifest)
    other = store.finetunes.claim("somebody else", LEASE_S)
    drive(context, other, "me", lambda: False)
    assert store.finetunes.get(other.id).status == "running"


OUTAGES = [
    LabelStudioError("Label Studio answered 502.", status=502, is_transient=True),
    QueueUnreachable("Redis is gone.", "Start it."),
    StoreError("The database failed: it is locked.", is_transient=True),
]


@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("is_live", [False, True])
def test_an_outage_during_promotion_puts_the_run_off_and_it_goes_on(
    context: JobContext, store: Store, claim: Claim, processes: Processes, monkeypatch: pytest.MonkeyPatch,
    outage: Exception, is_live: bool,
) -> None:  # fmt: skip
    """Also one that comes when the new version is active already: it is not compared with itself then."""

    def fail(settings: Settings, store: Store, name: str, project: Any, **_: Any) -> list[str]:
        if is_live:
            store.models.set_active(name, project)
        raise outage

    monkeypatch.setattr(running, "OUTAGE_INTERVALS_S", (0, 0))
    with monkeypatch.context() as patch:
        patch.setattr(running, "promote", fail)
        drive(context, claim(), "me", lambda: False)
    (put_off,) = store.finetunes.newest()
    assert (put_off.status, put_off.error, put_off.attempts) == ("requested", str(outage), 1)
    page = (run_folder(context.settings, put_off) / "report.html").read_text()
    assert "promoted" not in page
    drive(context, claim(), "me", lambda: False)
    (ended,) = store.finetunes.newest()
    assert (ended.status, ended.error, store.models.active(ended.project).name) == ("promoted", None, "starter-3.1")
    assert len(processes.ran) == 5


def test_an_outage_without_end_is_a_failure(
    context: JobContext, store: Store, claim: Claim, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "OUTAGE_INTERVALS_S", (0, 0))
    processes.fails = StoreError("the disk is gone", is_transient=True)
    for expected in ("requested", "requested", "failed"):
        drive(context, claim(), "me", lambda: False)
        (run,) = store.finetunes.newest()
        assert (run.status, run.error) == (expected, "the disk is gone")


def test_a_stop_that_comes_too_late_says_so(
    context: JobContext, store: Store, claim: Claim, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(settings: Settings, store: Store, name: str, project: Any, **_: Any) -> list[str]:
        store.models.set_active(name, project)
        raise running.RunStopped("It was stopped.")

    monkeypatch.setattr(running, "promote", stop)
    drive(context, claim(), "me", lambda: False)
    (run,) = store.finetunes.newest()
    assert (run.status, run.error) == (
        "stopped", "It was stopped. But starter-3.1 is active already: argenseg models rollback --project 1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (LabelStudioError("Label Studio answered 403.", status=403), "Label Studio answered 403. But"),
        (LabelStudioError("Label Studio answered 502.", is_transient=True), "Label Studio answered 502. But"),
        (KeyError("x"), "KeyError: 'x'. But"),
    ],
)
def test_a_failure_that_comes_too_late_says_so(
    context: JobContext, store: Store, claim: Claim, processes: Processes, monkeypatch: pytest.MonkeyPatch,
    error: Exception, reported: str,
) -> None:  # fmt: skip
    """The second one is the last attempt."""

    def fail(settings: Settings, store: Store, name: str, project: Any, **_: Any) -> list[str]:
        store.models.set_active(name, project)
        raise error

    monkeypatch.setattr(running, "promote", fail)
    monkeypatch.setattr(running, "OUTAGE_INTERVALS_S", ())
    drive(context, claim(), "me", lambda: False)
    (run,) = store.finetunes.newest()
    assert (run.status, run.error) == (
        "failed", f"{reported} starter-3.1 is active already: argenseg models rollback --project 1"
    )  # fmt: skip


TAKE_BACK: list[Callable[[Store, Any], object]] = [
    lambda store, project: store.models.withdraw_active(project),
    lambda store, project: store.models.set_active(None, project),
]


@pytest.mark.parametrize("take_back", TAKE_BACK)
def test_a_run_that_is_taken_up_again_does_not_undo_a_rollback(
    context: JobContext, store: Store, claim: Claim, processes: Processes, monkeypatch: pytest.MonkeyPatch,
    take_back: Callable[[Store, Any], object],
) -> None:  # fmt: skip
    def fail(settings: Settings, store: Store, name: str, project: Any, **_: Any) -> list[str]:
        store.models.set_active(name, project)
        raise OUTAGES[0]

    monkeypatch.setattr(running, "OUTAGE_INTERVALS_S", (0, 0))
    with monkeypatch.context() as patch:
        patch.setattr(running, "promote", fail)
        drive(context, claim(), "me", lambda: False)
    run = store.finetunes.newest()[0]
    take_back(store, run.project)
    drive(context, claim(), "me", lambda: False)
    ended = store.finetunes.get(run.id)
    assert (ended.status, store.models.active(run.project)) == ("refused", None)
    assert "starter-3.1 was active and was taken back" in (ended.error or "")
    assert "argenseg models promote starter-3.1 --project 1" in (ended.error or "")
    assert ended.report is not None and ended.report["gate"]["passed"]


@pytest.fixture
def by_hand(store: Store, tmp_path: Path) -> Callable[[Any], None]:
    """Somebody promotes another version."""

    def promote_another(project: Any) -> None:
        store.models.add("another-1", str(tmp_path / "another-1"), "starter")
        store.models.set_active("another-1", project)

    return promote_another


def test_a_run_that_is_taken_up_again_does_not_replace_what_was_promoted_meanwhile(
    context: JobContext, store: Store, claim: Claim, processes: Processes, by_hand: Callable[[Any], None]
) -> None:
    run = claim()
    drive(context, run, "me", lambda: bool(processes.ran))
    assert (store.finetunes.get(run.id).status, processes.ran) == ("requested", ["finetune"])
    by_hand(run.project)
    drive(context, claim(), "me", lambda: False)
    ended, live = store.finetunes.get(run.id), store.models.active(run.project)
    assert ended.status == "refused" and live is not None and live.name == "another-1"
    assert "Another version, another-1, is active meanwhile" in (ended.error or "")
    assert "argenseg models promote starter-3.1 --project 1" in (ended.error or "")
    assert store.models.get("starter-3.1").state == "accepted"  # by hand nobody need be asked


def test_what_is_promoted_while_open_tasks_are_predicted_is_not_replaced(
    context: JobContext, store: Store, claim: Claim, processes: Processes, by_hand: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def wait(settings: Settings, store: Store, name: str, project: Any, *, on_tick: Callable[[], None]) -> list[str]:
        by_hand(project)
        on_tick()
        store.models.set_active(name, project)
        return []

    monkeypatch.setattr(running, "promote", wait)
    run = claim()
    drive(context, run, "me", lambda: False)
    live = store.models.active(run.project)
    assert store.finetunes.get(run.id).status == "refused" and live is not None and live.name == "another-1"


def test_a_hiccup_of_the_store_is_endured_while_the_lease_lasts(
    context: JobContext, store: Store, claim: Claim, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew, hiccups = store.finetunes.renew, iter([StoreError("locked", is_transient=True)])

    def renew_or_fail(*arguments: Any) -> FinetuneRun | None:
        if (error := next(hiccups, None)) is not None:
            raise error
        return renew(*arguments)

    monkeypatch.setattr(store.finetunes, "renew", renew_or_fail)
    drive(context, claim(), "me", lambda: False)
    assert store.finetunes.newest()[0].status == "promoted"
    assert next(hiccups, None) is None


def test_a_store_that_fails_for_longer_than_the_lease_ends_the_hold(
    context: JobContext, store: Store, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise StoreError("locked", is_transient=True)

    monkeypatch.setattr(store.finetunes, "renew", fail)
    hold = running.Hold(context, claim(), "me", lambda: False)
    hold.tick()
    hold.renews_at = hold.ends_at = 0.0
    with pytest.raises(StoreError, match="locked"):
        hold.tick()


def test_what_keeps_annotators_from_seeing_a_winner_is_told_with_the_run(
    context: JobContext, store: Store, claim: Claim, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "promote", lambda *_, **__: ["Project 1: 2 open tasks have masks."])
    drive(context, claim(), "me", lambda: False)
    (run,) = store.finetunes.newest()
    assert run.status == "promoted"
    said = tell_verdict(run)
    assert said[0] == "Project 1: 2 open tasks have masks." and len(said) > 1


def test_a_loser_of_the_lease_does_not_end_the_winners_run(
    context: JobContext, store: Store, claim: Claim, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = claim()
    store.finetunes.release(run.id, "me")
    store.finetunes.claim("somebody else", LEASE_S)
    processes.fails = ChildFailed("its files were taken away")

    monkeypatch.setattr(running.Hold, "tick", lambda _: None)  # silent for too long
    drive(context, run, "me", lambda: False)
    assert store.finetunes.get(run.id).status == "running"


@pytest.mark.timeout(1200)
def test_with_real_processes(
    context: JobContext, settings: Settings, store: Store, claim: Claim, byte_bpe: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A small model learns for two steps, both are measured; whatever the verdict, there is one, with pictures."""
    monkeypatch.setattr(scenes_holdout, "SCENES", 2)
    monkeypatch.setattr(children, "NICENESS", 0)
    small_model(byte_bpe).save_pretrained(tmp_path / "small")
    real = JobContext(settings.model_copy(update={"model": str(tmp_path / "small")}), store, None, context.connection)
    run = claim()
    stop = threading.Event()
    drive(real, run, "me", stop.is_set)
    ended = store.finetunes.get(run.id)
    assert (ended.status, ended.error) in (("refused", None), ("promoted", None))
    assert ended.candidate == "small.1"
    assert (run_folder(settings, run) / "report.html").read_text().count("data:image/jpeg") == 12

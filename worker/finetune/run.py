"""One fine-tune run, from request to verdict. Every step can be done again: a killed run goes on where it was."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from argenseg_model.errors import ARGenSegError
from argenseg_model.evaluation import ItemResult, read_rows
from argenseg_model.manifest import Manifest
from labeling.errors import LabelingError, StoreError
from labeling.gate import GateRules, decide, find_too_few
from labeling.logs import log_about
from labeling.store import FinetuneRun, FinetuneStatus, Store
from labeling.versions import weights_name
from worker.context import JobContext
from worker.errors import QueueUnreachable, WorkerError
from worker.finetune.children import run_child
from worker.finetune.learnt_from import LearntFrom, held_out
from worker.finetune.leftovers import remove_leftovers
from worker.finetune.manifests import build_manifest
from worker.finetune.progress import check_trainable, run_folder
from worker.finetune.promotion import promote, promote_command
from worker.finetune.report import write_refusal, write_report
from worker.finetune.scenes_holdout import SCENES, write_scenes_holdout
from worker.projects.active_model import active_model
from worker.queue.metrics import TRAINING_RUNS
from worker.queue.queues import GPU, is_urgent, jobs_at_hand

logger = logging.getLogger(__name__)

LEASE_S = 60.0
OUTAGE_INTERVALS_S = (60, 120, 300, 600, 1800, 3600, 3600, 3600)  # before each further attempt; four hours in all
BULK_CYCLE_S = 20.0
SHARE_BESIDE_BULK = 0.25  # of the time is training's: else it would wait for the end of a project of thousands
_PICTURES = 200  # items that are drawn: the report chooses among them when both models were measured


class RunStopped(WorkerError):
    """Somebody asked for it: argenseg finetune --stop."""


class RunLost(WorkerError):
    """Another process has the run: ours was silent for too long."""


class Interrupted(WorkerError):
    """This process is to end; the run goes on in another one, or later."""


class Overtaken(WorkerError):
    """The active version was changed by somebody else since the run began: it does not become active by itself."""


@dataclass
class Hold:
    """Our hold on a run, which was just claimed: renewed as time goes by, given up when somebody says so."""

    context: JobContext
    run: FinetuneRun
    holder: str
    should_end: Callable[[], bool]
    ends_at: float = field(default_factory=lambda: time.monotonic() + LEASE_S)
    renews_at: float = float("-inf")

    def tick(self) -> None:
        """Call it often. RunStopped, RunLost or Interrupted when the run is not to go on here; StoreError when the
        store fails for longer than the lease lasts.
        """
        if self.should_end():
            raise Interrupted("this process ends")
        now = time.monotonic()
        if now < self.renews_at:
            return
        try:
            run = self.context.store.finetunes.renew(self.run.id, self.holder, LEASE_S)
        except StoreError as error:
            if not error.is_transient or now >= self.ends_at:
                raise
            logger.warning("run %d: its lease is renewed later: %s", self.run.id, error)
            self.renews_at = now + LEASE_S / 30
            return
        if run is None:
            raise RunLost("another process has taken the run over, or it was stopped meanwhile")
        if run.stop_requested:
            raise RunStopped("It was stopped by argenseg finetune --stop.")
        self.ends_at, self.renews_at = now + LEASE_S, now + LEASE_S / 6

    def is_busy(self) -> bool:
        """Whether training has to make way: always where somebody waits for a mask, most of the time for a bulk job."""
        try:
            jobs = jobs_at_hand(self.context.connection, GPU)
        except QueueUnreachable:
            return False
        if any(is_urgent(job) for job in jobs):  # what is urgent is at the queue's front
            return True
        return bool(jobs) and time.monotonic() % BULK_CYCLE_S >= BULK_CYCLE_S * SHARE_BESIDE_BULK


def drive(context: JobContext, run: FinetuneRun, holder: str, should_end: Callable[[], bool]) -> None:
    """Take a claimed run to its end: promoted, refused, failed or stopped. What goes wrong is kept with the run.

    An outage (of Label Studio, Redis, the store) is no end: the run is postponed, and goes on where it was. StoreError
    if not even that can be written down; then it goes on when its lease has run out.
    """
    with log_about(project=run.project.project_id if run.project else None, run=run.id):
        _drive(Hold(context, run, holder, should_end))


def _drive(hold: Hold) -> None:
    context, run, holder = hold.context, hold.run, hold.holder
    store = context.store
    try:
        passed, report, unseen = _learn_and_judge(hold)
        status: FinetuneStatus = "promoted" if passed else "refused"
        has_ended = store.finetunes.end(run.id, status, holder=holder, error=" ".join(unseen) or None, report=report)
        if has_ended:
            context.metrics.count(TRAINING_RUNS, status)
    except Interrupted:
        store.finetunes.release(run.id, holder)
    except RunLost as error:
        logger.warning("run %d: %s", run.id, error)
    except RunStopped as error:
        _end_early(hold, "stopped", str(error))
    except (WorkerError, LabelingError, ARGenSegError, OSError) as error:
        if _is_outage(error) and run.attempts < len(OUTAGE_INTERVALS_S):
            wait_s = OUTAGE_INTERVALS_S[run.attempts]
            logger.warning("run %d is postponed for %d s: %s", run.id, wait_s, error)
            store.finetunes.postpone(run.id, holder, wait_s, str(error))
            return
        logger.warning("run %d failed: %s", run.id, error)
        _end_early(hold, "failed", str(error))
    except Exception as error:  # a bug: it must not come back for ever
        logger.exception("run %d failed", run.id)
        _end_early(hold, "failed", f"{type(error).__name__}: {error}")
    finally:
        remove_leftovers(context.settings, store)


def _end_early(hold: Hold, status: FinetuneStatus, error: str) -> None:
    """End a run before its end, and say so if its version is active nonetheless."""
    store, project = hold.context.store, hold.run.project
    live, candidate = store.models.active(project), store.finetunes.get(hold.run.id).candidate
    if live is not None and live.name == candidate:
        option = "" if project is None else f" --project {project.project_id}"
        error = f"{error.rstrip('.')}. But {candidate} is active already: argenseg models rollback{option}"
    if store.finetunes.end(hold.run.id, status, holder=hold.holder, error=error):
        hold.context.metrics.count(TRAINING_RUNS, status)


def _is_outage(error: Exception) -> bool:
    return isinstance(error, QueueUnreachable) or (isinstance(error, LabelingError) and error.is_transient)


def _learn_and_judge(hold: Hold) -> tuple[bool, dict[str, object], list[str]]:
    """Whether the candidate passed the gate, its report, and what keeps annotators from seeing it.

    Where the holdout is too small to decide anything, nothing is learnt: that would be hours for nothing.
    """
    context, store, settings = hold.context, hold.context.store, hold.context.settings
    check_trainable(settings)
    folder = run_folder(settings, hold.run)
    folder.mkdir(parents=True, exist_ok=True)
    run = store.finetunes.begin(hold.run.id, None, active_model(settings, store, hold.run.project))
    assert run.base is not None
    base = run.base  # what was active when the run began: it may be so itself by now, cut off while it was promoted
    manifest = build_manifest(context, run, folder, on_tick=hold.tick)
    whole = Manifest.read(manifest)
    snapshot, rules = whole.split("holdout").digest()[:12], GateRules(min_images=settings.gate_min_images)
    if (undecided := find_too_few(held_out(whole), snapshot, rules)) is not None:
        logger.info("run %d: %s", run.id, " ".join(undecided.reasons))
        return False, write_refusal(folder, run.id, undecided, LearntFrom.of(whole, manifest, steps=0)), []
    run = store.finetunes.begin(run.id, store.models.next_name(weights_name(base)[0]), base)
    assert run.candidate is not None
    logger.info("run %d: %s learns from %s", run.id, run.candidate, base)
    model = _train(hold, base, run.candidate, manifest, folder)
    store.models.add(run.candidate, str(model), base, run.project)

    live_scenes, candidate_scenes = _measure_scenes(hold, base), _measure_scenes(hold, str(model))
    live_rows = _measure(hold, base, manifest, folder / "live") + live_scenes
    candidate_rows = _measure(hold, str(model), manifest, folder / "candidate") + candidate_scenes
    first = _first_model(store, base)
    is_gone = Path(first).is_absolute() and not Path(first).is_dir()
    first_rows = [] if first == base or is_gone else _measure_scenes(hold, first)
    verdict = decide(live_rows, candidate_rows, snapshot, rules, first=first_rows)
    if is_gone:
        reason = f"The first model, {first}, is gone: what was lost since then is not known."
        verdict = replace(verdict, reasons=(*verdict.reasons, reason))
    report = write_report(
        folder,
        candidate=run.candidate,
        live=weights_name(base)[0],
        verdict=verdict,
        learnt_from=LearntFrom.of(whole, manifest, steps=settings.finetune_steps),
        live_rows=live_rows,
        candidate_rows=candidate_rows,
    )
    report["html"] = str(folder / "report.html")
    store.models.judge(run.candidate, "accepted" if verdict.passed else "refused", report)
    for reason in verdict.reasons:
        logger.info("run %d: %s", run.id, reason)
    if not verdict.passed:
        return False, report, []

    def tick() -> None:
        hold.tick()
        _check_overtaken(hold.context, run)

    try:
        tick()
        return True, report, promote(settings, store, run.candidate, run.project, on_tick=tick)
    except Overtaken as error:
        return False, report, [str(error)]


def _check_overtaken(context: JobContext, run: FinetuneRun) -> None:
    """Overtaken where the candidate would replace what it was not measured against, or undo a person's decision.

    It may be live itself: then the run was cut off while it was promoted.
    """
    store, project, name = context.store, run.project, run.candidate
    assert name is not None
    live = store.models.active(project)
    if live is not None and live.name == name:
        return
    active = context.settings.model if live is None else live.name
    by_hand = f"To promote it by hand: {promote_command(name, project)}"
    if store.models.was_active(name, project):
        raise Overtaken(f"{name} was active and was taken back meanwhile; {active} is active. {by_hand}")
    if active_model(context.settings, store, project) != run.base:
        raise Overtaken(f"Another version, {active}, is active meanwhile; {name} was not compared with it. {by_hand}")


def _train(hold: Hold, base: str, name: str, manifest: Path, folder: Path) -> Path:
    """The new model's folder, whole."""
    settings = hold.context.settings
    argv = [
        "-m", "argenseg_model.training.finetune", "--model", base, "--manifest", str(manifest), "--out", str(folder),
        "--name", name, "--steps", str(settings.finetune_steps), "--threads", str(settings.finetune_threads),
        "--device", settings.device,
    ]  # fmt: skip
    if not (folder / "finished.json").is_file():
        _run_module(hold, argv, folder)
    return folder / "model"


def _first_model(store: Store, model: str) -> str:
    """What a line of versions began with: no version itself."""
    parents = {version.folder: version.parent for version in store.models.all()}
    while model in parents:
        model = parents[model]
    return model


def _measure_scenes(hold: Hold, model: str) -> list[ItemResult]:
    """The model's rows on drawn scenes; once for all runs: the winner's serve the next one too."""
    folder = write_scenes_holdout(hold.context.settings.runs_folder / f"scenes-{SCENES}").folder
    return _measure(hold, model, folder / "manifest.jsonl", folder / weights_name(model)[1][:16])


def _measure(hold: Hold, model: str, manifest: Path, out: Path) -> list[ItemResult]:
    """The model's rows on a manifest's holdout; measured once."""
    settings, asked = hold.context.settings, {"model": model, "weights": weights_name(model)[1]}
    claim = out / "model.json"
    if not ((out / "summary.json").is_file() and claim.is_file() and json.loads(claim.read_text()) == asked):
        out.mkdir(parents=True, exist_ok=True)
        (out / "summary.json").unlink(missing_ok=True)
        claim.write_text(json.dumps(asked))
        argv = [
            "-m", "argenseg_model.evaluation_run", str(manifest), "--model", model, "--out", str(out), "--device",
            settings.device, "--threads", str(settings.finetune_threads), "--pictures", str(_PICTURES),
        ]  # fmt: skip
        _run_module(hold, argv, out)
    return read_rows(out / "items.jsonl")


def _run_module(hold: Hold, argv: list[str], folder: Path) -> None:
    threads = hold.context.settings.finetune_threads
    run_child(argv, folder / "output.log", threads=threads, on_tick=hold.tick, is_busy=hold.is_busy)

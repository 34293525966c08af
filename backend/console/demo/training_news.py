"""What becomes of the fine-tune runs that people start from Label Studio, reported in the demo's terminal."""

import time
from contextlib import suppress

from rich.console import Console

from labeling.errors import StoreError
from labeling.settings import Settings
from labeling.store import FinetuneRun, Store
from worker.finetune.progress import tell_progress, tell_verdict

_LOOK_EVERY_S = 2.0


class TrainingNews:
    """Tells each change of each run once; runs that ended before it was made are old news."""

    def __init__(self, settings: Settings, store: Store, console: Console) -> None:
        self._settings, self._store, self._console = settings, store, console
        self._told = {run.id: tell_progress(settings, run) for run in store.finetunes.newest() if run.ended_at}
        self._next_look = 0.0

    def tell(self) -> bool:
        """Print what is new, and return False: it never has all. Call it often: it looks every two seconds."""
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + _LOOK_EVERY_S
        with suppress(StoreError):  # busy: at the next look
            for run in reversed(self._store.finetunes.newest()):
                self._tell_run(run)
        return False

    def _tell_run(self, run: FinetuneRun) -> None:
        progress = tell_progress(self._settings, run)
        if self._told.get(run.id) == progress:
            return
        self._told[run.id] = progress
        self._print(f"Training run {run.id} ({run.candidate or 'a new version'}): {progress}")
        if run.ended_at is None:
            return
        for reason in tell_verdict(run):
            self._print(f"    {reason}")
        if run.report is not None:
            self._print(f"    Report: {self._settings.local_backend_url}/finetune/{run.id}")

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False)

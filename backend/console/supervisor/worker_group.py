"""Several GPU workers on one host: each a process of its own with its own model, dealt out over the GPUs."""

import os
import sys

from argenseg_model.threads import torch_environment
from backend.console.supervisor.processes import Command, Supervisor
from labeling.settings import Settings, environment_of
from worker.errors import SupervisorError


def run_group(settings: Settings) -> int:
    """Run `settings.workers` workers until Ctrl-C or SIGTERM; one that ends is started again. Returns the exit code.

    Each sees only one of `settings.devices` (numbers or UUIDs, as CUDA_VISIBLE_DEVICES takes them), in turn; all, if
    none are named. The code is os.EX_CONFIG if a worker cannot load its model.
    """
    supervisor = Supervisor(settings.data_dir / "logs" / "workers.log", log_format=settings.log_format)
    with supervisor.supervising():
        for number in range(settings.workers):
            argv = [sys.executable, "-m", "backend.console.cli", "worker"]
            environment = worker_environment(settings, number)
            supervisor.start(Command(f"worker-{number + 1}", argv, environment, stop_timeout_s=30.0))
        try:
            supervisor.run_until(lambda: False)
        except SupervisorError as error:
            supervisor.say(str(error))
            return os.EX_CONFIG
    return 0


def worker_environment(settings: Settings, number: int) -> dict[str, str]:
    """The environment of the group's worker `number`, with its share of the GPUs and of the cores."""
    environment = {**os.environ, **environment_of(settings), "WORKERS": "1", "DEVICES": ""}
    devices = [device.strip() for device in (settings.devices or "").split(",") if device.strip()]
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    return torch_environment(environment, processes=settings.workers)

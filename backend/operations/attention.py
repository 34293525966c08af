"""What somebody should look at now: of the doctor's checks those that cost nothing and change nothing."""

from functools import partial

from backend.operations.doctor import label_studio, queues, storage
from backend.operations.doctor.checks import settings_finding
from backend.operations.doctor.findings import Check, Finding, run_checks
from labeling.settings import Settings

_LIMIT_S = 10.0


def find_problems(settings: Settings) -> list[Finding]:
    """Warnings and failures, without secrets, the failures first. It takes seconds where something hangs."""
    checks = [
        Check("data folder", partial(storage.data_folder, settings), _LIMIT_S),
        Check("database", partial(storage.database, settings), _LIMIT_S),
        Check("corrections", partial(storage.corrections, settings), _LIMIT_S),
        Check("spool", partial(storage.spool, settings), _LIMIT_S),
        Check("redis", partial(queues.redis, settings), _LIMIT_S),
        Check("workers", partial(queues.workers, settings), _LIMIT_S),
    ]
    about_settings = settings_finding(settings)
    if about_settings.state == "ok":
        checks += [
            Check("label studio", partial(label_studio.server, settings), _LIMIT_S),
            Check("token", partial(label_studio.token, settings), _LIMIT_S),
        ]
    found = [about_settings, *run_checks(checks, settings)]
    return [finding for state in ("failure", "warning") for finding in found if finding.state == state]

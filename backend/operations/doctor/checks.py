"""All checks of the doctor, in the order in which a person should mend what they find."""

from functools import partial

from backend.operations.doctor import backend, label_studio, model, project, queues, storage
from backend.operations.doctor.findings import Check, Finding, failure, ok, skipped
from labeling.settings import Settings


def all_checks(settings: Settings, number: int | None, with_model: bool) -> list[Check]:
    """All of them, in the order in which they are shown; without Label Studio's address only those of this machine."""
    here = [
        Check("data folder", partial(storage.data_folder, settings)),
        Check("database", partial(storage.database, settings), 60.0),
        Check("masks", partial(storage.blobs, settings)),
        Check("corrections", partial(storage.corrections, settings)),
        Check("spool", partial(storage.spool, settings)),
        Check("redis", partial(queues.redis, settings)),
        Check("workers", partial(queues.workers, settings)),
        Check("model", partial(model.weights, settings, number), 60.0),
        Check(
            "segmentation", partial(model.segmentation, settings, number, is_wanted=with_model), model.SEGMENT_LIMIT_S
        ),
        Check("backend", partial(backend.backend, settings)),
    ]
    if _missing(settings):
        return [*here, Check("label studio", lambda: [skipped("Not looked at, nor what depends on it: see settings.")])]
    return [
        *here,
        Check("label studio", partial(label_studio.server, settings), 40.0),
        Check("token", partial(label_studio.token, settings), 40.0),
        Check("clock", partial(label_studio.clock, settings), 40.0),
        Check("private addresses", partial(label_studio.private_addresses, settings), 40.0),
        Check("label config", partial(project.label_config, settings, number), 40.0),
        Check("connection", partial(project.connection, settings, number), 40.0),
        Check("webhook", partial(project.webhook, settings, number), 60.0),
        Check("image", partial(project.image, settings, number), 40.0 + settings.image_timeout_s),
        Check("version", partial(project.version, settings, number), 40.0),
    ]


def settings_finding(settings: Settings) -> Finding:
    """Whether settings that could be read are enough to send masks."""
    if missing := _missing(settings):
        finding = failure(f"{' and '.join(missing)} not set: masks cannot be sent.", "Set them in the environment.")
    elif not str(settings.label_studio_url).startswith(("http://", "https://")):
        finding = failure("LABEL_STUDIO_URL is no URL of the web.", "Begin it with http:// or https://.")
    else:
        finding = ok(f"Read; data in {settings.data_dir}, model {settings.model}.")
    return Finding(finding.state, finding.text, finding.mend, "settings")


def _missing(settings: Settings) -> list[str]:
    needed = {"LABEL_STUDIO_URL": settings.label_studio_url, "LABEL_STUDIO_API_KEY": settings.label_studio_api_key}
    return [name for name, value in needed.items() if not value]

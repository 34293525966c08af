"""The command `argenseg doctor`."""

import json
import sys
from functools import partial

import click
from rich.text import Text

from backend.console import command_line
from backend.operations.doctor import backend, label_studio, model, project, queues, storage
from backend.operations.doctor.findings import Check, Finding, failure, ok, run_checks, skipped
from labeling.errors import SettingsError
from labeling.settings import Settings

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failure": ("✗", "red"), "skipped": ("–", "dim")}
_LINK_WIDTH = 20


@click.command()
@click.option("--project", "number", type=int, help="Label Studio's project number: look at its own links too.")
@click.option("--model", "with_model", is_flag=True, help="Load the model and segment a tiny picture (takes a while).")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@command_line.label_studio_options
def doctor(
    number: int | None, with_model: bool, as_json: bool, label_studio_url: str | None, api_key: str | None
) -> None:
    """Look at every link, from Label Studio to the model, and say how to mend what is broken.

    Exits 0 if nothing failed, else 1. With --project it saves that project unchanged, to see its webhook arrive.

    Example: argenseg doctor --project 3
    """
    try:
        settings = command_line.start(log_level="CRITICAL", label_studio_url=label_studio_url, api_key=api_key)
    except SettingsError as error:
        findings = [Finding("failure", str(error), "Correct these environment variables.", "settings")]
    else:
        findings = [_settings_finding(settings), *run_checks(checks(settings, number, with_model), settings)]
    is_well = all(finding.state != "failure" for finding in findings)
    if as_json:
        print(json.dumps({"ok": is_well, "findings": [finding.to_json() for finding in findings]}, ensure_ascii=False))
    else:
        _show(findings)
    sys.exit(0 if is_well else 1)


def checks(settings: Settings, number: int | None, with_model: bool) -> list[Check]:
    """All of them, in the order in which they are shown; without Label Studio's address only those of this machine."""
    here = [
        Check("data folder", partial(storage.data_folder, settings)),
        Check("database", partial(storage.database, settings), 60.0),
        Check("masks", partial(storage.blobs, settings)),
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


def _settings_finding(settings: Settings) -> Finding:
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


def _show(findings: list[Finding]) -> None:
    console, shown = command_line.plain_console(), ""
    for finding in findings:
        mark, style = _MARKS[finding.state]
        link, shown = ("" if finding.link == shown else finding.link), finding.link
        line = Text.assemble((mark, style), f" {link:<{_LINK_WIDTH}}{finding.text}")
        console.print(line, soft_wrap=True)
        if finding.mend:
            console.print(f"  {'':<{_LINK_WIDTH}}→ {finding.mend}", style="bold", soft_wrap=True)
    failures = sum(finding.state == "failure" for finding in findings)
    warnings = sum(finding.state == "warning" for finding in findings)
    console.print(f"{failures} failures, {warnings} warnings." if failures or warnings else "All is well.")

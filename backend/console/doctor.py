"""The command `argenseg doctor`."""

from __future__ import annotations  # its types are imported for type checkers only

import json
import sys
from typing import TYPE_CHECKING

import click

from backend.console import command_line
from labeling.errors import SettingsError

if TYPE_CHECKING:
    from backend.operations.doctor.findings import Finding

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
    from backend.operations.doctor.checks import all_checks, settings_finding
    from backend.operations.doctor.findings import Finding, run_checks
    from backend.operations.running import beside_running

    try:
        given = command_line.start(log_level="CRITICAL", label_studio_url=label_studio_url, api_key=api_key)
    except SettingsError as error:
        findings = [Finding("failure", str(error), "Correct these environment variables.", "settings")]
    else:
        settings = beside_running(given)  # which may listen elsewhere than this shell's PORT says
        findings = [settings_finding(settings), *run_checks(all_checks(settings, number, with_model), settings)]
    is_well = all(finding.state != "failure" for finding in findings)
    if as_json:
        print(json.dumps({"ok": is_well, "findings": [finding.to_json() for finding in findings]}, ensure_ascii=False))
    else:
        _show(findings)
    sys.exit(0 if is_well else 1)


def _show(findings: list[Finding]) -> None:
    from rich.text import Text

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

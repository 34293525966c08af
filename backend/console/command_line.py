"""What the commands of this floor share: settings from the environment with options over them, and the log."""

import csv
import io
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table

from labeling.settings import Settings, read_settings

_TALKATIVE = ("alembic", "httpx")  # they tell of every connection and request

_ENDLESS = 100_000  # columns

label_studio_url_option = click.option("--label-studio-url", help="Label Studio's address (LABEL_STUDIO_URL).")
api_key_option = click.option(
    "--api-key", help="A token of Label Studio (LABEL_STUDIO_API_KEY, which other users of this machine cannot see)."
)


def label_studio_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --label-studio-url and --api-key to a command; it gets them as `label_studio_url` and `api_key`."""
    return label_studio_url_option(api_key_option(command))


def start(*, log_level: str | None = None, **options: Any) -> Settings:
    """Read the environment's settings, with those options over them that are not None, and configure the log.

    `api_key` stands for `label_studio_api_key`. `log_level` is for commands that talk to a person: less is logged.
    SettingsError names what is wrong.
    """
    api_key = options.pop("api_key", None)
    settings = read_settings(label_studio_api_key=api_key, **options)
    level = log_level or settings.log_level
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stdout)
    if settings.log_level != "DEBUG":
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
    return settings


def plain_console(*, width: int | None = None, stderr: bool = False) -> Console:
    """A console that prints texts as they are: titles, reasons and labels may hold [brackets] and :colons:."""
    return Console(width=width, stderr=stderr, highlight=False, markup=False, emoji=False)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print cells as they are (None is empty), never cut: folded in a terminal, else a row is a line."""
    table = Table(*(Column(header, overflow="fold") for header in headers))
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    width = None if sys.stdout.isatty() else _ENDLESS
    plain_console(width=width).print(table)


def echo_csv(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows of one shape as CSV, with a line of names first; without rows nothing. Times are ISO 8601."""
    if not rows:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    click.echo(text.getvalue(), nl=False)


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    # a text that a spreadsheet would take for a formula: labels and prompts are written by others
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value

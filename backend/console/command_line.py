"""What commands share: settings from the environment with options over them, and the log."""

from __future__ import annotations  # its types are imported for type checkers only

import csv
import getpass
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from labeling.errors import LabelingError

if TYPE_CHECKING:
    from rich.console import Console

    from labeling.settings import Settings
    from labeling.store import ActionName, Project, Store

NOTHING_TO_DO = 4
"""Exit code of a command that found its work done. 0 is done, 1 failed, 2 a wrong command line, 3 refused."""

_WIDTH = 100  # columns, where no terminal says how many it has


class Refused(click.ClickException):
    """It was not begun, and nothing was changed: the message says what would allow it."""

    exit_code = 3


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
    from labeling.logs import configure_logs
    from labeling.settings import read_settings

    api_key = options.pop("api_key", None)
    settings = read_settings(label_studio_api_key=api_key, **options)
    configure_logs(settings, level=log_level)
    return settings


def start_serving(**options: Any) -> Settings:
    """`start` for what runs unattended: what it writes is its owner's only."""
    from labeling.private_files import keep_private

    settings = start(**options)
    keep_private(settings.data_dir)
    return settings


@contextmanager
def open_store(settings: Settings) -> Iterator[Store]:
    """The settings' store, closed at the end. StoreError if it cannot be used, StoreMissing if there is none."""
    from labeling.store import Store

    with Store.open(settings.database_url, settings.blob_url, must_exist=True) as store:
        yield store


def known_project(settings: Settings, store: Store, number: int) -> Project:
    """Project `number` of the settings' Label Studio; LabelingError if this installation never saw it."""
    found = store.projects.find(number, settings.installation_url)
    if found is None:
        raise LabelingError(f"Project {number} is not known here. Connect it to the backend, or open one of its tasks.")
    return found


def note_action(store: Store, action: ActionName, subject: str, reason: str = "") -> None:
    """Keep that this user just did it. One that was done is not undone because it could not be noted: that is said."""
    try:
        who = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in containers
        who = f"user {os.getuid()}"
    try:
        store.actions.add(action, subject, who=f"{who}, command line", reason=reason)
    except LabelingError as error:
        click.echo(f"It was done, and not noted: {error}", err=True)


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, instead of ending the process."""
    stop = threading.Event()
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def plain_console(*, width: int | None = None, stderr: bool = False) -> Console:
    """A console that prints texts as they are: titles, reasons and labels may hold [brackets] and :colons:."""
    from rich.console import Console

    return Console(width=width, stderr=stderr, highlight=False, markup=False, emoji=False)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, if_empty: str = "") -> None:
    """Print cells as they are (None is empty), never cut but folded: at the terminal's width, elsewhere at 100 columns.

    Programs take --json or --csv instead. Without rows `if_empty` is printed, which says what would fill the table.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    rows = list(rows)
    if not rows and if_empty:
        click.echo(if_empty)
        return
    table = Table(
        *(Column(header, overflow="fold") for header in headers), box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0)
    )
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    width = None if sys.stdout.isatty() else _WIDTH
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

"""What the commands of this floor share: settings from the environment with options over them, and the log."""

import logging
import sys
from collections.abc import Callable
from typing import Any

import click

from labeling.settings import Settings, read_settings

_TALKATIVE = ("alembic", "httpx")  # they tell of every connection and request

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

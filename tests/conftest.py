"""Order of the tests, and what happens when a part that a test needs is not on this machine."""

import os
from typing import NoReturn

import pytest
from hypothesis import settings

# limits in seconds belong into benchmarks: the first example of a test also imports what it needs
settings.register_profile("argenseg", deadline=None)
settings.load_profile("argenseg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The quick tests first: the end-to-end ones come last."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is not None)


def cannot_run(reason: str) -> NoReturn:
    """Name what is missing: a skipped test on somebody's machine, a failed one under CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"Under CI every test has to run. {reason}", pytrace=False)
    pytest.skip(reason)

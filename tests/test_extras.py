"""What the base installation holds, and what is said where it is not enough."""

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from click.testing import CliRunner

from backend.console.cli import COMMANDS, main
from labeling.errors import SettingsError
from labeling.extras import EXTRAS
from labeling.settings import read_settings

ROOT = Path(__file__).parents[1]
IMPORT_ALL = f"""
import importlib, pkgutil, sys
for name in {[*EXTRAS["worker"], *EXTRAS["demo"], "label_studio_sdk", "pandas", "nltk"]}:
    sys.modules[name] = None  # as if it were not installed
for floor in ("labeling", "worker", "backend"):
    for module in pkgutil.walk_packages(importlib.import_module(floor).__path__, floor + "."):
        if not module.name.endswith(("__main__", "_ml_adapter")) and ".migrations" not in module.name:
            importlib.import_module(module.name)
"""


@pytest.fixture
def base_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no extra were installed."""
    for modules in EXTRAS.values():
        for module in modules:
            monkeypatch.setitem(sys.modules, module, None)


def test_every_module_above_the_model_is_imported_without_an_extra() -> None:
    assert subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, timeout=120).returncode == 0


def test_the_extras_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"].keys() == {*EXTRAS, "dev", "docs"}
    for extra in ("worker", "postgresql"):  # that are installed here
        names = {
            requirement.split("[")[0].split(">")[0].lower() for requirement in project["optional-dependencies"][extra]
        }
        assert names == {packages_distributions()[module][0].lower() for module in EXTRAS[extra]}


@pytest.mark.usefixtures("base_only")
@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.extra])
def test_a_command_without_its_extra_names_it(name: str) -> None:
    result = CliRunner().invoke(main, [name])
    assert result.exit_code == 1
    assert f"argenseg {name} needs more" in result.output
    assert f"pip install 'argenseg-labeling[{COMMANDS[name].extra}]'" in result.output
    assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


@pytest.mark.usefixtures("base_only")
@pytest.mark.parametrize(
    ("option", "url", "extra"),
    [
        ("blob_url", "s3://bucket/blobs", "s3"),
        ("blob_url", "gs://bucket/blobs", "gcs"),
        ("blob_url", "abfs://container@account/blobs", "azure"),
        ("database_url", "postgresql+psycopg://me:hunter2@host/argenseg", "postgresql"),
    ],
)
def test_a_url_without_its_extra_names_it(option: str, url: str, extra: str) -> None:
    with pytest.raises(SettingsError, match=rf"pip install 'argenseg-labeling\[{extra}\]'") as refusal:
        read_settings(**{option: url})
    assert "hunter2" not in str(refusal.value)


@pytest.mark.usefixtures("base_only")
def test_urls_of_this_machine_need_no_extra(tmp_path: Path) -> None:
    settings = read_settings(data_dir=tmp_path, blob_url=f"file://{tmp_path}/blobs")
    assert settings.database_url == f"sqlite:///{tmp_path}/argenseg.db"

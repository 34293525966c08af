"""What a start does not import: nobody waits for a library that is not used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backend.console.cli import COMMANDS

ROOT = Path(__file__).parents[1]
TESTS_ONLY = ("label_studio_sdk", "pandas", "nltk", "matplotlib")
MODEL_ONLY = ("torch", "transformers", "safetensors", "tokenizers", "sentencepiece", "peft")
SERVICES = ("sqlalchemy", "alembic", "pydantic", "redis", "rq", "flask", "httpx", "jwt", "jinja2", "rich")
HEAVY = (*TESTS_ONLY, *MODEL_ONLY, *SERVICES, "numpy", "scipy", "cv2", "PIL")
HELP = """
from click.testing import CliRunner
from backend.console.cli import main
def show(command, words):
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0, (words, result.output)
    for name in getattr(command, "commands", {}):
        show(command.commands[name], [*words, name])
name = sys.argv[1]
show(main.get_command(None, name), [name])
"""


def loaded(code: str, *arguments: str) -> set[str]:
    """The libraries that Python code loads."""
    code = f"import json, sys\n{code}\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    command = [sys.executable, "-c", code, *arguments]
    return set(json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout))


@pytest.mark.parametrize("module", ["backend.web.app", "backend.web.server", "worker.queue.jobs", "worker.sweeper"])
def test_processes_without_a_model_load_nothing_of_it_nor_of_the_tests(module: str) -> None:
    assert loaded(f"import {module}") & {*TESTS_ONLY, *MODEL_ONLY, "scipy"} == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_loads_no_heavy_library(name: str) -> None:
    assert loaded(HELP, name) & set(HEAVY) == set()

"""The command `argenseg`, and the real server."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import httpx
import pytest
from click.testing import CliRunner

from backend.console.cli import COMMANDS, GROUPS, main
from labeling.settings import Settings
from tests.backend.web.recorded import recorded
from tests.backend.web.served import backend_process

HEAVY = ["torch", "transformers"]


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_web_process_pulls_no_torch() -> None:
    code = (
        f"import sys, backend.console.cli, backend.web.server; print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert run_python(code) == "[]\n"


def test_help_lists_the_commands_and_imports_none_of_them() -> None:
    code = f"""
import sys
from click.testing import CliRunner
from backend.console.cli import main
print(CliRunner().invoke(main, ["--help"]).output)
print([name for name in {[*HEAVY, "flask", "waitress", "redis", "pydantic", "sqlalchemy"]} if name in sys.modules])
"""
    output = run_python(code)
    assert output.endswith("[]\n")
    for name, command in COMMANDS.items():
        assert f"\n  {name} " in output and command.help.split()[0] in output


def test_every_command_is_in_one_group_of_the_help() -> None:
    assert sorted(" ".join(GROUPS.values()).split()) == sorted(COMMANDS)


def test_as_a_module() -> None:
    command = [sys.executable, "-m", "backend.console.cli", "--version"]
    assert subprocess.check_output(command, text=True).startswith("argenseg, version ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_has_an_example(name: str) -> None:
    assert find_spec(COMMANDS[name].target.partition(":")[0]) is not None
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Example" in result.output


def test_an_unknown_command() -> None:
    result = CliRunner().invoke(main, ["paint"])
    assert result.exit_code == 2 and "No such command 'paint'" in result.output


def test_bad_settings_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREADS", "many")
    result = CliRunner().invoke(main, ["backend"])
    assert result.exit_code == 3 and "THREADS" in result.output and "Traceback" not in result.output


@pytest.fixture
def server(settings: Settings) -> Iterator[httpx.Client]:
    """`argenseg backend` as a process, with two of its four threads for waiting."""
    with backend_process(settings, THREADS="4", PREDICT_WAIT_S="2") as backend:
        assert f"Listening at 127.0.0.1:{backend.port}." in backend.log
        yield backend.client


def test_health_is_answered_while_tasks_are_waited_for(server: httpx.Client) -> None:
    task = recorded("predict_single")["json"]
    with ThreadPoolExecutor(6) as people:
        opening = [
            people.submit(server.post, "/predict", json={**task, "tasks": [{**task["tasks"][0], "id": number}]})
            for number in range(6)
        ]
        time.sleep(0.5)
        began = time.monotonic()
        assert server.get("/health").status_code == 200
        assert time.monotonic() - began < 1
        assert [future.result().json() for future in opening] == [{"results": [[]]}] * 6
    assert server.get("/").json()["predictions"] == {"requested": 6}

import pytest
from click.testing import CliRunner

from backend.console.cli import main


@pytest.mark.parametrize("command", ["worker", "publisher", "sweeper", "up"])
def test_every_command_explains_itself_by_an_example(command: str) -> None:
    answer = CliRunner().invoke(main, [command, "--help"])
    assert answer.exit_code == 0
    assert "Example:" in answer.output
    assert f"argenseg {command}" in answer.output


def test_settings_that_cannot_be_used_are_named() -> None:
    answer = CliRunner().invoke(main, ["publisher"], env={"PORT": "none"})
    assert answer.exit_code == 3  # refused
    assert "PORT" in answer.output
    assert "Traceback" not in answer.output

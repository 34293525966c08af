import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.console.supervisor.processes import Command, Supervisor
from tests.worker.conftest import is_alive, wait_until
from worker.errors import SupervisorError

ROOT = Path(__file__).parents[4]


def pids(folder: Path, name: str) -> list[int]:
    file = folder / f"{name}.pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.backend.console.supervisor.supervised", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: pids(tmp_path, "first") and pids(tmp_path, "second"))
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_wish_to_stop_stops_what_others_need_last(
    supervisor: "subprocess.Popen[str]", tmp_path: Path, signal_number: signal.Signals
) -> None:
    supervisor.send_signal(signal_number)
    output, _ = supervisor.communicate(timeout=10)
    assert supervisor.returncode == 0
    assert (tmp_path / "stopped").read_text().split() == ["second", "first"]
    assert not any(is_alive(pid) for name in ("first", "second") for pid in pids(tmp_path, name))
    assert f"first     | hello from {pids(tmp_path, 'first')[0]}" in output
    assert "argenseg  | stopping" in output
    assert output == (tmp_path / "log" / "all.log").read_text()


def test_ctrl_c_in_the_terminal_does_not_reach_the_children(
    supervisor: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    for name in ("first", "second"):
        assert os.getpgid(pids(tmp_path, name)[0]) != os.getpgid(supervisor.pid)


def test_a_child_that_ends_is_started_again(supervisor: "subprocess.Popen[str]", tmp_path: Path) -> None:
    first, second = pids(tmp_path, "first")[0], pids(tmp_path, "second")[0]
    (tmp_path / "end").touch()
    wait_until(lambda: len(pids(tmp_path, "second")) == 2)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(pids(tmp_path, "first")) == 2)
    assert not is_alive(second)
    supervisor.send_signal(signal.SIGTERM)
    output, _ = supervisor.communicate(timeout=10)
    assert "second ended with exit code 3 and is started again in 0.5 s" in output
    assert "first ended with exit code -9" in output


def test_children_die_with_a_killed_supervisor(supervisor: "subprocess.Popen[str]", tmp_path: Path) -> None:
    children = [*pids(tmp_path, "first"), *pids(tmp_path, "second")]
    assert all(map(is_alive, children))
    supervisor.kill()
    supervisor.wait()
    wait_until(lambda: not any(map(is_alive, children)), 5)


def python(name: str, code: str, **options: object) -> Command:
    return Command(name, [sys.executable, "-c", code], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("code", "restarts"), [(os.EX_CONFIG, True), (1, False)])
def test_a_child_that_cannot_be_helped_ends_everything(tmp_path: Path, code: int, restarts: bool) -> None:
    with (
        pytest.raises(SupervisorError, match=f"child ended with exit code {code}"),
        Supervisor(tmp_path / "log").supervising() as supervisor,
    ):
        supervisor.start(python("child", f"raise SystemExit({code})", restarts=restarts))
        supervisor.run_until(lambda: False, 10)


def test_restarts_come_later_each_time(tmp_path: Path) -> None:
    with Supervisor(tmp_path / "log").supervising() as supervisor:
        supervisor.start(python("child", "raise SystemExit(1)"))
        assert supervisor.run_until(lambda: "again in 2 s" in (tmp_path / "log").read_text(), 10)
    delays = [line.split()[-2] for line in (tmp_path / "log").read_text().splitlines() if "again in" in line]
    assert delays == ["0.5", "1", "2"]


def test_a_child_that_does_not_want_to_stop_is_killed_with_what_it_started(tmp_path: Path) -> None:
    stubborn = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("started", grandchild.pid)
time.sleep(60)
"""
    log = tmp_path / "log"
    with Supervisor(log).supervising() as supervisor:
        supervisor.start(python("child", stubborn, stop_timeout_s=0.3))
        assert supervisor.run_until(lambda: "started" in log.read_text(), 10)
        assert supervisor.is_running("child")
        began = time.monotonic()
    assert time.monotonic() - began < 3
    grandchild = int(log.read_text().split("started ")[1].split()[0])
    wait_until(lambda: not is_alive(grandchild))


def test_an_environment_and_a_folder_of_its_own(tmp_path: Path) -> None:
    with Supervisor(tmp_path / "log").supervising() as supervisor:
        code = "import os; print(sorted(os.environ), os.getcwd())"
        supervisor.start(python("child", code, environment={"ONLY": "this"}, folder=tmp_path, restarts=False))
        with pytest.raises(SupervisorError):
            supervisor.run_until(lambda: False, 10)
    log = (tmp_path / "log").read_text()
    assert "'ONLY'" in log
    assert "'PATH'" not in log
    assert str(tmp_path) in log


def test_a_log_of_json_names_the_process_of_each_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Supervisor(log, echo=False, log_format="json").supervising() as supervisor:
        supervisor.start(python("child", """print('plain'); print('{"time": "t", "message": "own", "task": 12}')"""))
        assert supervisor.run_until(lambda: "own" in log.read_text(), 20)
        supervisor.say("stopping")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = {line["message"]: line["process"] for line in lines}
    assert (told["plain"], told["own"], told["stopping"]) == ("child", "child", "argenseg")
    assert next(line for line in lines if line["message"] == "own")["task"] == 12


def test_a_line_of_text_has_one_date_which_the_supervisor_writes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import logging, sys; from labeling.logs import start_log; start_log(sys.stdout, 'INFO', 'text')"
    code += "; logging.info('x')"
    with Supervisor(log, echo=False).supervising() as supervisor:
        supervisor.start(python("child", code, folder=ROOT))
        assert supervisor.run_until(lambda: "root: x" in log.read_text(), 30)
    line = next(line for line in log.read_text().splitlines() if "root: x" in line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d child     \| INFO root: x", line)


ONE_ANSWER = """
import os, socket, time
with socket.socket(fileno=int(os.environ["ARGENSEG_LISTEN_FD"])) as listening:
    connection, _ = listening.accept()
    connection.sendall(str(os.getpid()).encode())
    connection.close()
"""


def test_connections_wait_while_a_killed_child_is_started_again(tmp_path: Path) -> None:
    """The supervisor holds the socket: nobody is refused. Once the child is stopped for good, everybody is."""
    answered: list[bytes] = []

    def ask() -> None:
        for _ in range(3):
            with socket.create_connection(address, timeout=60) as connection:
                answered.append(connection.recv(100))

    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    supervisor = Supervisor(tmp_path / "log", echo=False)
    with supervisor.supervising():
        supervisor.start(Command("backend", [sys.executable, "-c", ONE_ANSWER], listening=listening))
        asking = threading.Thread(target=ask)
        asking.start()
        assert supervisor.run_until(lambda: not asking.is_alive(), timeout_s=120)
    assert len(set(answered)) == 3, "each was answered by another process"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)

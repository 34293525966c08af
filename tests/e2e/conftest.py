"""One running demo for all end-to-end tests, and one browser that is logged in to it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Route, sync_playwright

from argenseg_model.starter import STARTER_DIR
from backend.console.demo.label_studio import PASSWORD, USER, LabelStudioServer, find_label_studio, free_ports
from backend.console.demo.run import ALL_THERE
from labeling.store import Store
from tests.conftest import cannot_run
from tests.e2e.label_studio_api import LabelStudioApi, RunningDemo
from worker.errors import SupervisorError

FINETUNE_STEPS = "40"  # fewer than the demo's own: a verdict is wanted, not the best model
START_S = 1200.0  # includes the first masks, on a machine that is busy with other things
STOP_S = 60.0
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """The demo that all tests share."""
    with running_demo(tmp_path_factory.mktemp("demo"), *free_ports(2)) as demo:
        yield demo


@contextmanager
def running_demo(folder: Path, port: int, backend_port: int) -> Iterator[RunningDemo]:
    """`argenseg demo` in a process of its own, ready, on these ports; after Ctrl-C nothing of it may be left."""
    try:
        program = find_label_studio(None)
    except SupervisorError as error:
        cannot_run(str(error))
    if "ARGENSEG_MODEL" not in os.environ and not (STARTER_DIR / "model.safetensors").is_file():
        cannot_run(f"The starter model is not in {STARTER_DIR}.")
    ports = ["--port", str(port), "--backend-port", str(backend_port)]
    command = [sys.executable, "-m", "backend.console.cli", "demo", "--data-dir", str(folder), *ports]
    ours = {"FINETUNE_STEPS": FINETUNE_STEPS, "ALLOW_PRIVATE_IMAGE_HOSTS": "true"}  # an S3 server is on this machine
    environment = {**os.environ, **ours}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, env=environment, start_new_session=True, **output) as process:
        try:
            _wait_for_welcome(process, folder)
            server = LabelStudioServer(program, folder / "label-studio", port)
            data = folder / "argenseg"
            with Store.open(f"sqlite:///{data}/argenseg.db", str(data / "blobs")) as store:
                api = LabelStudioApi(server.url, server.token())
                yield RunningDemo(api, f"http://127.0.0.1:{backend_port}", store, data)
                api.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(STOP_S) == 0, "the demo did not end cleanly after Ctrl-C"
            assert not [each for each in (port, backend_port) if _listens(each)], "a port is still in use after Ctrl-C"
            assert not _processes_of(folder), "still running after Ctrl-C"
        finally:
            process.kill()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        cannot_run("Chromium is not installed: install the package 'chromium'.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def browser_context(demo: RunningDemo, browser: Browser) -> Iterator[BrowserContext]:
    """Logged in to the demo's Label Studio; requests to anywhere but that and the backend are dropped."""

    def only_loopback(route: Route) -> None:
        if route.request.url.startswith((demo.label_studio.url, demo.backend_url, "data:", "blob:")):
            route.continue_()
        else:
            route.abort()

    context = browser.new_context(viewport={"width": 1500, "height": 950})
    context.set_default_timeout(60_000)
    context.route("**/*", only_loopback)
    log_in(context, demo.label_studio.url)
    yield context


def log_in(context: BrowserContext, url: str) -> None:
    """By the form, but without a page: closing one that still loads can hang Chromium."""
    form_url = f"{url}/user/login/"
    context.request.get(form_url)
    token = next(cookie["value"] for cookie in context.cookies(url) if cookie["name"] == "csrftoken")
    form = {"email": USER, "password": PASSWORD, "csrfmiddlewaretoken": token}
    answer = context.request.post(form_url, form=form, headers={"Referer": form_url}, max_redirects=0)
    assert answer.status == 302, f"the login was answered with {answer.status}"


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Where screenshots are kept: `test-artifacts/` in the work folder (git ignores it)."""
    folder = Path("test-artifacts")
    folder.mkdir(exist_ok=True)
    return folder


def _wait_for_welcome(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Read the demo's output until it says that all is there; then keep reading, so that it never blocks."""
    assert process.stdout is not None
    output, lines = process.stdout, []
    ready = threading.Event()

    def read() -> None:
        for line in output:
            lines.append(line.decode(errors="replace"))
            if ALL_THERE in lines[-1]:
                ready.set()
        ready.set()

    threading.Thread(target=read, daemon=True).start()
    assert ready.wait(START_S) and process.poll() is None, (
        f"the demo did not start:\n{''.join(lines)}{_log_end(folder)}"
    )


def _log_end(folder: Path) -> str:
    log = folder / "logs" / "demo.log"
    return "".join(log.read_text(errors="replace").splitlines(keepends=True)[-60:]) if log.exists() else ""


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _processes_of(folder: Path) -> list[str]:
    """Command lines and environments of this machine's processes that name the demo's folder (Linux)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in text:
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found

"""What is told to NOTIFY_URL: once each, tried again, and never in anybody's way."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis

from labeling.errors import SettingsError
from labeling.settings import Settings, read_settings
from labeling.store import Store
from tests.serving import serving
from tests.worker.conftest import Want, wait_until
from worker import notices
from worker.context import JobContext
from worker.notices import Notice, Notifier, Watch


class Taker(ThreadingHTTPServer):
    """Takes POSTs, after it refused the first `refusals`."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.refusals = 0
        taker = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                is_refused, taker.refusals = taker.refusals > 0, taker.refusals - 1
                if not is_refused:
                    taker.taken.append(body)
                self.send_response(503 if is_refused else 204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret-path"


@pytest.fixture
def taker() -> Iterator[Taker]:
    with serving(Taker()) as server:
        yield server


@pytest.fixture
def watch(settings: Settings, store: Store, redis_connection: Redis, taker: Taker, monkeypatch) -> Watch:
    monkeypatch.setattr(notices, "WATCH_S", 0.0)
    monkeypatch.setattr(notices, "LASTS_S", 0.3)
    told = settings.model_copy(update={"notify_url": SecretStr(taker.url)})
    found = Watch.of(JobContext(told, store, None, redis_connection))
    assert found is not None
    return found


def test_the_end_of_a_run_is_told_once_by_all_sweepers_together(watch: Watch, taker: Taker, store: Store) -> None:
    run = store.finetunes.request("by-hand", None, corrections=3)
    assert run is not None
    watch.tick()
    store.finetunes.end(run.id, "failed", error="The disk was full.")
    other = Watch(watch.context, watch.notifier)
    for each in (watch, other, watch, other):
        each.tick()
    wait_until(lambda: taker.taken)
    time.sleep(0.2)
    [notice] = taker.taken
    assert notice["kind"] == "run_ended" and "The disk was full." in notice["text"] and notice["at"]


def test_an_outage_is_told_when_it_lasts(watch: Watch, taker: Taker, store: Store, want: Want) -> None:
    store.requests.note_delay(want().id, "Label Studio does not answer.")
    watch.tick()
    assert not taker.taken, "it may be over in a moment"
    time.sleep(0.4)
    watch.tick()
    watch.tick()
    wait_until(lambda: taker.taken)
    assert [each["kind"] for each in taker.taken] == ["outage"]
    assert "1 tasks wait" in taker.taken[0]["text"] and "Label Studio does not answer." in taker.taken[0]["text"]


def test_refused_corrections_are_told_at_once(watch: Watch, taker: Taker, settings: Settings, store: Store) -> None:
    (settings.data_dir / "spool").write_text("no folder")
    store.close()
    Path(str(settings.database_url).removeprefix("sqlite:///")).rename(settings.data_dir / "away.db")
    (settings.data_dir / "argenseg.db").mkdir()
    watch.tick()
    wait_until(lambda: taker.taken)
    assert taker.taken[0]["kind"] == "corrections_refused" and "refused" in taker.taken[0]["text"]


def test_what_is_not_taken_is_tried_again_and_then_let_go_without_the_address(
    taker: Taker, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(taker.url, intervals_s=(0.0, 0.0))
    taker.refusals = 2
    notifier.send(Notice("a", "outage", "first"))
    wait_until(lambda: taker.taken)
    taker.refusals = 100
    notifier.send(Notice("b", "outage", "second"))
    wait_until(lambda: "second" in caplog.text)
    assert "503" in caplog.text and "secret-path" not in caplog.text


def test_a_proxy_that_is_none_keeps_no_later_notice_from_being_sent(
    taker: Taker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "environment_proxy", lambda url: "bogus://proxy")
    notifier = Notifier(taker.url, intervals_s=())
    notifier.send(Notice("a", "outage", "first"))
    wait_until(lambda: "first" in caplog.text)
    monkeypatch.setattr(notices, "environment_proxy", lambda url: None)
    notifier.send(Notice("b", "outage", "second"))
    wait_until(lambda: taker.taken)
    assert taker.taken[0]["text"] == "second"


def test_an_endless_answer_holds_up_no_later_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[bytes] = []

    class Endless(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            began.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                for _ in range(100):
                    self.wfile.write(b"x")
                    time.sleep(0.1)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        notifier = Notifier(f"http://127.0.0.1:{server.server_port}/", intervals_s=())
        notifier.send(Notice("a", "outage", "first"))
        notifier.send(Notice("b", "outage", "second"))
        wait_until(lambda: len(began) == 2, timeout_s=5.0)
        server.block_on_close = False
        server.shutdown()


def test_whatever_fails_in_the_watch_does_not_stop_the_sweeper_and_others_are_told(
    watch: Watch, taker: Taker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("the folder is gone")

    monkeypatch.setattr(type(store.events), "require_writable", lambda self: fail())
    run = store.finetunes.request("by-hand", None, corrections=3)
    assert run is not None
    store.finetunes.end(run.id, "failed", error=f"At {taker.url} nobody answered.")
    watch.tick()
    wait_until(lambda: taker.taken)
    assert "At *** nobody answered." in taker.taken[0]["text"]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://host", "ftp://host/x", "//host", "http://"])
def test_only_http_and_https_are_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_URL", url)
    with pytest.raises(SettingsError, match="NOTIFY_URL"):
        read_settings()

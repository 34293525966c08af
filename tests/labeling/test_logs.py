import contextvars
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from labeling.logs import JsonLines, TextLines, log_about, note_what_it_is_about, of_process


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture) -> Callable[[logging.Formatter], list[str]]:
    """The lines that a formatter makes of what was logged."""
    caplog.set_level(logging.INFO)
    caplog.handler.addFilter(note_what_it_is_about)
    return lambda formatter: [formatter.format(record) for record in caplog.records]


Written = Callable[[logging.Formatter], list[str]]


def test_a_line_of_text_has_the_date_and_what_it_is_about(written: Written) -> None:
    with log_about(project=3, task=12):
        logging.getLogger("worker.sweeper").info("%d regions", 4)
    logging.getLogger("worker.sweeper").info("nothing special")
    first, second = written(TextLines())
    assert first[4] == "-" and first[20:] == "INFO worker.sweeper [project 3 task 12]: 4 regions"
    assert second[20:] == "INFO worker.sweeper: nothing special"


def test_a_line_of_json_has_the_same_and_the_traceback(written: Written) -> None:
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        with log_about(task=12):
            logging.getLogger("a").exception("it\nfailed")
    [line] = written(JsonLines())
    fields = json.loads(line)
    assert "\n" not in line and fields["time"].endswith("Z")
    assert (fields["level"], fields["logger"], fields["message"], fields["task"]) == ("ERROR", "a", "it\nfailed", 12)
    assert "ZeroDivisionError" in fields["traceback"]


def test_blocks_add_up_and_end_and_none_names_nothing(written: Written) -> None:
    with log_about(project=3, task=None):
        with log_about(task=12):
            logging.info("in")
        logging.info("out")
    inner, outer = written(TextLines())
    assert "[project 3 task 12]" in inner and "[project 3]" in outer


def test_a_pools_thread_is_told_what_it_is_about(written: Written) -> None:
    with ThreadPoolExecutor() as pool, log_about(task=12):
        pool.submit(contextvars.copy_context().run, logging.info, "fetched").result()
    assert "[task 12]: fetched" in written(TextLines())[0]


@pytest.mark.parametrize("lines", [TextLines, JsonLines])
def test_no_secret_is_written_neither_in_a_message_nor_in_a_traceback(
    lines: Callable[[list[str]], logging.Formatter], written: Written
) -> None:
    try:
        raise ValueError("the key tok-1234 at redis://:hunter2@queue")
    except ValueError:
        logging.exception("%s", "sent tok-1234 to http://me:pass@host")
    [line] = written(lines(["tok-1234"]))
    assert "ValueError" in line and "***" in line
    assert not any(secret in line for secret in ("tok-1234", "hunter2", "pass@"))


def test_half_of_a_surrogate_pair_is_written_as_json_writes_it(written: Written) -> None:
    logging.getLogger("a").warning("half \ud800")
    for formatter in (JsonLines(), TextLines()):
        [line] = written(formatter)
        assert r"half \ud800" in line and line.encode()
    assert json.loads(written(JsonLines())[0])["message"] == "half \ud800"
    assert of_process(r'{"time": "now", "message": "\ud800"}', "worker", at=0.0).encode()


def test_what_others_wrote_is_no_line_of_ours(written: Written) -> None:
    logging.getLogger("a").warning("prompt %s", "x\n2026-11-29 15:40:01 INFO a: forged\rERROR b")
    first, *others = written(TextLines())[0].splitlines()
    assert first.endswith("prompt x") and len(others) == 2 and all(line.startswith("    ") for line in others)


def test_a_line_that_is_nested_without_end_is_a_message() -> None:
    assert json.loads(of_process("[" * 100_000, "redis", at=0.0))["process"] == "redis"


def test_a_childs_json_names_its_process_and_other_lines_become_messages() -> None:
    ours = of_process('{"time": "2026-11-29T15:40:01Z", "message": "x", "task": 12}', "worker", at=0)
    assert json.loads(ours) == {"time": "2026-11-29T15:40:01Z", "message": "x", "task": 12, "process": "worker"}
    assert json.loads(of_process(ours, "worker group", at=0))["process"] == "worker"
    for line in ("Ready to accept connections", "[1]", '{"a": 1}'):
        theirs = json.loads(of_process(line, "redis", at=0))
        assert theirs["message"] == line and theirs["process"] == "redis" and theirs["time"].startswith("1970-01-01T")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_process_logs_as_its_settings_say(log_format: str) -> None:
    code = (
        "import logging; from labeling.logs import configure_logs, log_about; from labeling.settings import Settings\n"
        "configure_logs(Settings())\nwith log_about(task=12): logging.getLogger('a').info('key tok-1234')"
    )
    environment = {"LOG_FORMAT": log_format.upper(), "LABEL_STUDIO_API_KEY": "tok-1234", "PYTHONPATH": "."}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    [line] = done.stdout.splitlines()
    if log_format == "json":
        assert json.loads(line)["message"] == "key ***" and json.loads(line)["task"] == 12
    else:
        assert line.endswith("INFO a [task 12]: key ***")

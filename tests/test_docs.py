"""What the documents show: commands that exist with these options, code that runs, links that lead somewhere."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from PIL import Image

from backend.console.cli import main
from worker.gpu_worker.model_child import ModelOptions, Question

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(?:sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_IN_TEXT = re.compile(r"`(argenseg [a-z][^`]*)`")
_FIRST = re.compile(r"^(?:[A-Z_]+=\S+ )*(argenseg [a-z].*)$")


def commands() -> Iterator[tuple[str, str]]:
    """Each command `argenseg ...` of the documents, with the document's name."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for block in _BLOCK.findall(text):
            for line in block.replace("\\\n", " ").splitlines():
                if found := _FIRST.match(line.strip()):
                    yield document.name, found[1]
        for shown in _IN_TEXT.findall(_BLOCK.sub("", text)):
            yield document.name, " ".join(shown.split())


def parse(command: str) -> None:
    """Parse it as the command line would, and run nothing. UsageError if there is no such command or option."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|;&>")
    lexer.whitespace_split = True
    words = list(takewhile(lambda word: word[:1] not in ("|", ";", "&", ">"), lexer))
    parser, name, arguments = main, words[0], words[1:]
    while isinstance(parser, click.Group):
        context = parser.make_context(name, list(arguments), resilient_parsing=True)
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        _, found, arguments = click.Group.resolve_command(parser, context, rest)
        if found is None:
            raise click.UsageError(f"{name} has no command {rest[0]}")
        parser, name = found, str(found.name)
    options = {text for parameter in parser.params for text in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help"
    }
    shown = arguments[: arguments.index("--")] if "--" in arguments else arguments
    given = [word.partition("=")[0] for word in shown if word.startswith("--")]
    if unknown := [option for option in given if option not in options]:
        raise click.UsageError(f"{name} has no option {unknown[0]}")


@pytest.mark.parametrize(("document", "command"), sorted(set(commands())))
def test_a_command_in_the_documents_exists_with_its_options(document: str, command: str) -> None:
    parse(command)


def test_a_command_that_does_not_exist_would_be_found() -> None:
    for wrong in ("argenseg predikt --project 3", "argenseg predict --projekt 3"):
        with pytest.raises(click.UsageError):
            parse(wrong)


def test_the_loader_that_is_shown_answers_each_prompt(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    module: Any = ModuleType("shown")
    exec(code, module.__dict__)
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    segment = module.load(ModelOptions("mine", "cpu", 100))
    ((first, _),) = segment([Question(tmp_path / "a.png", ("a", "b"))])
    assert first[0].shape == (6, 8) and first[1] == 1.0


def test_the_site_is_built_without_a_broken_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "index.html").is_file()

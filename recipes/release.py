"""Make a release of this checkout: `make release VERSION=0.2.0`.

One version, in every place that names it: pyproject.toml, the Helm chart, the tags of the images in docker/. What is
"Unreleased" in the CHANGELOG becomes that version with today's date. All of it is one commit with a tag `v0.2.0`.
Nothing leaves this machine: it pushes nothing, builds and uploads no wheel (`make dist`) and no image (`docker compose
build`, which takes the tag from here).
"""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
NUMBER = r"[0-9]+(?:\.[0-9]+){2}(?:(?:a|b|rc)[0-9]+)?"
PLACES = {  # file: what stands before the version, and after it
    "pyproject.toml": [('^version = "', '"')],
    "docker/compose.yaml": [
        (r"argenseg-backend:\$\{ARGENSEG_VERSION:-", r"\}"),
        (r"argenseg-worker:\$\{ARGENSEG_VERSION:-", r"\}"),
    ],
    "docker/helm/argenseg/Chart.yaml": [("^version: ", "$"), ('^appVersion: "', '"')],
    "docker/helm/argenseg/values.yaml": [("backend: argenseg-backend:", "$"), ("worker: argenseg-worker:", "$")],
}


class NotReleasable(Exception):
    """Why nothing was changed, and what to do."""


def set_version(root: Path, version: str) -> None:
    """Write the version wherever one stands. NotReleasable, and nothing is written, if a place is not found."""
    texts = {}
    for name, places in PLACES.items():
        texts[name] = (root / name).read_text(encoding="utf-8")
        for before, after in places:
            texts[name], found = re.subn(
                f"({before}){NUMBER}(?={after})", rf"\g<1>{version}", texts[name], flags=re.MULTILINE
            )
            if found != 1:
                raise NotReleasable(f"{name} names its version {found} times where {before!r} stands, not once.")
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")


def close_changelog(text: str, version: str, day: str) -> str:
    """The CHANGELOG with what was unreleased under the version. NotReleasable if there is nothing, or the version is
    there.
    """
    if re.search(rf"^## {re.escape(version)}\b", text, re.MULTILINE):
        raise NotReleasable(f"CHANGELOG.md has {version} already.")
    unreleased = re.search(r"^## Unreleased\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if unreleased is None or not unreleased[1].strip():
        raise NotReleasable('CHANGELOG.md has nothing under "## Unreleased": say first what users get.')
    return text.replace("## Unreleased\n", f"## Unreleased\n\n## {version} ({day})\n", 1)


def git(*arguments: str) -> str:
    """Git's output in this checkout. NotReleasable with what it said if it fails."""
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise NotReleasable(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def release(version: str) -> None:
    """Commit and tag. NotReleasable, and nothing is changed, where the tree has changes or the tag is there."""
    if not re.fullmatch(NUMBER, version):
        raise NotReleasable(f"{version!r} is no version such as 0.2.0 or 0.2.0rc1.")
    if git("status", "--porcelain"):
        raise NotReleasable("The checkout has changes: commit or stash them first.")
    if git("tag", "--list", f"v{version}"):
        raise NotReleasable(f"The tag v{version} is there already.")
    changelog = ROOT / "CHANGELOG.md"
    closed = close_changelog(changelog.read_text(encoding="utf-8"), version, f"{datetime.now(UTC):%Y-%m-%d}")
    set_version(ROOT, version)
    changelog.write_text(closed, encoding="utf-8")
    git("commit", "--all", "--message", f"Release {version}")
    git("tag", "--annotate", f"v{version}", "--message", f"argenseg-labeling {version}")


if __name__ == "__main__":
    try:
        release(sys.argv[1] if len(sys.argv) > 1 else "")
    except NotReleasable as error:
        sys.exit(f"Nothing is released. {error}")
    print(f"v{sys.argv[1]} is committed and tagged. Push both: git push --follow-tags. A wheel: make dist.")

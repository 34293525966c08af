"""constraints.txt: what the images, CI and `make` install."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docker.stack import ROOT

LEFT_OUT = {"gcs", "azure"}  # which no image and no test installs


def pins() -> dict[str, str]:
    lines = (line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#")
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def requirements() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lists = [project["dependencies"], *(wanted for extra, wanted in extras.items() if extra not in LEFT_OUT)]
    return (Requirement(text) for wanted in lists for text in wanted)


@pytest.mark.parametrize("requirement", list(requirements()), ids=str)
def test_every_requirement_is_pinned_to_a_version_that_it_allows(requirement: Requirement) -> None:
    if requirement.name != "argenseg-labeling":
        version = pins().get(canonicalize_name(requirement.name))
        assert version is not None, "run make constraints"
        assert requirement.specifier.contains(version), f"{version} is pinned: run make constraints"


def test_pins_are_names_and_public_versions_only() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line), line


def test_both_images_share_their_first_steps() -> None:
    """Else each has layers of its own, of hundreds of megabytes."""
    backend, worker = ((ROOT / "docker" / f"{name}.Dockerfile").read_text() for name in ("backend", "worker"))
    shared = re.search(r"^FROM .*?backend\.txt$", backend, re.DOTALL | re.MULTILINE)
    assert shared is not None
    assert "--requirement backend.txt" in shared[0]
    assert shared[0] in worker

import shutil
import tomllib
from pathlib import Path

import pytest

from recipes.release import PLACES, NotReleasable, close_changelog, release, set_version

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in PLACES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_one_version_is_written_in_every_place_that_names_it(checkout: Path) -> None:
    old = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    set_version(checkout, "12.3.4rc5")
    texts = {name: (checkout / name).read_text() for name in PLACES}
    assert tomllib.loads(texts["pyproject.toml"])["project"]["version"] == "12.3.4rc5"
    assert {name: text.count("12.3.4rc5") for name, text in texts.items()} == {k: len(v) for k, v in PLACES.items()}
    assert not any(f"worker:{old}" in text or f"backend:{old}" in text for text in texts.values())


def test_a_place_that_is_missing_stops_it_before_anything_is_written(checkout: Path) -> None:
    values = checkout / "docker/helm/argenseg/values.yaml"
    values.write_text("images: {}\n")
    before = (checkout / "pyproject.toml").read_text()
    with pytest.raises(NotReleasable, match=r"values\.yaml"):
        set_version(checkout, "9.9.9")
    assert (checkout / "pyproject.toml").read_text() == before


def test_the_changelog_keeps_an_empty_unreleased_above_the_version() -> None:
    closed = close_changelog("# Changelog\n\n## Unreleased\n- New.\n", "0.2.0", "2026-11-29")
    assert closed == "# Changelog\n\n## Unreleased\n\n## 0.2.0 (2026-11-29)\n- New.\n"
    with pytest.raises(NotReleasable, match="say first"):
        close_changelog(closed, "0.3.0", "2026-11-30")
    with pytest.raises(NotReleasable, match=r"has 0\.2\.0 already"):
        close_changelog(closed, "0.2.0", "2026-11-30")


def test_what_is_no_version_releases_nothing() -> None:
    with pytest.raises(NotReleasable, match="no version"):
        release("next")

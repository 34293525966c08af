"""The data folder is its owner's."""

import os
import stat
import subprocess
import sys
from pathlib import Path

SERVE = """
import sys
from pathlib import Path
from labeling.private_files import keep_private
from labeling.store import Store
folder = Path(sys.argv[1])
keep_private(folder)
with Store.open(f"sqlite:///{folder}/argenseg.db", str(folder / "blobs")) as store:
    store.blobs.put(b"a mask")
    store.events.record("ANNOTATION_CREATED", {})
"""


def test_every_file_and_folder_is_its_owners_only(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    old_umask = os.umask(0o022)
    try:
        subprocess.run([sys.executable, "-c", SERVE, str(folder)], check=True)
    finally:
        os.umask(old_umask)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    assert any(path.name == "argenseg.db" for path in modes) and len(modes) > 4
    assert not {path: oct(mode) for path, mode in modes.items() if mode & 0o077}

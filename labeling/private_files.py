"""What the data folder holds is its owner's: images and corrections of people who did not ask to be read by others."""

import os
from contextlib import suppress
from pathlib import Path


def keep_private(data_dir: Path) -> None:
    """Make the data folder 0700, and from now on every folder of this process 0700 and every file 0600.

    Processes that it starts inherit that. A folder of somebody else's stays as it is.
    """
    os.umask(0o077)
    with suppress(OSError):  # who cannot write it is told so by what comes next
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if data_dir.stat().st_uid == os.getuid():
            data_dir.chmod(0o700)

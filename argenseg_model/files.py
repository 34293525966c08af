"""Writing a file so that a killed process never leaves a half-written one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def partial_path(path: Path) -> Path:
    """Where `replace_file` writes `path` until it is whole."""
    return path.with_name(f".{path.name}.part")


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; it takes `path`'s place when the block ends, or goes when the block fails.

    The temporary name is always the same, `.NAME.part`: what a killed run left is removed by the next one, and so is a
    link that somebody laid there to have another file written.
    Not meant for two processes that write the same file at the same time.
    """
    partial = partial_path(path)
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise

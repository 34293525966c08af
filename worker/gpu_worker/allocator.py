"""What the model process asks of its C library. Of its own process only: `argenseg_model` leaves its callers' alone."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as in malloc.h; both, because either alone stops glibc adapting them


def keep_freed_memory() -> None:
    """Up to 128 MiB that were freed stay with this process, where the C library is glibc.

    It would return them at once and get them again page by page: a tenth of what `segment` takes on a CPU.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):  # musl has none
        mallopt(_TRIM_THRESHOLD, 128 * 2**20)
        mallopt(_MMAP_THRESHOLD, 32 * 2**20)  # the most that it takes

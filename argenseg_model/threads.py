"""The environment of a process that computes with torch, so that it keeps out of its neighbours' way (no torch here).

OpenMP's threads spin while they wait for each other. With another busy program on the cores one of them is always
waiting for its core while the others burn theirs: 0.4 s became 6.8 s. Threads that sleep instead lose next to nothing.
"""

import os
from collections.abc import Mapping


def usable_cores() -> int:
    """Cores that this process may use (its affinity), which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def torch_environment(base: Mapping[str, str], *, processes: int = 1, threads: int | None = None) -> dict[str, str]:
    """`base` for one of `processes` that compute at the same time: waiting threads sleep, and all share the cores.

    `threads` of the process, where they are decided; else `base` may say it (OMP_NUM_THREADS), else it is the process's
    share of the cores, at least 1; of one process alone, what torch takes. OMP_WAIT_POLICY stays what `base` says. Both
    are read when torch is imported.
    """
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | dict(base)
    if processes > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // processes)))
    if threads is not None:
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return environment


def be_a_good_neighbour() -> None:
    """The same for this process; to be called before torch is imported, as later nothing changes."""
    os.environ.update(torch_environment(os.environ))

"""How idle the machine was, to be printed beside every measured number."""

import os
from pathlib import Path


def describe_idleness() -> str:
    """Load over the last minute, cores of this machine, and what share of our own core's time others take now."""
    load, cores = os.getloadavg()[0], os.cpu_count()
    pressure = Path("/proc/pressure/cpu")
    waiting = pressure.read_text().split()[1].removeprefix("avg10=") if pressure.exists() else "unknown"
    state = "idle" if load < 0.5 else "BUSY: other programs ran beside this one, so times are too long"
    return f"machine: {state}; load {load:.1f} on {cores} cores, {waiting} % of the time a program waited for a core"

"""No orphans: a child that the kernel kills when the process that started it dies, even by SIGKILL.

Linux only (`prctl(2)`, PR_SET_PDEATHSIG); elsewhere these functions do nothing and a clean stop is all there is. The
kernel means the parent's *thread*: start such children from a thread that lives as long as the process, the main one.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int, signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send us `signal_number` when our parent (`parent_pid`) dies; exit now if it is dead already."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal_number))
    if os.getppid() != parent_pid:
        os._exit(1)


def launch_command(command: list[str], signal_number: int = signal.SIGKILL) -> list[str]:
    """`command` wrapped so that it dies with the calling process: the setting survives the exec of any binary.

    The wrapper is this file, run by an interpreter that looks at nothing else: it starts in any folder and environment.
    """
    wrapper = [sys.executable, "-I", "-S", __file__]
    return [*wrapper, str(os.getpid()), str(int(signal_number)), *command]


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]), int(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])

"""A supervisor with two children, run by test_processes.py.

`python -m tests.backend.console.supervisor.supervised FOLDER`

Both children say which process they are; `second` ends by itself when the file `end` appears.
"""

import sys
from pathlib import Path

from backend.console.supervisor.processes import Command, Supervisor

CHILD = """
import os, signal, sys, time
from pathlib import Path
folder, name = Path(sys.argv[1]), sys.argv[2]
def stop(number, frame):
    time.sleep(0.3 if name == "second" else 0)
    (folder / "stopped").open("a").write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("hello from", os.getpid())
with (folder / (name + ".pids")).open("a") as pids:
    pids.write(f"{os.getpid()}\\n")
while name == "first" or not (folder / "end").exists():
    time.sleep(0.02)
(folder / "end").unlink()
sys.exit(3)
"""


def command(folder: Path, name: str, outlives_others: bool = False) -> Command:
    return Command(name, [sys.executable, "-c", CHILD, str(folder), name], outlives_others=outlives_others)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with Supervisor(folder / "log" / "all.log").supervising() as supervisor:
        supervisor.start(command(folder, "first", outlives_others=True))
        supervisor.start(command(folder, "second"))
        supervisor.run_until(lambda: False)
        supervisor.say("stopping")

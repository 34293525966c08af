"""`python -m backend.web`: the web door as a process of its own, as `argenseg backend` starts it."""

import logging
import os
import sys

from backend.web.server import serve
from labeling.logs import configure_logs
from labeling.private_files import keep_private
from labeling.settings import read_settings
from worker.errors import SupervisorError

if __name__ == "__main__":
    settings = read_settings()
    configure_logs(settings)
    keep_private(settings.data_dir)
    try:
        serve(settings)
    except SupervisorError as error:
        sys.exit(f"Error: {error}")
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)  # Python would wait for background work, however long Redis hangs; the sweeper finds what it was for

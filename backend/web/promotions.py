"""Promotions and roll-backs that a page asked for: they wait for open tasks, so that none of the server's threads does.

One at a time. They end with this process; the command that goes on with one is in the log and on the page.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from backend.operations.model_versions import Promoted
from backend.web.background import OUTAGES
from labeling.store.base import utc_now

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Promotion:
    """What was asked for ("Promote starter-1.1 by default"), by whom; how it ended, in sentences, once it has."""

    what: str
    who: str
    since: datetime
    outcome: tuple[str, ...] = ()
    has_failed: bool = False

    @property
    def is_under_way(self) -> bool:
        """Whether it goes on."""
        return not self.outcome


class Promotions:
    """Runs them, and remembers the last one."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self.last: Promotion | None = None

    def start(self, what: str, who: str, do: Callable[[], Promoted]) -> bool:
        """Do it in a thread of its own; False, and nothing happens, while another one goes on."""
        if not self._turn.acquire(blocking=False):
            return False
        self.last = Promotion(what, who, utc_now())
        threading.Thread(target=self._run, args=(self.last, do), name="promotion", daemon=True).start()
        return True

    def _run(self, promotion: Promotion, do: Callable[[], Promoted]) -> None:
        try:
            promoted = do()
            outcome = (f"{promoted.active} is active.", *promoted.unseen)
            self.last = replace(promotion, outcome=outcome, has_failed=bool(promoted.unseen))
        except OUTAGES as error:
            logger.warning("%s: %s", promotion.what, error)
            self.last = replace(promotion, outcome=(str(error),), has_failed=True)
        except Exception:
            logger.exception("%s failed", promotion.what)
            said = "This is a bug of argenseg; its log has the details."
            self.last = replace(promotion, outcome=(said,), has_failed=True)
        finally:
            self._turn.release()

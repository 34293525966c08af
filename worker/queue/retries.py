"""What a job's function returns when its row is to be tried again."""

from dataclasses import dataclass

from rq import Retry


@dataclass(frozen=True)
class RetryLater:
    """Run the job again `after_s[n]` seconds after its n-th attempt; when these are used up it has failed.

    `at_front`: before the others of its queue.
    """

    after_s: tuple[int, ...]
    at_front: bool = False

    def to_rq(self) -> Retry:
        """The same as RQ says it."""
        return Retry(max=len(self.after_s), interval=list(self.after_s), enqueue_at_front=self.at_front)

"""Redis: where it is, how it is reached, and what it means that it does not answer."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis, RedisError
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from labeling.settings import Settings
from worker.errors import QueueUnreachable

Connection = Redis
"""What the other rooms hand on to the functions of this one."""

_SOCKET_TIMEOUT_S = 10.0  # longer than any single blocking command of ours (redis-py's own default is 5)
_SUN_PATH_MAX = 100  # bytes of a unix socket's path: 108 on Linux, 104 on macOS, less the final NUL


def redis_socket(settings: Settings) -> Path:
    """The embedded Redis's unix socket: in the data folder, or in a private folder if that path would be too long."""
    socket = settings.redis_socket
    if len(os.fsencode(socket)) <= _SUN_PATH_MAX:
        return socket
    digest = hashlib.sha256(os.fsencode(socket)).hexdigest()[:16]
    return Path("/tmp") / f"argenseg-{os.getuid()}-{digest}" / "redis.sock"


def connect(settings: Settings, *, retries: int = 0, timeout_s: float = _SOCKET_TIMEOUT_S) -> "Connection":
    """A Redis client (it connects on first use) for REDIS_URL or the embedded Redis.

    A command on a broken connection is repeated `retries` times, about a second apart. Workers use many, to live
    through a restart of Redis; the web process none, because it has an answer to give.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(timeout_s, 2.0),
        "retry": Retry(ExponentialWithJitterBackoff(base=0.1, cap=1.0), retries),
    }
    if settings.redis_url:
        return Redis.from_url(settings.redis_url, **options)
    return Redis(unix_socket_path=str(redis_socket(settings)), **options)


@contextmanager
def asking_redis() -> Iterator[None]:
    """Around a block, or a function as its decorator: QueueUnreachable instead of what the client raises."""
    try:
        yield
    except RedisError as error:
        mend = "Start argenseg up, or put REDIS_URL right."
        raise QueueUnreachable(f"Redis does not answer ({error}).", mend) from error


@asking_redis()
def server_facts(connection: "Connection") -> dict[str, Any]:
    """What Redis says of itself, such as `redis_version` and `maxmemory_policy`. QueueUnreachable."""
    return dict(connection.info())


def is_reachable(connection: "Connection") -> bool:
    """Whether Redis answers."""
    try:
        return bool(connection.ping())
    except RedisError:
        return False

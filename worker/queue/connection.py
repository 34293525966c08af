"""Redis: where it is, how it is reached, and what it means that it does not answer."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis, RedisError
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.retry import Retry

from labeling.settings import Settings
from worker.errors import QueueUnreachable

Connection = Redis
"""What the other rooms hand on to the functions of this one."""

MORE_MEMORY = "Give it more (maxmemory). Nothing is lost: what waits is in the store, and goes on by itself."

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
        raise what_is_wrong(error) from error


def what_is_wrong(error: RedisError) -> QueueUnreachable:
    """What a client's error means for people: a Redis that answers needs something else than one that does not."""
    if isinstance(error, OutOfMemoryError):
        return QueueUnreachable("Redis is full: it takes no jobs.", MORE_MEMORY)
    if isinstance(error, BusyLoadingError):
        return QueueUnreachable("Redis is still reading its file.", "Wait: it goes on by itself.")
    if isinstance(error, ReadOnlyError):
        return QueueUnreachable("Redis takes no writes: it is a replica.", "Let REDIS_URL name the primary.")
    if isinstance(error, ResponseError) and "MISCONF" in str(error):
        return QueueUnreachable("Redis cannot write to its disk.", "Free some space there: it goes on by itself.")
    return QueueUnreachable(f"Redis does not answer ({error}).", "Start argenseg up, or put REDIS_URL right.")


@asking_redis()
def server_facts(connection: "Connection") -> dict[str, Any]:
    """What Redis says of itself, such as `redis_version` and `maxmemory_policy`. QueueUnreachable."""
    return dict(connection.info())


def is_full(facts: Mapping[str, Any]) -> bool:
    """Whether a Redis of these `server_facts` refuses jobs because its memory is used up."""
    limit = int(facts.get("maxmemory", 0))
    return 0 < limit <= int(facts.get("used_memory", 0)) and facts.get("maxmemory_policy") == "noeviction"


def is_reachable(connection: "Connection") -> bool:
    """Whether Redis answers."""
    try:
        return bool(connection.ping())
    except RedisError:
        return False

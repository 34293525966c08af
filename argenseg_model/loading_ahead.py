"""Images decoded in threads while the model works on those before them."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from PIL import Image

from argenseg_model.errors import ImageError
from argenseg_model.images import image_size

MAX_AHEAD = 2
MAX_PIXELS_AHEAD = 32_000_000
"""Decoded or being decoded beside the one at work; a larger image waits until it is its turn."""


def load_ahead(
    paths: Sequence[str], load: Callable[[str], Image.Image]
) -> Generator[tuple[str, Callable[[], Image.Image]], None, None]:
    """Each path with a function that gives its picture, or raises what `load` raised.

    At most MAX_AHEAD pictures of MAX_PIXELS_AHEAD together wait, so memory does not grow with the number of paths.
    Close it (or let it end): its threads are then gone.
    """
    with ThreadPoolExecutor(MAX_AHEAD, thread_name_prefix="decode") as threads:
        waiting: deque[tuple[Future[Image.Image], int]] = deque()
        ahead = iter(paths)
        upcoming = next(ahead, None)
        for path in paths:
            while upcoming is not None and len(waiting) <= MAX_AHEAD:
                pixels = _pixels(upcoming)
                if waiting and sum(other for _, other in waiting) + pixels > MAX_PIXELS_AHEAD:
                    break
                waiting.append((threads.submit(load, upcoming), pixels))
                upcoming = next(ahead, None)
            future, _ = waiting.popleft()
            yield path, future.result
            del future  # its picture


def _pixels(path: str) -> int:
    """By the file's header; 0 for what is no image, which `load` will say."""
    with suppress(ImageError):
        width, height = image_size(path)
        return width * height
    return 0

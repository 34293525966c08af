"""GET /pictures/…: the pictures of the galleries, drawn when they are asked for and kept in memory.

Drawing may wait for Label Studio, and the server's threads are for annotators: half of them at most draw. Who comes
beyond that, or too early, is answered 202 with an empty picture of 1 px, and `pictures.js` asks again.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from textwrap import wrap

from flask import Blueprint, Response, abort
from markupsafe import Markup

from argenseg_model.errors import ARGenSegError
from backend.operations.pictures import JPEG, Illustrator
from backend.web.services import Services
from labeling.errors import LabelingError, StoreError
from labeling.trials.masks import read_png

logger = logging.getLogger(__name__)

SIZES = {"small": 480, "large": 1600}
PAIR_SIZES = {"small": 300, "large": 800}

_DRAWN_WITHIN_S = 4.0
_KEPT_BYTES = 64 * 10**6
_LARGEST = 2**31 - 1
_NUMBER = f"<int(max={_LARGEST})"
_SVG = "image/svg+xml"
_NOT_YET = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
_REASON = Markup(
    '<svg xmlns="http://www.w3.org/2000/svg" width="480" height="360" viewBox="0 0 480 360" font-family="system-ui, '
    'sans-serif" font-size="17" text-anchor="middle" fill="#808a9a">{}</svg>'
)
_LINE = Markup('<text x="240" y="{}">{}</text>')


class _Drawn:
    """The pictures that were looked at last, up to so many bytes; a reason in place of one is kept too."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._pictures: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, name: str) -> bytes | None:
        with self._lock:
            if name in self._pictures:
                self._pictures.move_to_end(name)
            return self._pictures.get(name)

    def keep(self, name: str, picture: bytes) -> bytes:
        """The same picture: one that took longer than its request waited is there for the next."""
        with self._lock:
            self._bytes += len(picture) - len(self._pictures.pop(name, b""))
            self._pictures[name] = picture
            while self._bytes > self._most_bytes:
                self._bytes -= len(self._pictures.popitem(last=False)[1])
        return picture


def make_blueprint(services: Services) -> Blueprint:
    """The routes /pictures/masks/SIZE/ID, /pictures/corrections/SIZE/ID, /pictures/trials/SIZE/TRIAL/TASK/WORDING."""
    pages = Blueprint("pictures", __name__)
    store, illustrator = services.store, Illustrator(services.settings, services.store)
    drawn = _Drawn(_KEPT_BYTES)
    places = threading.Semaphore(max(1, services.settings.threads // 2))

    def answer(name: str, draw: Callable[[], bytes]) -> Response:
        picture = drawn.find(name)
        if picture is None:
            if not places.acquire(blocking=False):
                return _not_yet()
            try:
                made = services.background.call(_DRAWN_WITHIN_S, _drawing(lambda: drawn.keep(name, draw())))
            finally:
                places.release()
            if made is None:
                return _not_yet()
            if isinstance(made, str):
                return _why_not(made)
            picture = made
        return Response(picture, mimetype=JPEG, headers=_headers("private, max-age=3600"))

    @pages.get(f"/pictures/masks/<any({','.join(SIZES)}):size>/<int(max={_LARGEST}):number>")
    def of_prediction(size: str, number: int) -> Response:
        try:
            computed = store.predictions.get(number)  # also asked where the picture is kept: it may have been erased
        except StoreError as error:
            if error.is_transient:
                raise
            abort(404, f"There is no prediction {number}.")
        # SQLite gives the number of a row that was erased to the next one: the number alone is no name
        whose = f"{computed.project.id}/{computed.task_id}"
        name = f"prediction/{size}/{number}/{whose}/{computed.attempts}/{computed.status == 'ready'}"
        return answer(name, lambda: illustrator.of_prediction(number, SIZES[size]))

    @pages.get(f"/pictures/corrections/<any({','.join(PAIR_SIZES)}):size>/<int(max={_LARGEST}):number>")
    def of_correction(size: str, number: int) -> Response:
        correction = store.gallery.correction(number)
        if correction is None:
            abort(404, f"There is no correction {number}, or no newer state of its annotation has it.")
        whose = f"{correction.project.id}/{correction.annotation_id}/{correction.mask_before}/{correction.mask_after}"
        name = f"correction/{size}/{number}/{whose}"  # as above
        return answer(name, lambda: illustrator.of_correction(correction, PAIR_SIZES[size]))

    @pages.get(f"/pictures/trials/<any({','.join(SIZES)}):size>/{_NUMBER}:trial>/{_NUMBER}:task>/{_NUMBER}:wording>")
    def of_trial(size: str, trial: int, task: int, wording: int) -> Response:
        found = store.trials.masks(trial, task)  # also asked where the picture is kept: it may have been erased
        if found is None or wording >= len(found[1].found):
            abort(404, f"Trial {trial} has no such picture (any more).")
        of_task, masks = found
        project = store.trials.get(trial).project

        def draw() -> bytes:
            truth = None if masks.truth is None else read_png(masks.truth)
            return illustrator.of_trial(project, of_task, truth, read_png(masks.found[wording]), SIZES[size])

        return answer(f"trial/{size}/{trial}/{task}/{wording}", draw)

    return pages


def _drawing(draw: Callable[[], bytes]) -> Callable[[], bytes | str | None]:
    def draw_picture() -> bytes | str | None:
        """The picture; or why there is none; None: not yet."""
        try:
            return draw()
        except (LabelingError, ARGenSegError) as error:
            return None if getattr(error, "is_transient", False) and isinstance(error, StoreError) else str(error)
        except Exception:
            logger.exception("A picture could not be drawn.")
            return "This is a bug of argenseg; its log has the details."

    return draw_picture


def _not_yet() -> Response:
    return Response(_NOT_YET, status=202, mimetype=_SVG, headers=_headers("no-store") | {"Retry-After": "1"})


def _why_not(reason: str) -> Response:
    lines = wrap("".join(each if each.isprintable() else " " for each in reason), 46)[
        :9
    ]  # XML has no control characters
    text = Markup("").join(_LINE.format(192 - 12 * len(lines) + 24 * place, line) for place, line in enumerate(lines))
    return Response(_REASON.format(text), mimetype=_SVG, headers=_headers("private, max-age=60"))


def _headers(caching: str) -> dict[str, str]:
    return {
        "Cache-Control": caching,
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }

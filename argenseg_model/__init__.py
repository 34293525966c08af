"""ARGenSeg: text-prompted segmentation by next-scale visual-token generation.

`from argenseg_model import ARGenSeg, load_tokenizer`. Importing the package alone pulls no torch (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argenseg_model.configuration import ARGenSegConfig as ARGenSegConfig
    from argenseg_model.model import ARGenSeg as ARGenSeg
    from argenseg_model.segmentation import SegmentationResult as SegmentationResult
    from argenseg_model.tokenizer import load_tokenizer as load_tokenizer

_EXPORTS = {
    "ARGenSeg": "argenseg_model.model",
    "ARGenSegConfig": "argenseg_model.configuration",
    "SegmentationResult": "argenseg_model.segmentation",
    "load_tokenizer": "argenseg_model.tokenizer",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)

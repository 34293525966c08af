"""Errors a caller can act on: every message says what is wrong and what to do about it."""


class ARGenSegError(Exception):
    """Anything this package refuses to do; the subclasses tell which input was at fault."""


class CheckpointError(ARGenSegError):
    """A checkpoint is missing, incomplete, misshapen or of an unknown layout."""


class TokenizerError(ARGenSegError):
    """Tokenizer files are missing, damaged, or not those of an ARGenSeg checkpoint."""


class ImageError(ARGenSegError):
    """An image is missing, unreadable, too large or of an unsupported kind."""


class PromptError(ARGenSegError):
    """A text prompt cannot be used as it is."""

"""What can go wrong on this floor, one class per kind. Every message says what the person can do about it."""

_REFUSALS = frozenset({400, 404, 409, 410, 413, 422})


class LabelingError(Exception):
    """Base of all errors of `labeling`. `is_transient` is true where trying again later may help."""

    def __init__(self, message: str, *, is_transient: bool = False) -> None:
        super().__init__(message)
        self.is_transient = is_transient


class MissingExtra(LabelingError):
    """Something needs more of the product than is installed."""


class SettingsError(LabelingError):
    """An environment variable holds something that cannot be used."""


class LabelConfigError(LabelingError):
    """A project's label config cannot be used."""


class RegionError(LabelingError):
    """A region or a prediction is malformed, or does not fit the label config."""


class ImageFetchError(LabelingError):
    """A task's image could not be fetched: by its own fault, or where it is transient perhaps by its host's.

    `status` is what a host answered, `asked` the last URL that was tried, if it came so far.
    """

    def __init__(self, message: str, *, is_transient: bool = False, status: int | None = None) -> None:
        super().__init__(message, is_transient=is_transient)
        self.status = status
        self.asked: str | None = None


class ImageOutage(ImageFetchError):
    """Not the image is at fault: whoever keeps it does not answer well, or we cannot store it. It may last long."""

    def __init__(self, message: str) -> None:
        super().__init__(message, is_transient=True)


class DoubtfulImageError(ImageFetchError):
    """Label Studio answers us well but for this image: a few tries tell whether that stays so."""

    def __init__(self, message: str) -> None:
        super().__init__(message, is_transient=True)


class UnknownHostError(ImageFetchError):
    """The name servers say that the image's host does not exist: most often it is misspelt, seldom it is moving."""


class LabelStudioError(LabelingError):
    """Label Studio refused a call or could not be reached. `status` is its HTTP status, if it was Label Studio that
    answered, as far as can be told: a web page in place of JSON has none.

    `reason` is the message without `what` was asked for: the same for all that fails for one reason.
    """

    def __init__(self, reason: str, *, what: str = "", status: int | None = None, is_transient: bool = False) -> None:
        super().__init__(f"{what}: {reason}" if what else reason, is_transient=is_transient)
        self.reason = reason
        self.status = status

    @property
    def is_refusal(self) -> bool:
        """Whether it may be about what was asked, as of a task that is gone. All else is an outage: Label Studio, the
        token or what is between us is at fault, and the same will be taken when that is over.
        """
        return self.status in _REFUSALS


class StoreError(LabelingError):
    """The database or the blob folder failed, or a row or blob is missing."""


class StoreMissing(StoreError):
    """There is no store where the settings look for it, and who only reads makes none."""


class RefusedByStore(StoreError):
    """The database takes this value neither now nor later: not it is at fault, but what was to be stored."""

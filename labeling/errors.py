"""What can go wrong on this floor, one class per kind. Every message says what the person can do about it."""


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
    """A task's image could not be fetched."""


class UnknownHostError(ImageFetchError):
    """The name servers say that the image's host does not exist: most often it is misspelt, seldom it is moving."""


class LabelStudioError(LabelingError):
    """Label Studio refused a call or could not be reached. `status` is its HTTP status, if it answered."""

    def __init__(self, message: str, *, status: int | None = None, is_transient: bool = False) -> None:
        super().__init__(message, is_transient=is_transient)
        self.status = status


class StoreError(LabelingError):
    """The database or the blob folder failed, or a row or blob is missing."""


class StoreMissing(StoreError):
    """There is no store where the settings look for it, and who only reads makes none."""


class RefusedByStore(StoreError):
    """The database takes this value neither now nor later: not it is at fault, but what was to be stored."""

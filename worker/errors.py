"""What can go wrong on this floor, one class per kind. Every message says what the person can do about it."""


class WorkerError(Exception):
    """Base of all errors of `worker`."""


class NothingToDo(WorkerError):
    """What was asked for is done already, or there is none of it."""


class QueueFull(WorkerError):
    """The queue holds as many jobs as it may; the request stays in the store, and the sweeper enqueues it later."""


class QueueUnreachable(WorkerError):
    """Redis does not answer. What is wanted of it is in the store, and found there later.

    `fault` and `mend` are the two halves of its message.
    """

    def __init__(self, fault: str, mend: str) -> None:
        super().__init__(f"{fault} {mend}")
        self.fault, self.mend = fault, mend


class ForbiddenJob(WorkerError):
    """A job names a function that is not on the allow-list."""


class ModelError(WorkerError):
    """Base of what the model process can answer instead of masks."""


class ModelLoadError(ModelError):
    """The model could not be loaded: no image can be segmented until that is repaired."""


class ModelCrashed(ModelError):
    """The model process died, or the model failed in a way that says nothing about the image. Trying again may help."""


class ModelOutOfMemory(ModelError):
    """The questions need more memory than there is beside the model. Fewer at a time may fit."""


class ModelTimeout(ModelError):
    """The model took longer than its time limit and was killed."""


class ModelStopped(ModelError):
    """Somebody stopped the job; the model process was killed for it."""


class SegmentationRefused(ModelError):
    """The model said why it cannot segment this image (it is damaged or too large). Trying again does not help."""


class SupervisorError(WorkerError):
    """A service could not be started, or something else already runs in its place."""

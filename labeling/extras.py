"""What the base installation leaves out: the extras of pyproject.toml, and the modules that each brings."""

from importlib.util import find_spec

from labeling.errors import MissingExtra

EXTRAS = {
    "worker": ("torch", "transformers", "safetensors", "tokenizers", "sentencepiece", "peft"),
    "demo": ("mahotas", "skimage"),
    "postgresql": ("psycopg",),
    "s3": ("s3fs",),
    "gcs": ("gcsfs",),
    "azure": ("adlfs",),
}
_EXTRA_OF_SCHEME = {
    "postgresql+psycopg": "postgresql",
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "adl": "azure",
}


def is_installed(extra: str) -> bool:
    """Whether all modules of an extra are there; none is imported."""
    return all(find_spec(module) is not None for module in EXTRAS[extra])


def install_command(extra: str) -> str:
    """What to type to get an extra."""
    return f"pip install 'argenseg-labeling[{extra}]'"


def require_extra(extra: str, what: str) -> None:
    """MissingExtra, with what to type, unless the extra that `what` needs is installed."""
    if not is_installed(extra):
        raise MissingExtra(f"{what} needs more than is installed. Type: {install_command(extra)}")


def missing_for_url(url: str) -> str | None:
    """The extra that a database's or a blob folder's URL needs and that is not installed; None if it lacks none."""
    extra = _EXTRA_OF_SCHEME.get(url.partition("://")[0].lower()) if "://" in url else None
    return None if extra is None or is_installed(extra) else extra

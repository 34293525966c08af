"""What a task's data says of its image, read as a browser reads an address."""

import re

CLOUD_SCHEMES = ("s3", "s3s", "gs", "azure-blob", "azure_spi")
_ENDS = "".join(map(chr, range(0x21)))  # white space and control characters, which mean nothing at the ends
_BREAKS = re.compile(r"[\t\n\r]")  # nor do these anywhere
_HALVES = re.compile("[\ud800-\udfff]")
_SCHEME = re.compile(r"([a-z][a-z0-9+._-]*):", re.IGNORECASE)


def clean_reference(text: str) -> str:
    """Without what browsers leave out of addresses, and with `/` for `\\`, as they have it."""
    reference = _BREAKS.sub("", text.strip(_ENDS))
    if scheme_of(reference) not in ("", "http", "https"):
        return reference
    path, *rest = re.split(r"([?#])", reference, maxsplit=1)
    return path.replace("\\", "/") + "".join(rest)


def scheme_of(reference: str) -> str:
    """In lower case; "" of a path."""
    found = _SCHEME.match(reference)
    return found[1].lower() if found else ""


def why_unusable(text: str) -> str | None:
    """Why no image can ever be fetched by it, whatever is behind it; None if one may."""
    if _HALVES.search(text):
        return "The image's URL holds half of a surrogate pair, which is no letter. Check the task's data."
    scheme = scheme_of(clean_reference(text))
    if scheme in ("", "http", "https", "data", *CLOUD_SCHEMES):
        return None
    return f"Images cannot be fetched by {scheme}: URLs. Use http(s), cloud storage or an upload."

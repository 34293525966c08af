"""The names under which the backend may be called: what stands between a page of the web and a backend in a lab.

A page whose own name is made to point at the backend's address (DNS rebinding) reads it as its own; such a name has a
dot. So addresses, plain names and the names that the settings know pass, and no other.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from labeling.settings import Settings

_KNOWN = frozenset({"localhost", "host.docker.internal"})
_PORTS = {"http": 80, "https": 443}


def host_and_port(address: str, scheme: str) -> tuple[str, int | None] | None:
    """`Host: example.org:9090` as name and port, by default the scheme's; None for what is no host."""
    try:
        parts = urlsplit(f"//{address}")
        if not parts.hostname or parts.path or parts.query or parts.fragment or parts.username is not None:
            return None
        return parts.hostname, parts.port or _PORTS.get(scheme)
    except ValueError:  # such as a port that is no number
        return None


def is_allowed_host(address: str, settings: Settings) -> bool:
    """Whether a request with this Host header is answered."""
    found = host_and_port(address, "http")
    if found is None:
        return False
    name = found[0]
    if "." not in name or name in _KNOWN or _is_ip_address(name):
        return True
    ours = {urlsplit(settings.backend_url or "").hostname, settings.host.lower()}
    return name in ours or name in settings.allowed_host_names or "*" in settings.allowed_host_names


def how_to_allow(address: str, settings: Settings) -> str:
    """What a person sets so that this Host passes."""
    found = host_and_port(address, "http")
    names = sorted(settings.allowed_host_names | {found[0] if found else address})
    return f"Set ALLOWED_HOSTS={','.join(names)} for the backend, and start it again."


def _is_ip_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True

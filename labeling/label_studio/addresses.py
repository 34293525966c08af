"""Which hosts an image may be fetched from: a task's author must not make us read the inner network (SSRF)."""

import ipaddress
import socket
from urllib.request import getproxies, proxy_bypass

import httpx

from labeling.errors import ImageFetchError, UnknownHostError

_NO_SUCH_HOST = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_INNER_DOMAINS = (
    ".local",
    ".localhost",
    ".localdomain",
    ".internal",
    ".intranet",
    ".lan",
    ".corp",
    ".home",
    ".home.arpa",
)


def public_addresses(url: httpx.URL, *, allow_private: bool) -> list[str]:
    """The IP addresses behind a URL's host, IPv4 first. ImageFetchError if one of them is private, or none is found;
    UnknownHostError, also transient, if there is none.
    """
    try:
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        found = socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        no_such = isinstance(error, UnicodeError) or error.errno in _NO_SUCH_HOST
        kind = UnknownHostError if no_such else ImageFetchError
        raise kind(f"The image's host {url.host!r} is not known ({error}). Check the URL.", is_transient=True) from None
    found.sort(key=lambda item: item[0] != socket.AF_INET)
    addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    refused = [] if allow_private else [address for address in addresses if not is_public(address)]
    if refused:
        raise _refusal(url.host, refused[0])
    return addresses


def check_host_for_proxy(url: httpx.URL, *, allow_private: bool) -> None:
    """ImageFetchError if a proxy, which resolves names itself, would be asked for a private host.

    What this machine can resolve, which includes addresses in every spelling (`2130706433`, `0x7f.1`), is checked as if
    there were no proxy. Of the rest, names without a dot and those of inner domains (`metadata.google.internal`) are
    refused; any other name is the proxy's to judge.
    """
    try:
        public_addresses(url, allow_private=allow_private)
    except ImageFetchError as error:
        if not error.is_transient:
            raise
        name = url.host.lower().rstrip(".")
        if not allow_private and ("." not in name or f".{name}".endswith(_INNER_DOMAINS)):
            raise _refusal(url.host, "by its name") from None


def is_public(address: str) -> bool:
    """Whether anyone on the internet may reach it: not loopback, private, link-local, multicast or reserved."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def environment_proxy(url: httpx.URL) -> str | None:
    """The proxy that the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) wants for this URL; none for this machine.

    NO_PROXY names hosts, domains and networks such as `10.0.0.0/8`.
    """
    proxies = getproxies()
    if url.host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(url.host):
        return None
    if any(_is_in_network(url.host, entry.strip()) for entry in proxies.get("no", "").split(",") if "/" in entry):
        return None
    proxy = proxies.get(url.scheme)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _refusal(host: str, reason: str) -> ImageFetchError:
    return ImageFetchError(
        f"The image's host {host!r} is in a private network ({reason}), which is refused. If this is your "
        "Label Studio, set LABEL_STUDIO_URL to just this host and port; else set ALLOW_PRIVATE_IMAGE_HOSTS=true."
    )

"""Which hosts an image may be fetched from: a task's author must not make us read the inner network (SSRF)."""

import ipaddress
import socket
from urllib.request import getproxies, proxy_bypass

import httpx

from labeling.errors import ImageFetchError


def public_addresses(url: httpx.URL, *, allow_private: bool) -> list[str]:
    """The IP addresses behind a URL's host, IPv4 first. ImageFetchError if one of them is private, or there is none."""
    try:
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        found = socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ImageFetchError(
            f"The image's host {url.host!r} is not known ({error}). Check the URL.", is_transient=True
        ) from None
    found.sort(key=lambda item: item[0] != socket.AF_INET)
    addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    refused = [] if allow_private else [address for address in addresses if not is_public(address)]
    if refused:
        raise ImageFetchError(
            f"The image's host {url.host!r} is in a private network ({refused[0]}), which is refused. If this is your "
            "Label Studio, set LABEL_STUDIO_URL to just this host and port; else set ALLOW_PRIVATE_IMAGE_HOSTS=true."
        )
    return addresses


def is_public(address: str) -> bool:
    """Whether anyone on the internet may reach it: not loopback, private, link-local, multicast or reserved."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and (inner := ip.ipv4_mapped or ip.sixtofour):
        return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def environment_proxy(url: httpx.URL) -> str | None:
    """The proxy that the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) wants for this URL; none for this machine."""
    if url.host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(url.host):
        return None
    proxy = getproxies().get(url.scheme)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy

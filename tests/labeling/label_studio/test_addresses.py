import socket

import httpx
import pytest

from labeling.errors import ImageFetchError, UnknownHostError
from labeling.label_studio.addresses import environment_proxy, is_public, public_addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # the metadata service of clouds
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
        "::7f00:1",
        "::ffff:0:7f00:1",
        "fec0::1",
        "240.0.0.1",
    ],
)
def test_inner_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


def test_the_environments_proxy_is_used_except_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "proxy.corp:3128")
    monkeypatch.setenv("no_proxy", "inner.corp")
    assert environment_proxy(httpx.URL("https://x.org/a.png")) == "http://proxy.corp:3128"
    assert environment_proxy(httpx.URL("https://inner.corp/a.png")) is None
    assert environment_proxy(httpx.URL("https://127.0.0.1/a.png")) is None
    assert environment_proxy(httpx.URL("http://x.org/a.png")) is None


@pytest.mark.parametrize(("number", "is_unknown"), [(socket.EAI_NONAME, True), (socket.EAI_AGAIN, False)])
def test_a_host_that_does_not_exist_is_told_from_name_servers_that_are_away(
    monkeypatch: pytest.MonkeyPatch, number: int, is_unknown: bool
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "not now")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ImageFetchError, match="not known") as error:
        public_addresses(httpx.URL("https://imags.example/a.png"), allow_private=False)
    assert error.value.is_transient and isinstance(error.value, UnknownHostError) == is_unknown

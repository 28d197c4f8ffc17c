"""What may be called: public addresses alone, whatever name or notation leads elsewhere."""

import socket
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pytest_django.fixtures import Settings

from notifications.addresses import AddressRefused, is_allowed, look_up

PRIVATE = [
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),  # noqa: S104
    *("169.254.169.254", "100.64.0.1", "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1"),
    *("2001:db8::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1"),
    *("2002:a00:1::1", "2002:7f00:1::", "::7f00:1", "4000::1"),
]
PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.fixture(autouse=True)
def nothing_more(settings: Settings) -> None:
    settings.WEBHOOK_NETWORKS = []


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_allowed(address: str) -> None:
    assert is_allowed(address)


def test_the_administrator_may_allow_networks(settings: Settings) -> None:
    settings.WEBHOOK_NETWORKS = [ip_network("10.0.0.0/8"), ip_network("::1/128")]

    assert is_allowed("10.1.2.3")
    assert is_allowed("::ffff:10.1.2.3")
    assert is_allowed("::1")
    assert not is_allowed("127.0.0.1")


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://017700000001/"),
        *("http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://localhost:8000/", "http://0/"),
    ],
)
def test_every_way_of_writing_an_address_leads_to_the_same_refusal(url: str) -> None:
    with pytest.raises(AddressRefused, match="not of the public internet"):
        look_up(url)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "x",
            "ftp://example.org/",
            "file:///etc/passwd",
            "http://",
            "http:///x",
            "//8.8.8.8/",
        ),
        *("http://8.8.8.8:0/", "http://8.8.8.8:99999/", "http://8.8.8.8:x/", "http://[::1/"),
        *("http://ada:secret@8.8.8.8/", "http://8.8.8.8/\r\nHost: x", "http://8.8.8.8/ x"),
        *("http://8.8.8.8/é", "http://" + "a" * 64 + ".org/", "http://8.8.8.8/" + "x" * 500),
    ],
)
def test_what_is_no_address_is_refused_in_words(url: str) -> None:
    with pytest.raises(AddressRefused, match=r"expected|no name"):
        look_up(url)


def test_a_name_that_leads_to_several_is_refused_for_one_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found(*args: Any, **kwargs: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, 443)) for address in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", found)

    with pytest.raises(AddressRefused, match=r"leads to 10\.0\.0\.1"):
        look_up("https://example.org/")


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_is_refused(text: str) -> None:
    try:
        look_up(f"http://8.8.8.8/{text}")
    except AddressRefused:
        pass

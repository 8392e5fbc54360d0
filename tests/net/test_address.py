"""Addresses: what people write, and what they are told when it is wrong."""

import pytest

from replicator.errors import ConfigError
from replicator.net.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9000", Address("127.0.0.1", 9000)),
        ("node-1.example.org:1", Address("node-1.example.org", 1)),
        ("[::1]:65535", Address("::1", 65535)),
        ("[fe80::1%eth0]:9000", Address("fe80::1%eth0", 9000)),
        ("[::ffff:10.0.0.1]:9000", Address("::ffff:10.0.0.1", 9000)),
        ("my_service:9000", Address("my_service", 9000)),
    ],
)
def test_what_is_written_is_read_and_written_again(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "the port is missing"),
        ("localhost", "the port is missing: localhost:9000"),
        ("::1", "in brackets: [::1]:9000"),
        ("::1:9000", "in brackets"),
        ("http://host:9000", "leave out the scheme"),
        ("host:9000/", "must be a number from 1 to 65535"),
        ("host:", "must be a number"),
        ("host:http", "must be a number"),
        ("host:65536", "must be a number"),
        ("host:-1", "must be a number"),
        ("host:٣", "must be a number"),
        ("host:0", "must be a number from 1"),
        (":9000", "write host:port"),
        ("[]:9000", "write host:port"),
        ("[host]:9000", "write host:port"),
        ("[::1]9000", "write host:port"),
        ("two words:9000", "write host:port"),
        ("host\n:9000", "write host:port"),
        ("h" * 256 + ":9000", "write host:port"),
    ],
)
def test_anything_else_is_refused_with_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="is no address") as caught:
        parse_address(text)
    assert hint in str(caught.value)


def test_port_0_is_for_listening_alone() -> None:
    assert parse_address("127.0.0.1:0", listening=True) == Address("127.0.0.1", 0)
    with pytest.raises(ConfigError, match="from 0 to 65535"):
        parse_address("127.0.0.1:65536", listening=True)

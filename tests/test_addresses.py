"""HOST:PORT: what is one, what can be listened on, what answers, and each refusal in one line."""

import socket

import pytest

from audenoise.addresses import Address, check_answered, check_free
from audenoise.errors import AudenoiseError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:5454", "127.0.0.1", 5454),
        ("localhost:1", "localhost", 1),
        ("gpu_3.lab-2.example.org:65535", "gpu_3.lab-2.example.org", 65535),
        ("[::1]:80", "::1", 80),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
    ],
)
def test_an_address_is_read_and_written_the_same(text: str, host: str, port: int) -> None:
    assert Address.parse(text, "--oracle") == Address(host, port)
    assert str(Address(host, port)) == text


@pytest.mark.parametrize(
    "text",
    ["", ":", ":1", "host", "host:", "host:0", "host:70000", "host:x", "host:-1", "host:1 ", "host:٣",
     "::1:5", "[]:5", "[::g]:5", "[127.0.0.1]:5", "[::1", "a b:1", "a/b:1", "u@h:1", "http://h:1"],
)  # fmt: skip
def test_what_is_no_address_is_named_with_its_option(text: str) -> None:
    for option in ("--oracle", "--ray"):
        with pytest.raises(AudenoiseError) as error:
            Address.parse(text, option, example="127.0.0.1:99")
        assert str(error.value) == f"{option} {text}: must be HOST:PORT, such as 127.0.0.1:99"


def test_the_loopback_is_known() -> None:
    for host in ("localhost", "127.0.0.1", "127.3.2.1", "::1"):
        assert Address(host, 1).is_loopback
    for host in ("0.0.0.0", "::", "10.0.0.1", "192.0.2.1", "fd00::2", "localhost.example.org"):
        assert not Address(host, 1).is_loopback


def test_where_nothing_can_listen_or_answer_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = Address("127.0.0.1", taken.getsockname()[1])
        check_answered(place, "--ray", patience_s=5, advice="start one")
        with pytest.raises(AudenoiseError, match=f"^--oracle {place}: the port is in use; choose another"):
            check_free(place, "--oracle")
    check_free(place, "--oracle")
    with pytest.raises(AudenoiseError, match=f"^--ray {place}: nothing listens there; start one$"):
        check_answered(place, "--ray", patience_s=5, advice="start one")
    with pytest.raises(AudenoiseError, match="is not an address of this machine"):
        check_free(Address("203.0.113.1", 5454), "--oracle")
    unknown = Address("no.such.host.invalid", 5454)
    message = r"^--oracle no\.such\.host\.invalid:5454: the host no\.such\.host\.invalid is not known here"
    with pytest.raises(AudenoiseError, match=message):
        check_free(unknown, "--oracle")
    with pytest.raises(AudenoiseError, match=message):
        check_answered(unknown, "--oracle", patience_s=5, advice="look")

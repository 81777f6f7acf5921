"""HOST:PORT, as `--oracle`, `--coordinator` and `--ray` are given it."""

import errno
import ipaddress
import re
import socket
from dataclasses import dataclass

from audenoise.errors import AudenoiseError

_REASONS = {
    errno.EADDRINUSE: "the port is in use; choose another, or stop what listens there",
    errno.EADDRNOTAVAIL: "is not an address of this machine",
    errno.EACCES: "this port is not for ordinary users; choose one above 1023",
    errno.ECONNREFUSED: "nothing listens there",
}


@dataclass(frozen=True)
class Address:
    """A host and a TCP port.

    Attributes
    ----------
    host : str
        A name, an IPv4 address, or an IPv6 address without brackets.
    port : int
        1 to 65535.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, option: str, *, example: str = "127.0.0.1:5454") -> "Address":
        """From ``HOST:PORT``; an IPv6 host is in brackets.

        Parameters
        ----------
        text : str
        option : str
            What the address was given as, for the error.
        example : str

        Raises
        ------
        AudenoiseError

        Examples
        --------
        >>> Address.parse("[::1]:5454", "--oracle")
        Address(host='::1', port=5454)
        """
        host, _, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            valid = _is_ipv6(host)
        else:
            valid = re.fullmatch(r"[\w.-]+", host) is not None
        if not valid or not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
            raise AudenoiseError(f"{option} {text}: must be HOST:PORT, such as {example}")
        return cls(host, int(port))

    @property
    def place(self) -> tuple[str, int]:
        """As `socket` takes it."""
        return self.host, self.port

    @property
    def is_loopback(self) -> bool:
        """Whether it can be reached from this machine alone."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def check_free(address: Address, option: str) -> None:
    """Refuse an address that can't be listened on.

    Raises
    ------
    AudenoiseError
        If the host is not this machine's, or the port is taken.
    """
    try:
        for family, kind, protocol, _, place in socket.getaddrinfo(*address.place, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                if hasattr(socket, "SO_REUSEPORT"):  # as gRPC: connections that are just closing don't count
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
    except OSError as error:
        raise AudenoiseError(f"{option} {address}: {in_words(error, address)}") from None


def check_answered(address: Address, option: str, *, patience_s: float, advice: str) -> None:
    """Refuse an address where nothing answers.

    Parameters
    ----------
    address : Address
    option : str
    patience_s : float
    advice : str
        What to do about it.

    Raises
    ------
    AudenoiseError
    """
    try:
        socket.create_connection(address.place, timeout=patience_s).close()
    except OSError as error:
        raise AudenoiseError(f"{option} {address}: {in_words(error, address)}; {advice}") from None


def in_words(error: OSError, address: Address) -> str:
    """Why an address could not be listened on or reached."""
    if isinstance(error, socket.gaierror):
        return f"the host {address.host} is not known here"
    if isinstance(error, TimeoutError):
        return "no answer"
    return _REASONS.get(error.errno or 0, error.strerror or str(error))

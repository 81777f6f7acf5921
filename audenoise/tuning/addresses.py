"""Where a chief listens."""

import errno
import re
import socket
from dataclasses import dataclass

from audenoise.errors import AudenoiseError

DEFAULT_ADDRESS = "127.0.0.1:5454"


@dataclass(frozen=True)
class Address:
    """Where a chief listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """From ``HOST:PORT``; an IPv6 host is in brackets.

        Raises
        ------
        AudenoiseError

        Examples
        --------
        >>> Address.parse("[::1]:5454")
        Address(host='::1', port=5454)
        """
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.%a-z]+\]|[^\s:\[\]]+):(\d{1,5})", text)
        if not found or not 1 <= int(found[2]) <= 65535:
            raise AudenoiseError(f"--oracle {text}: must be HOST:PORT, such as {DEFAULT_ADDRESS}")
        return cls(found[1].strip("[]"), int(found[2]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def check_free(address: Address) -> None:
    """Refuse an address that a chief can't listen on.

    Raises
    ------
    AudenoiseError
        If the host is not this machine's, or the port is taken.
    """
    try:
        for family, kind, protocol, _, place in socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        ):
            with socket.socket(family, kind, protocol) as probe:
                if hasattr(socket, "SO_REUSEPORT"):  # as gRPC: connections that are just closing don't count
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
    except socket.gaierror:
        raise AudenoiseError(f"--oracle {address}: the host {address.host} is not known here") from None
    except OSError as error:
        reason = {
            errno.EADDRINUSE: "the port is in use; choose another, or stop what listens there",
            errno.EADDRNOTAVAIL: "is not an address of this machine",
            errno.EACCES: "this port is not for ordinary users; choose one above 1023",
        }.get(error.errno or 0, error.strerror or str(error))
        raise AudenoiseError(f"--oracle {address}: {reason}") from None

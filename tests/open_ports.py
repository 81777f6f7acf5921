"""What processes listen on, as Linux tells it."""

import os
import socket
import threading
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses and TCP ports that a process and its descendants listen on."""
    sockets = {
        inode: place for name, family in (("tcp", 4), ("tcp6", 16)) for inode, place in _open(name, family)
    }
    found = set()
    for each in _with_descendants(pid):
        with suppress(OSError):
            for handle in Path(f"/proc/{each}/fd").iterdir():
                with suppress(OSError):
                    inode = os.readlink(handle).removeprefix("socket:[").removesuffix("]")
                    if inode in sockets:
                        found.add(sockets[inode])
    return found


def _open(table: str, n_bytes: int) -> Any:
    for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
        parts = line.split()
        address, port = parts[1].split(":")
        if parts[3] == "0A":
            # Words of the machine's own byte order.
            words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, 2 * n_bytes, 8)]
            host = socket.inet_ntop(socket.AF_INET if n_bytes == 4 else socket.AF_INET6, b"".join(words))
            yield parts[9], (host.removeprefix("::ffff:"), int(port, 16))


def _with_descendants(pid: int) -> list[int]:
    children = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            children[int((folder / "stat").read_text().rpartition(")")[2].split()[1])].append(
                int(folder.name)
            )
    found = [pid]
    for each in found:
        found += children[each]
    return found


class Watch:
    """Looks again and again, until it is left; what was seen is in `seen`."""

    def __init__(self, pid: int) -> None:
        self.pid, self.seen = pid, set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.2):
            self.seen |= listening(self.pid)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

"""Several machines that train one network together: who is who, and how they find each other.

Only JAX can do that under Keras 3. Its processes meet at a coordinator, which listens in host number 0.
"""

import os
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

from audenoise.addresses import Address, in_words
from audenoise.cluster import own_version
from audenoise.errors import TrainingError, brief

PATIENCE_S = 60.0
"""How long hosts are waited for."""
SILENCE_S = 30
"""A host that says nothing for so long is lost, and the training with it."""
_GREETING = "audenoise"
_SECONDS_TO_SPEAK = 5.0
_LONGEST = 1024


@dataclass(frozen=True)
class Hosts:
    """Which of the processes that train together this one is.

    Attributes
    ----------
    coordinator : str
        HOST:PORT of host 0; nothing listens on another address.
    count : int
    number : int
        0 to `count` - 1.

    Raises
    ------
    AudenoiseError
        If the address isn't one, or the number is none of the count's.

    Examples
    --------
    >>> Hosts("127.0.0.1:9911", count=2, number=1).address
    Address(host='127.0.0.1', port=9911)
    """

    coordinator: str
    count: int
    number: int

    def __post_init__(self) -> None:
        _ = self.address  # refuses what is none
        if not 0 <= self.number < self.count:
            raise TrainingError(
                f"--host {self.number}: the {self.count} hosts have the numbers 0 to {self.count - 1}"
            )

    @property
    def address(self) -> Address:
        return Address.parse(self.coordinator, "--coordinator", example="127.0.0.1:9911")


def join(hosts: Hosts, *, patience_s: float = PATIENCE_S) -> None:
    """Meet the other hosts. Comes before anything else that JAX does.

    Parameters
    ----------
    hosts : Hosts
    patience_s : float

    Raises
    ------
    TrainingError
        If the backend is not JAX, the coordinator can't be reached, or not all hosts come in time.
    """
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "jax":
        raise TrainingError("--hosts needs KERAS_BACKEND=jax: TensorFlow's Keras trains on one machine only")
    try:
        import jax
    except ImportError:
        raise TrainingError("--hosts needs JAX: pip install 'audenoise[jax]'") from None
    versions = f"audenoise {own_version()}, jax {jax.__version__}"
    # JAX itself ends the process when hosts don't come, without a word that could be caught.
    here = (_await_others if hosts.number == 0 else _report_to_first)(hosts, versions, patience_s)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # CPUs would otherwise begin what comes next while they still wait for others, who may be elsewhere.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    _listen_only_on(here)
    try:
        jax.distributed.initialize(
            hosts.coordinator,
            hosts.count,
            hosts.number,
            initialization_timeout=max(1, round(patience_s)),
            heartbeat_timeout_seconds=SILENCE_S,
            shutdown_timeout_seconds=SILENCE_S,
            coordinator_bind_address=hosts.coordinator,
        )
    except Exception as error:  # JAX has no type of its own for this
        reason = brief(error)
        raise TrainingError(
            f"--coordinator {hosts.coordinator}: the {hosts.count} hosts did not meet within "
            f"{patience_s:.0f} s ({reason})"
        ) from None


def _await_others(hosts: Hosts, versions: str, patience_s: float) -> str:
    """Host 0: let all go on when all have come. Returns the own address."""
    until = time.monotonic() + patience_s
    with ExitStack() as stack:
        try:
            family, _, _, _, place = socket.getaddrinfo(*hosts.address.place, type=socket.SOCK_STREAM)[0]
            server = stack.enter_context(socket.create_server(place[:2], family=family))
        except OSError as error:
            raise TrainingError(
                f"--coordinator {hosts.coordinator}: host 0 can't listen there "
                f"({in_words(error, hosts.address)})"
            ) from None
        come: dict[int, socket.socket] = {}
        refused: list[socket.socket] = []
        problem = ""
        while len(come) + len(refused) < hosts.count - 1:
            missing = sorted(set(range(1, hosts.count)) - come.keys())
            try:
                server.settimeout(max(0.01, until - time.monotonic()))
                visitor = stack.enter_context(server.accept()[0])
            except TimeoutError:
                if problem:
                    break
                names = ", ".join(map(str, missing))
                raise TrainingError(
                    f"--coordinator {hosts.coordinator}: host {names} of {hosts.count} did not come within "
                    f"{patience_s:.0f} s"
                ) from None
            said = _heard(visitor, _SECONDS_TO_SPEAK).split("/")
            if len(said) != 4 or said[0] != _GREETING or not said[1].isdigit():
                continue  # somebody else
            number = int(said[1])
            if said[2:] == [str(hosts.count), versions] and number in missing:
                come[number] = visitor
                continue
            refused.append(visitor)
            if not problem:
                until = min(until, time.monotonic() + _SECONDS_TO_SPEAK)  # the others shall hear why, too
                problem = f"two hosts have --host {number}"
                if said[2:] != [str(hosts.count), versions]:
                    problem = (
                        f"host {number} has {said[3]} and {said[2]} hosts, "
                        f"host 0 {versions} and {hosts.count}"
                    )
        if problem:
            for each in (*come.values(), *refused):
                _say(each, problem)
            raise TrainingError(f"--hosts: {problem}")
        for each in come.values():
            _say(each, _GREETING)
        return str(place[0])


def _report_to_first(hosts: Hosts, versions: str, patience_s: float) -> str:
    """The other hosts: wait until host 0 lets them go on. Returns the own address on the way to it."""
    until = time.monotonic() + patience_s
    while True:
        try:
            with socket.create_connection(hosts.address.place, timeout=5) as connection:
                _say(connection, f"{_GREETING}/{hosts.number}/{hosts.count}/{versions}")
                answer = _heard(connection, max(0.1, until - time.monotonic()))
                if answer == _GREETING:
                    return str(connection.getsockname()[0])
                raise TrainingError(f"--hosts: {answer or 'host 0 is gone, or waits for others in vain'}")
        except OSError as error:
            if time.monotonic() > until or isinstance(error, socket.gaierror):
                raise TrainingError(
                    f"--coordinator {hosts.coordinator}: can't be reached "
                    f"({in_words(error, hosts.address)}); start host 0, and check address and port"
                ) from None
            time.sleep(0.2)


def _say(connection: socket.socket, line: str) -> None:
    with suppress(OSError):
        connection.sendall(f"{line}\n".encode())


def _heard(connection: socket.socket, patience_s: float) -> str:
    """One line, or nothing."""
    connection.settimeout(patience_s)
    data = b""
    with suppress(OSError):
        while not data.endswith(b"\n") and len(data) < _LONGEST and (more := connection.recv(_LONGEST)):
            data += more
    return data.decode(errors="replace").strip()


def _listen_only_on(address: str) -> None:
    """Let the CPU collectives use the address that was told; by themselves they take the machine's name."""
    try:
        from jax._src.lib import _jax  # pyright: ignore[reportPrivateImportUsage]

        _jax.make_gloo_tcp_collectives = partial(_jax.make_gloo_tcp_collectives, hostname=address)
    except (ImportError, AttributeError):  # JAX's own business, which may change
        return

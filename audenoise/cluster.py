"""The second engine of `audenoise.workers`: the same work on the machines of a Ray cluster."""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from typing import Any, TypeVar

from audenoise.addresses import Address, check_answered
from audenoise.errors import AudenoiseError, brief

Item = TypeVar("Item")
Result = TypeVar("Result")

ATTEMPTS = 2
"""Workers that an item may kill before it is left out."""
LOST_NODES = 5
"""Machines that may be lost under an item, which is not its fault."""
_CONNECT_S = 5.0
_START_S = 300
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def map_on_cluster(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    address: str,
    *,
    lost: Callable[[Item, str], Result] | None = None,
    attempts: int = ATTEMPTS,
) -> Generator[Result, None, None]:
    """Yield the results of a function in the order in which they are ready, from the cores of a cluster.

    Workers keep what they have loaded from item to item. They begin in the folder of this process, if their
    machine has it: the same paths must lead to the same files everywhere. What a lost machine or worker was
    doing is done again by another.

    Parameters
    ----------
    function, items
        As for `audenoise.workers.map_in_processes`.
    address : str
        ``HOST:PORT`` of a running cluster that this machine belongs to; ``auto`` for the one that is
        running here; ``local`` starts one on this machine's cores for the time of the work, on 127.0.0.1.
    lost : callable, optional
        Makes the result of an item that has killed `attempts` workers, from the item and the reason. Without
        it, such an item is an error.
    attempts : int

    Raises
    ------
    AudenoiseError
        If Ray is missing, the cluster can't be reached or has other versions, or all its machines are lost;
        and what `function` raises.
    """
    with _connected(address) as ray:
        _check_versions(ray, address)
        yield from _Work(ray, function, items, lost, attempts).results()


class _Work:
    def __init__(
        self, ray: Any, function: Any, items: Sequence[Any], lost: Any, attempts: int
    ) -> None:  # fmt: skip
        self.ray, self.items, self.lost, self.attempts = ray, items, lost, attempts
        self._function = ray.put(function)
        # What is to be done again, Ray leaves to us: it can't tell a poisoned file from a lost machine.
        self._task = ray.remote(max_retries=0, num_cpus=1)(_work)
        self._running: dict[Any, int] = {}
        self._killed: dict[int, int] = {}
        self._stranded: dict[int, int] = {}

    def results(self) -> Iterator[Any]:
        ray, waiting = self.ray, iter(range(len(self.items)))
        again: list[int] = []
        try:
            while True:
                cores = int(ray.cluster_resources().get("CPU", 0))
                if not cores:
                    raise AudenoiseError("--ray: all machines of the cluster are lost; run the command again")
                while len(self._running) < 2 * cores:
                    number = again.pop() if again else next(waiting, None)
                    if number is None:
                        break
                    self._running[self._task.remote(self._function, self.items[number], os.getcwd())] = number
                if not self._running:
                    return
                done, _ = ray.wait(list(self._running), num_returns=1, timeout=5)
                for reference in done:
                    number = self._running.pop(reference)
                    try:
                        result = ray.get(reference)
                    except ray.exceptions.RayTaskError as error:
                        raise _own(error) from None
                    except (ray.exceptions.RayError, OSError) as error:
                        reason = self._give_up(number, error)
                        if reason is None:
                            again.append(number)
                            continue
                        result = self._without(number, reason)
                    yield result
        finally:
            for reference in self._running:
                ray.cancel(reference)

    def _give_up(self, number: int, error: BaseException) -> str | None:
        """Why an item is not tried again, or None."""
        exceptions = self.ray.exceptions
        own = (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError)
        counts, most = (
            (self._killed, self.attempts) if isinstance(error, own) else (self._stranded, LOST_NODES)
        )
        counts[number] = counts.get(number, 0) + 1
        if counts[number] < most:
            return None
        if counts is self._stranded:
            reason = brief(error)
            raise AudenoiseError(f"--ray: {most} machines were lost under the same work ({reason})")
        memory = "not enough memory" if isinstance(error, exceptions.OutOfMemoryError) else "it died"
        return f"killed {most} workers ({memory}); left out"

    def _without(self, number: int, reason: str) -> Any:
        if self.lost is None:
            raise AudenoiseError(f"--ray: {self.items[number]}: {reason}")
        return self.lost(self.items[number], reason)


def _work(function: Callable[[Item], Result], item: Item, folder: str) -> Result:
    """Run on a worker: relative paths mean what they mean where the work was given out."""
    if os.path.isdir(folder):
        os.chdir(folder)
    return function(item)


def own_version() -> str:
    """The version of the audenoise that is installed here."""
    try:
        return metadata.version("audenoise")
    except metadata.PackageNotFoundError:
        return "of a checkout"


def _own(error: Any) -> BaseException:
    """What the function raised, or in one line why a worker could not even begin."""
    cause, text = error.cause, str(error.cause)
    if missing := re.search(r"No module named '([^']+)'", text):
        return AudenoiseError(f"--ray: a machine of the cluster has no {missing[1]}; install it there too")
    if type(cause).__module__.startswith("ray."):
        return AudenoiseError(f"--ray: a worker can't do this work ({' '.join(text.split())[-160:]})")
    return cause if isinstance(cause, Exception) else error


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    place = None if address in ("auto", "local") else _reached(address)
    try:
        import ray
    except ImportError:
        raise AudenoiseError("--ray needs Ray: pip install 'audenoise[cluster]'") from None
    if ray.is_initialized():
        yield ray
        return
    place = _running_here(ray) if address == "auto" else place
    with _own_address(ray, on_loopback=address == "local" or (place is not None and place.is_loopback)):
        said: list[str] = []
        here: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
        try:
            with _in_place_of_stderr(said):
                ray.init(
                    address,
                    **here,
                    configure_logging=True,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    runtime_env={"env_vars": dict.fromkeys(_THREADS, "1")},
                )
        except (RuntimeError, ConnectionError, ValueError, OSError, AssertionError, TimeoutError) as error:
            reason = brief(error, 300)
            if any("InvalidAuthToken" in line for line in said):
                # Ray tells its token to an address only if it is asked to.
                reason = (
                    "the cluster wants Ray's token; set RAY_AUTH_MODE=token here too, with the same token"
                )
            raise AudenoiseError(f"--ray {address}: {reason}") from None
        try:
            if address == "local":
                _check_loopback(ray)
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def _in_place_of_stderr(said: list[str]) -> Iterator[None]:
    """Collect what Ray's compiled part says: a line for each of dozens of attempts to connect."""
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said += file.read().decode(errors="replace").splitlines()


def _reached(address: str) -> Address:
    if "://" in address:
        raise AudenoiseError(
            f"--ray {address}: must be HOST:PORT, auto or local; run the command on a machine of the cluster"
        )
    place = Address.parse(address, "--ray", example="127.0.0.1:6379, or auto or local")
    check_answered(place, "--ray", patience_s=_CONNECT_S, advice="`ray start --head` starts a cluster")
    return place


def _running_here(ray: Any) -> Address | None:
    """What ``auto`` leads to, as far as Ray tells."""
    with suppress(Exception):
        return Address.parse(ray._private.services.get_ray_address_from_environment("auto", None), "--ray")
    return None


@contextmanager
def _own_address(ray: Any, *, on_loopback: bool) -> Iterator[None]:
    """Let Ray take 127.0.0.1 for this machine's address, so that it listens there alone.

    On Linux, Ray replaces an address of the loopback by that of a network card, and then listens on all. What
    stops it is what stops it on macOS: a constant here, and the variable that it comes from in new processes.
    """
    constants = ray._private.ray_constants
    before = os.environ.get(_CLUSTERS), getattr(constants, "ENABLE_RAY_CLUSTER", None)
    if not on_loopback or before[1] is None:
        yield
        return
    os.environ[_CLUSTERS], constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before[1]
        if before[0] is None:
            del os.environ[_CLUSTERS]
        else:
            os.environ[_CLUSTERS] = before[0]


def _check_loopback(ray: Any) -> None:
    """Ray may change what `_own_address` relies on."""
    for node in ray.nodes():
        if not Address(node["NodeManagerAddress"], 1).is_loopback:
            raise AudenoiseError(
                f"--ray local: Ray {ray.__version__} listens on {node['NodeManagerAddress']} and not on this "
                "machine alone; use --jobs"
            )


def _check_versions(ray: Any, address: str) -> None:
    """Every machine has this audenoise, or results would differ. Ray itself compares Ray's and Python's."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    mine, about = own_version(), ray.remote(max_retries=0, num_cpus=0)(own_version)
    asked = {
        about.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(): (node["NodeManagerHostname"])
        for node in ray.nodes()
        if node["Alive"]
    }
    for reference, name in asked.items():
        try:
            theirs = ray.get(reference, timeout=_START_S)
        except ray.exceptions.RayTaskError as error:
            raise _own(error) from None
        except ray.exceptions.GetTimeoutError:
            raise AudenoiseError(f"--ray {address}: {name} starts no worker within {_START_S} s") from None
        except ray.exceptions.RayError:
            continue  # this machine was just lost: others do its work
        if theirs != mine:
            raise AudenoiseError(
                f"--ray {address}: {name} has audenoise {theirs} and this machine {mine}; install the same"
            )

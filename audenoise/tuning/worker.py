"""A worker's view of the chief's oracle: KerasTuner's client, which doesn't wait for a dead chief."""

import json
import time
from dataclasses import dataclass
from typing import Any

import grpc
import keras_tuner
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_client import OracleClient

from audenoise.addresses import Address
from audenoise.errors import AudenoiseError
from audenoise.tuning.chief import WORKER_KEY
from audenoise.tuning.hypermodel import IDENTITY
from audenoise.tuning.oracles import SteadyOracle
from audenoise.tuning.tuner import SearchStopped

_SLOW_CALL_S = 900.0  # a chief may build many networks until it finds one within the budget
_CHANNEL = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


class WorkerOracle(OracleClient):
    """The oracle of a chief, as a worker sees it.

    Parameters
    ----------
    oracle : SteadyOracle
        Knows the objective; it gives out nothing.
    address : Address
    worker : str
        A name that no other worker has.
    patience_s : float
        How long a chief that has been reached may be out of reach.

    Raises
    ------
    SearchStopped
        By any of its methods, if the chief can't be reached.
    """

    def __init__(self, oracle: SteadyOracle, address: Address, *, worker: str, patience_s: float):
        self._oracle, self.tuner_id, self.address = oracle, worker, address
        self.multi_worker, self.should_report = False, True
        self._channel = grpc.insecure_channel(str(address), options=_CHANNEL)
        calls = grpc.intercept_channel(self._channel, _Calls(worker, address, patience_s))
        self.stub = protos.get_service_grpc().OracleStub(calls)

    def connect(self, identity: dict[str, str], wait_s: float) -> None:
        """Wait for the chief, and compare its search with that of this worker.

        Parameters
        ----------
        identity : dict
            Of this worker's search.
        wait_s : float

        Raises
        ------
        AudenoiseError
            If nothing answers, or the chief's search is another.
        """
        try:
            grpc.channel_ready_future(self._channel).result(timeout=wait_s)
        except grpc.FutureTimeoutError:
            raise AudenoiseError(
                f"--oracle {self.address}: no chief answers within {wait_s:g} s; start it, or check the "
                "address"
            ) from None
        try:
            theirs = json.loads(self.get_space().get(IDENTITY))
        except (ValueError, KeyError, TypeError, keras_tuner.errors.FatalError):
            raise AudenoiseError(
                f"--oracle {self.address}: what answers there is no chief of audenoise tune"
            ) from None
        for key, value in identity.items():
            if theirs.get(key) != value:
                raise AudenoiseError(
                    f"--oracle {self.address}: the chief has another {key} than this worker "
                    f"({theirs.get(key)}, not {value})"
                )

    def close(self) -> None:
        self._channel.close()


@dataclass
class _Details(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Calls(grpc.UnaryUnaryClientInterceptor):
    """Names the worker in every call, and bears with a chief that is out of reach for a while."""

    def __init__(self, worker: str, address: Address, patience_s: float):
        self.worker, self.address, self.patience_s = worker, address, patience_s

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        details = _Details(
            method=client_call_details.method,
            timeout=_SLOW_CALL_S,
            metadata=((WORKER_KEY, self.worker),),
            credentials=None,
            wait_for_ready=False,
            compression=None,
        )
        until = time.monotonic() + self.patience_s
        while True:
            call = continuation(details, request)
            code = call.code()
            if code == grpc.StatusCode.OK:
                return call
            if code == grpc.StatusCode.ABORTED:
                raise AudenoiseError(str(call.details()))
            if code != grpc.StatusCode.UNAVAILABLE:
                raise SearchStopped(f"--oracle {self.address}: the chief has failed ({call.details()})")
            if time.monotonic() > until:
                raise SearchStopped(
                    f"--oracle {self.address}: the chief no longer answers; start it again with the same "
                    "command, then this worker. The trial's checkpoint is kept"
                )
            time.sleep(min(0.5, self.patience_s / 4))

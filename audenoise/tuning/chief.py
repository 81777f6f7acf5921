"""KerasTuner's chief, which gives out trials over gRPC, with what a long search needs besides.

Every call of a worker carries its name. A worker that is silent for too long has lost its trial, which is
given out again; one that can't reach the chief for half of that time stops, so that no trial is trained twice
at once.
"""

import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from audenoise.addresses import Address, check_free
from audenoise.errors import AudenoiseError
from audenoise.tuning.oracles import SteadyOracle

WORKER_KEY = "audenoise-worker"
_SERVER = [
    ("grpc.so_reuseport", 0),  # or a second chief would share the port with the first
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
]


class ChiefServicer(OracleServicer):
    """Answers workers, and knows when each was last heard of.

    Attributes
    ----------
    seen : dict of str to float
    ended : list
        Trials that have ended since the list was last emptied.
    failure : Exception or None
        What went wrong in an answer: the chief can't go on.
    """

    def __init__(self, oracle: SteadyOracle):
        super().__init__(oracle)
        self.seen: dict[str, float] = {}
        self.ended: list[str] = []
        self.failure: Exception | None = None

    def _answer(self, method: Callable[[Any, Any], Any], request: Any, context: Any) -> Any:
        try:
            return method(request, context)
        except Exception as error:
            self.failure = error
        context.abort(grpc.StatusCode.INTERNAL, f"{type(self.failure).__name__}: {self.failure}")

    def _caller(self, context: Any) -> str | None:
        who = dict(context.invocation_metadata()).get(WORKER_KEY)
        if who:
            self.seen[who] = time.monotonic()
        return who

    def _owns(self, context: Any, trial_id: str) -> bool:
        who = self._caller(context)
        if trial_id not in self.oracle.trials:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no trial {trial_id}")
        return who is None or self.oracle.owner(trial_id) == who or self.oracle.adopt(who, trial_id)

    def GetSpace(self, request: Any, context: Any) -> Any:
        return self._answer(super().GetSpace, request, context)

    def CreateTrial(self, request: Any, context: Any) -> Any:
        self._caller(context)
        self.seen[request.tuner_id] = time.monotonic()
        answer = self._answer(super().CreateTrial, request, context)
        self.seen[request.tuner_id] = time.monotonic()
        return answer

    def GetTrial(self, request: Any, context: Any) -> Any:
        if not self._owns(context, request.trial_id):
            context.abort(grpc.StatusCode.ABORTED, f"trial {request.trial_id} is another worker's now")
        return self._answer(super().GetTrial, request, context)

    def UpdateTrial(self, request: Any, context: Any) -> Any:
        if not self._owns(context, request.trial_id):
            context.abort(grpc.StatusCode.ABORTED, f"trial {request.trial_id} is another worker's now")
        return self._answer(super().UpdateTrial, request, context)

    def EndTrial(self, request: Any, context: Any) -> Any:
        trial_id = request.trial.trial_id
        if not self._owns(context, trial_id):  # what another worker has taken over is not this one's to end
            return protos.get_service().EndTrialResponse()  # pyright: ignore[reportAttributeAccessIssue]
        answer = self._answer(super().EndTrial, request, context)
        self.ended.append(trial_id)
        return answer


def serve(
    oracle: SteadyOracle,
    address: Address,
    *,
    lost_after_s: float,
    report: Callable[[str], object],
    on_end: Callable[[str], object],
) -> None:
    """Give out trials until all are done and every worker knows it.

    Parameters
    ----------
    oracle : SteadyOracle
    address : Address
        Nothing else is listened on.
    lost_after_s : float
        Silence after which a worker's trial is given out again, in seconds.
    report : callable
        Called with one line.
    on_end : callable
        Called with the id of each trial that has ended.

    Raises
    ------
    AudenoiseError
        If the address can't be listened on, or the oracle fails.
    """
    check_free(address, "--oracle")
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=_SERVER)
    servicer = ChiefServicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    try:
        bound = server.add_insecure_port(str(address))
    except RuntimeError:
        bound = 0
    if bound != address.port:
        raise AudenoiseError(f"--oracle {address}: can't be listened on")
    server.start()
    report(f"chief: listening on {address}")
    try:
        while not (servicer.stop_triggered and oracle.finished and not oracle.tuner_ids):
            time.sleep(0.2)
            while servicer.ended:
                on_end(servicer.ended.pop(0))
            if servicer.failure is not None:
                raise servicer.failure
            for who in [
                who for who, last in list(servicer.seen.items()) if time.monotonic() - last > lost_after_s
            ]:
                del servicer.seen[who]
                trial_id = oracle.give_back(who)
                if trial_id is not None:
                    report(f"worker {who} is silent: trial {trial_id} is given out again")
    finally:
        server.stop(grace=1).wait()


def is_complete(oracle: SteadyOracle) -> bool:
    """Whether there is nothing left to give out; asks for a trial, which goes to the first worker."""
    trial = oracle.create_trial("nobody")
    if trial.status == TrialStatus.RUNNING:
        oracle.give_back("nobody")
    oracle.tuner_ids.discard("nobody")
    return trial.status == TrialStatus.STOPPED

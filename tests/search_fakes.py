"""Searches whose trials are not trained: a score follows from the spec. Also run as a process."""

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_batches import TINY as TRAINED

from audenoise.searches.goals import Budget, Objective
from audenoise.searches.records import write_json
from audenoise.spaces import Space, parse_space
from audenoise.specs import dump_spec, parse_spec
from audenoise.tuning.data import SearchData
from audenoise.tuning.request import TrialRequest

TINY: dict[str, Any] = {
    **TRAINED,
    "training": {**TRAINED["training"], "validation_mixtures": 3, "scored_mixtures": 0},
}
SPACE: dict[str, Any] = {
    "base": TINY,
    "search": {
        "encoder[0].filters": {"min": 2, "max": 16},
        "bottleneck.channels": {"min": 4, "max": 16, "step": 4},
        "training.learning_rate": {"min": 1e-3, "max": 1e-1, "log": True},
    },
}


@dataclass(frozen=True)
class NoData(SearchData):
    """Nothing to train on."""

    fingerprint: str = "none"

    def check(self, space: Space) -> None: ...

    def prepare(self, base: Any) -> tuple[str, list[str]]:
        return self.fingerprint, []


@dataclass(frozen=True)
class DeadlyData(SearchData):
    """The system kills the process that asks for it, as it does for want of memory."""

    def validation(self, base: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class SlowData(SearchData):
    """Leaves the process's id in the cache, and is never ready."""

    def validation(self, base: Any) -> Any:
        (self.cache / "pid").write_text(str(os.getpid()))
        time.sleep(600)


def no_data() -> NoData:
    return NoData(None, None, Path())


def score_of(spec: dict[str, Any]) -> float:
    """Highest at 8 filters, 12 channels and a rate of 0.01."""
    rate = spec["training"]["learning_rate"]
    return -abs(spec["encoder"][0]["filters"] - 8) - abs(spec["bottleneck"]["channels"] - 12) / 4 - abs(
        math.log10(rate) + 2
    )  # fmt: skip


def fake_trial(
    request: TrialRequest, tick: Callable[[], object] = lambda: None, *, seconds: float = 0.0
) -> dict[str, Any]:
    """As `run_trial`, but for the training; three filters always fail."""
    request.run.mkdir(parents=True, exist_ok=True)
    (request.run / "spec.yaml").write_text(dump_spec(parse_spec(request.spec)))
    with (request.run / "starts").open("a") as file:
        file.write(f"{request.worker}\n")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.02)
        tick()
    filters = request.spec["encoder"][0]["filters"]
    result = {"status": "completed", "score": score_of(request.spec), "scores": {"si_sdr_db": 1.0},
              "parameters": 100 * filters, "macs_per_second": 10_000 * filters, "seconds": seconds,
              "epochs": request.spec["training"]["epochs"], "worker": request.worker}  # fmt: skip
    if filters == 3:
        result = {"status": "failed", "message": "three filters", "worker": request.worker}
    write_json(request.run / "result.json", result)
    return result


def work_by_another_engine(request: TrialRequest) -> dict[str, Any]:
    """What `run_trial` may do in its process in place of training by Keras."""
    return {"status": "completed", "score": score_of(request.spec), "by": os.getpid()}


def settings_of(**changes: Any) -> Any:
    """A random search of `SPACE`, or what is changed."""
    from audenoise.tuning.settings import SearchSettings

    space = parse_space(changes.pop("space", SPACE))
    standard: dict[str, Any] = {"objective": Objective.parse(["si_sdr"]), "budget": Budget(), "trials": 6}
    return SearchSettings(space, **{**standard, **changes})


def main(out: Path, options: dict[str, Any]) -> None:
    """A chief, a worker or a whole search as a process, with lines on stdout."""
    from audenoise.addresses import Address
    from audenoise.errors import AudenoiseError
    from audenoise.tuning.roles import Role
    from audenoise.tuning.search import search

    role = dict(options.pop("role", {}))
    if "address" in role:
        role["address"] = Address.parse(role["address"], "--oracle")
    seconds = options.pop("seconds", 0.0)
    try:
        search(
            settings_of(**options),
            no_data(),
            out,
            role=Role(**role),
            report=lambda line: print(line, flush=True),
            run=lambda request, tick: fake_trial(request, tick, seconds=seconds),
        )
    except AudenoiseError as error:
        print(f"error: {error}", flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))

"""Hyperparameters → spec → network: layers never meet a hyperparameter, so a winner is a spec."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from audenoise.architectures.summary import build_checked, macs_per_second
from audenoise.errors import SpecError
from audenoise.searches.goals import Budget, Cost
from audenoise.spaces import Space, Value
from audenoise.specs import ModelSpec

_BUILDS_KEPT = 50  # 30 MB of small networks
IDENTITY = "search/identity"
"""A fixed hyperparameter by which a worker knows that it is in the right search."""


class SpecHyperModel(keras_tuner.HyperModel):
    """KerasTuner's view of a space.

    Parameters
    ----------
    space : Space
    """

    def __init__(self, space: Space):
        super().__init__(name=space.base.name, tunable=True)
        self.space = space

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        """Register every hyperparameter, with its conditions."""
        for item in self.space.hyperparameters:
            with ExitStack() as conditions:
                for name, values in (item.when or {}).items():
                    conditions.enter_context(hp.conditional_scope(name, list(values)))
                if item.options:
                    hp.Choice(item.name, list(item.labels))
                    continue
                ends: dict[str, Any] = {"step": item.step, "sampling": "log" if item.log else "linear"}
                kind = hp.Int if item.integer else hp.Float
                kind(item.name, item.low, item.high, **ends)

    def spec(self, hp: keras_tuner.HyperParameters) -> ModelSpec:
        """The spec of one draw.

        Raises
        ------
        SpecError
            If the values don't go together.
        """
        return self.space.spec(own_values(hp.values))

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The network of one draw, not compiled: `audenoise.training.fit` knows how its spec is trained."""
        return build_checked(self.spec(hp))


def own_values(values: Mapping[str, Any]) -> dict[str, Value]:
    """The space's values, without those that KerasTuner and the search add."""
    return {name: value for name, value in values.items() if not name.startswith(("tuner/", "search/"))}


def cost_of(spec: ModelSpec) -> Cost:
    """Parameters and multiply-accumulates of a spec's network.

    Raises
    ------
    SpecError
        If the network can't be built.
    """
    network = build_checked(spec)
    return Cost(network.count_params(), macs_per_second(network, spec))


class Admission:
    """Decides which draws are trained: specs that are valid, and within the budget.

    Parameters
    ----------
    hypermodel : SpecHyperModel
    budget : Budget
    log : Path
        A line is added for each draw that is rejected.
    """

    def __init__(self, hypermodel: SpecHyperModel, budget: Budget, log: Path):
        self.hypermodel, self.budget, self.log = hypermodel, budget, log
        self.rejections = 0
        self._known: dict[str, str | None] = {}
        self._costs: dict[str, Cost] = {}
        self._builds = 0

    def settled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Numbers rounded as a spec has them; what KerasTuner and the search add is kept."""
        return {**values, **self.hypermodel.space.settled(own_values(values))}

    def reason_against(self, values: Mapping[str, Any]) -> str | None:
        """Why these values are not trained, or None."""
        own = own_values(values)
        key = json.dumps(own, sort_keys=True)
        if key not in self._known:
            try:
                spec = self.hypermodel.space.spec(own)
                reason = self.budget.exceeded(self._cost(spec))
            except SpecError as error:
                reason = f"not valid: {error}"
            self._known[key] = reason
            if reason is not None:
                self.rejections += 1
                self.log.parent.mkdir(parents=True, exist_ok=True)
                with self.log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"values": own, "reason": reason}) + "\n")
        return self._known[key]

    def _cost(self, spec: ModelSpec) -> Cost:
        network = spec.model_dump_json(exclude={"name", "loss", "mixing", "training"})
        if network not in self._costs:
            self._builds += 1
            if self._builds % _BUILDS_KEPT == 0:
                keras.backend.clear_session()  # networks that were only counted must not pile up
            self._costs[network] = cost_of(spec)
        return self._costs[network]

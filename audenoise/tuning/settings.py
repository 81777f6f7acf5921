"""What is searched and how, and the oracle that follows from it."""

import hashlib
import importlib.metadata
import importlib.util
import json
from dataclasses import dataclass
from typing import Any

import keras_tuner

from audenoise.errors import AudenoiseError
from audenoise.searches.goals import Budget, Objective
from audenoise.searches.records import SearchFolder
from audenoise.spaces import Space
from audenoise.specs import ModelSpec, override_training
from audenoise.tuning.hypermodel import IDENTITY, Admission, SpecHyperModel
from audenoise.tuning.oracles import BayesianOracle, HyperbandOracle, RandomOracle, SteadyOracle

NO_BUDGET = Budget()
ALGORITHMS = ("random", "bayesian", "hyperband")
_PACKAGES = {"pesq_wb": "pesq", "estoi": "pystoi"}


@dataclass(frozen=True)
class SearchSettings:
    """What is searched and how.

    Attributes
    ----------
    space : Space
    objective : Objective
    budget : Budget
    algorithm : str
        One of `ALGORITHMS`.
    trials : int
        Of a random or Bayesian search; Hyperband's follow from `epochs` and `factor`.
    epochs, steps_per_epoch : int, optional
        Length of a trial, of the longest with Hyperband. Default: those of the base spec.
    factor : int
        Hyperband trains one in `factor` on, `factor` times as long.
    seed : int
        The same seed draws the same trials, if one worker trains them.
    """

    space: Space
    objective: Objective
    budget: Budget = NO_BUDGET
    algorithm: str = "random"
    trials: int = 20
    epochs: int | None = None
    steps_per_epoch: int | None = None
    factor: int = 3
    seed: int = 0

    @property
    def base(self) -> ModelSpec:
        """The base spec, with the length of a trial."""
        length = {"epochs": self.epochs, "steps_per_epoch": self.steps_per_epoch}
        return override_training(self.space.base, length)

    def trial_spec(self, values: dict[str, Any], epochs: int | None = None) -> ModelSpec:
        """The spec that a trial trains."""
        spec = self.space.spec(values)
        steps = None if _searched(self.space, "training.steps_per_epoch") else self.steps_per_epoch
        return override_training(spec, {"epochs": epochs or self.epochs, "steps_per_epoch": steps})

    def identity(self, fingerprint: str) -> dict[str, str]:
        """What must be the same wherever trials of one search run, in words that can be compared."""
        base = self.base.training
        return {
            "audenoise": _version("audenoise"),
            "keras-tuner": _version("keras-tuner"),
            "--space": _digest(self.space.to_dict()),
            "--algorithm": self.algorithm + (f" factor {self.factor}" * (self.algorithm == "hyperband")),
            "--objective": str(self.objective),
            "--max-parameters, --max-macs": f"{self.budget.parameters}, {self.budget.macs_per_second}",
            "--epochs, --steps-per-epoch": f"{base.epochs}, {base.steps_per_epoch}",
            "--seed": str(self.seed),
            "data": fingerprint,
        }


def check_metrics(objective: Objective) -> None:
    """Refuse an objective that can't be measured here.

    Raises
    ------
    AudenoiseError
    """
    for name, _ in objective.weights:
        package = _PACKAGES.get(name)
        if package and importlib.util.find_spec(package) is None:
            raise AudenoiseError(
                f"--objective {objective}: needs the package {package}: pip install audenoise[metrics]"
            )


def make_oracle(settings: SearchSettings, folder: SearchFolder, identity: str) -> SteadyOracle:
    """The oracle of a search, with what earlier sessions have found.

    Raises
    ------
    AudenoiseError
        If its files are damaged.
    """
    oracle = _new_oracle(settings, identity)
    oracle.admission = Admission(SpecHyperModel(settings.space), settings.budget, folder.rejected)
    oracle._set_project_dir(str(folder.path), folder.oracle.name)
    oracle.verbose = 0
    if (folder.oracle / "oracle.json").exists():
        hyperparameters = oracle.hyperparameters
        oracle.reload()
        oracle.hyperparameters = hyperparameters  # what is stored may name an older version in its identity
    return oracle


def planned(settings: SearchSettings) -> tuple[int, int]:
    """Trials and epochs of a whole search."""
    if settings.algorithm == "hyperband":
        oracle = _new_oracle(settings, "")
        if isinstance(oracle, HyperbandOracle):
            return oracle.planned()
    return settings.trials, settings.trials * settings.base.training.epochs


def _new_oracle(settings: SearchSettings, identity: str) -> SteadyOracle:
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.Fixed(IDENTITY, identity)
    SpecHyperModel(settings.space).declare_hyperparameters(hyperparameters)
    common: dict[str, Any] = {
        "objective": keras_tuner.Objective("score", "max"),
        "hyperparameters": hyperparameters,
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": settings.seed + 1,  # KerasTuner takes 0 for none
        "max_consecutive_failed_trials": 10**9,
    }
    if settings.algorithm == "hyperband":
        return HyperbandOracle(max_epochs=settings.base.training.epochs, factor=settings.factor, **common)
    if settings.algorithm == "bayesian":
        first = max(4, min(3 * len(settings.space.hyperparameters), settings.trials // 3))
        return BayesianOracle(max_trials=settings.trials, num_initial_points=first, **common)
    return RandomOracle(max_trials=settings.trials, **common)


def _searched(space: Space, key: str) -> bool:
    return any(
        key in (item.keys or {}) or any(key in settings for _, settings in item.options)
        for item in space.hyperparameters
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]

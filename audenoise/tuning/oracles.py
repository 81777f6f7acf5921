"""KerasTuner's oracles, made to survive a kill at any moment, a lost worker, and a budget."""

import math
import time
import warnings
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus

from audenoise.errors import AudenoiseError, brief
from audenoise.searches.records import write_json
from audenoise.tuning.hypermodel import Admission

MAX_REJECTED = 200
"""Networks built in a row without one to train: more says that the budget and the space don't go together."""
MAX_DRAWS = 5000
_CANDIDATES = 512


class SteadyOracle(keras_tuner.Oracle):
    """What the three oracles have in common here; it comes before KerasTuner's class among the parents.

    KerasTuner writes a trial's file and then its own, each in place. Here each is replaced at once, and what
    lies between the two is put right when they are read.

    Attributes
    ----------
    admission : Admission
    exhausted : str
        Why no further draw was found, if so.
    """

    admission: Admission
    exhausted: str = ""
    _no_new_owners_before: float = 0.0

    def hold_back(self, seconds: float) -> None:
        """Give out no trial that was running for a while: its worker may still be at it."""
        self._no_new_owners_before = time.monotonic() + seconds

    # --- draws ---

    def _random_values(self) -> dict[str, Any] | None:
        rejections = self.admission.rejections
        for _ in range(MAX_DRAWS):
            values = super()._random_values()
            if values is None:
                self.exhausted = "the whole space has been tried"
                return None
            values = self.admission.settled(values)
            if not self._duplicate(values) and self.admission.reason_against(values) is None:
                return values
            if self.admission.rejections - rejections >= MAX_REJECTED:
                break
        self.exhausted = (
            "nothing new was found to train: the rest of the space is over budget, not valid, or was tried"
        )
        return None

    def _compute_values_hash(self, values: dict[str, Any]) -> str:
        # Which version of the search drew them makes them no other values.
        return super()._compute_values_hash(
            {name: value for name, value in values.items() if not name.startswith("search/")}
        )

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        idle = Trial(self.hyperparameters.copy(), trial_id="", status=TrialStatus.IDLE)
        if self._retry_queue and time.monotonic() < self._no_new_owners_before:
            self.tuner_ids.add(tuner_id)
            return idle
        trial = super().create_trial(tuner_id)
        # Whoever still waits takes over what a worker leaves behind.
        if trial.status == TrialStatus.STOPPED and (self.ongoing_trials or self._retry_queue):
            self.tuner_ids.add(tuner_id)
            return idle
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        known = self.trials[trial.trial_id]
        if trial.trial_id in self.end_order:
            return  # the first result counts
        if trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
        if trial.status == TrialStatus.COMPLETED and not known.metrics.exists(self.objective.name):
            trial.status, trial.message = TrialStatus.FAILED, "its score was never reported"
        # What comes back from a worker has been through the network; the draw itself has not changed.
        trial.hyperparameters = known.hyperparameters
        super().end_trial(trial)

    # --- workers ---

    def owner(self, trial_id: str) -> str | None:
        """The worker that has a trial."""
        return next(
            (who for who, trial in list(self.ongoing_trials.items()) if trial.trial_id == trial_id), None
        )

    @keras_tuner.synchronized
    def give_back(self, tuner_id: str) -> str | None:
        """Take the trial of a lost worker away from it, to be given out again; returns the trial's id."""
        self.tuner_ids.discard(tuner_id)
        trial = self.ongoing_trials.pop(tuner_id, None)
        if trial is None:
            return None
        self._retry_queue.append(trial.trial_id)
        self.save()
        return trial.trial_id

    @keras_tuner.synchronized
    def adopt(self, tuner_id: str, trial_id: str) -> bool:
        """Let a worker go on with a trial that has no owner, after a restart of the chief."""
        if trial_id not in self._retry_queue:
            return False
        self._retry_queue.remove(trial_id)
        self.tuner_ids.add(tuner_id)
        self.ongoing_trials[tuner_id] = self.trials[trial_id]
        self.save()
        return True

    @property
    def finished(self) -> bool:
        """Nothing runs and nothing waits."""
        return not self.ongoing_trials and not self._retry_queue

    # --- files ---

    def save(self) -> None:
        write_json(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial: Trial) -> None:
        write_json(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state())

    def reload(self) -> None:
        try:
            super().reload()
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = brief(error, 200)
            raise AudenoiseError(f"{self._get_oracle_fname()}: can't be read ({reason})") from None
        # Drawn, but killed before the oracle knew: it will be drawn again, from the same state of the seed.
        for trial_id in self.trials.keys() - set(self.start_order):
            del self.trials[trial_id]
        waiting = []
        for trial_id in self.start_order:
            trial = self.trials.get(trial_id)
            if trial is None:
                raise AudenoiseError(f"{self._get_oracle_fname()}: the file of trial {trial_id} is missing")
            if trial.status in (TrialStatus.COMPLETED, TrialStatus.FAILED):
                if trial_id not in self.end_order:  # ended, but killed before the oracle knew
                    self.end_order.append(trial_id)
                    self._run_times[trial_id] += 1
            else:
                trial.status = TrialStatus.RUNNING
                waiting.append(trial_id)
        self._retry_queue = waiting[::-1]  # taken from the end


class RandomOracle(SteadyOracle, keras_tuner.oracles.RandomSearchOracle):
    """Draws at random."""


class HyperbandOracle(SteadyOracle, keras_tuner.oracles.HyperbandOracle):
    """Trains many for a short time, and the better ones for longer (Li et al., JMLR 18, 2018)."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        # KerasTuner waits for failed trials for ever, and so promotes one less for each of them.
        failed = [trial for trial in self.trials.values() if trial.status == TrialStatus.FAILED]
        for trial in failed:
            trial.status, trial.score = TrialStatus.COMPLETED, -math.inf
        try:
            return super().populate_space(trial_id)
        finally:
            for trial in failed:
                trial.status, trial.score = TrialStatus.FAILED, None

    def planned(self) -> tuple[int, int]:
        """Trials and epochs of the whole search."""
        trials = epochs = 0
        for bracket in range(self._get_num_brackets()):
            before = 0
            for number in range(self._get_num_rounds(bracket)):
                size, length = self._get_size(bracket, number), self._get_epochs(bracket, number)
                trials += size
                epochs += size * (length - before)
                before = length
        return trials, epochs


class BayesianOracle(SteadyOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Models the score as a Gaussian process, and tries where it may be high."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, on the bounds of a kernel
            response = super().populate_space(trial_id)
            if response["status"] != TrialStatus.RUNNING:
                return response
            values = self.admission.settled(response["values"])
            if self._duplicate(values) or self.admission.reason_against(values) is not None:
                values = self._best_candidate()
        if values is None:
            return {"status": TrialStatus.STOPPED, "values": None}
        return {"status": TrialStatus.RUNNING, "values": values}

    def _best_candidate(self) -> dict[str, Any] | None:
        """The most promising of many random draws that may be trained.

        The optimum of the model is the same at each attempt, so drawing again would not lead away from one
        that is over budget or has been tried.
        """
        candidates: list[dict[str, Any]] = []
        for _ in range(_CANDIDATES):
            drawn = keras_tuner.Oracle._random_values(self)
            if drawn is None:
                break
            values = self.admission.settled(drawn)
            if not self._duplicate(values):
                candidates.append(values)
        if not candidates:
            self.exhausted = "the whole space has been tried"
            return None
        points = np.array([self._vector(values) for values in candidates])
        mean, deviation = (np.asarray(part) for part in self.gpr.predict(points, return_std=True))
        rejections = self.admission.rejections
        for index in np.argsort(mean - self.beta * deviation):
            if self.admission.reason_against(candidates[index]) is None:
                return candidates[index]
            if self.admission.rejections - rejections >= MAX_REJECTED:
                break
        return self._random_values()

    def _vector(self, values: dict[str, Any]) -> list[float]:
        return [hp.value_to_prob(values.get(hp.name, hp.default)) for hp in self._nonfixed_space()]

"""KerasTuner's loop around trials: ask the oracle, train in another process, tell the oracle."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial, TrialStatus

from audenoise.errors import AudenoiseError
from audenoise.run_folders import RunState
from audenoise.searches.records import SearchFolder, read_result
from audenoise.specs import spec_to_dict
from audenoise.tuning.data import SearchData
from audenoise.tuning.hypermodel import own_values
from audenoise.tuning.progress import Progress
from audenoise.tuning.request import TrialRequest
from audenoise.tuning.settings import SearchSettings
from audenoise.tuning.trials import DiskFull, run_trial

_IDLE_S = 0.5
_BEAT_S = 1.0

RunTrial = Callable[[TrialRequest, Callable[[], object]], dict[str, Any]]


class SearchStopped(keras_tuner.errors.FatalError):
    """The search can't go on for now; its trials are kept."""


class SpecTuner(BaseTuner):
    """Trains the specs that an oracle draws.

    Parameters
    ----------
    oracle : keras_tuner.Oracle
    settings : SearchSettings
    data : SearchData
    folder : SearchFolder
    progress : Progress
    worker : str
        Name of this process in results.
    run : callable
        Trains one trial, as `audenoise.tuning.trials.run_trial`.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        *,
        settings: SearchSettings,
        data: SearchData,
        folder: SearchFolder,
        progress: Progress,
        worker: str = "",
        run: RunTrial = run_trial,
    ):
        super().__init__(oracle, directory=str(folder.path), project_name=folder.oracle.name)
        self.settings, self.data, self.folder, self.progress = settings, data, folder, progress
        self.worker, self._run = worker, run
        self._told_to_wait = False

    def _populate_initial_space(self) -> None:
        """The oracle knows the space already."""

    def save(self) -> None:
        """The oracle saves itself whenever something changes."""

    def reload(self) -> None:
        """See `save`."""

    def pre_create_trial(self) -> None:
        # An oracle that waits for other workers says so at once, and would be asked again at once.
        if self._told_to_wait:
            time.sleep(_IDLE_S)
        self._told_to_wait = True

    def on_trial_begin(self, trial: Trial) -> None:
        self._told_to_wait = False

    def request(self, trial: Trial) -> TrialRequest:
        """What a trial needs.

        Raises
        ------
        AudenoiseError
            If its id or its values can't be those of this search.
        """
        values = trial.hyperparameters.values
        names = [trial.trial_id, *filter(None, [values.get("tuner/trial_id")])]
        if not all(isinstance(name, str) and re.fullmatch(r"\d{1,9}", name) for name in names):
            raise AudenoiseError(f"trial {names}: is not numbered as those of this search")
        spec = self.settings.trial_spec(own_values(values), values.get("tuner/epochs"))
        return TrialRequest(
            run=self.folder.trial(trial.trial_id),
            spec=spec_to_dict(spec),
            base=spec_to_dict(self.settings.base),
            data=self.data,
            objective=self.settings.objective,
            budget=self.settings.budget,
            previous=self.folder.trial(names[1]) if len(names) > 1 else None,
            worker=self.worker,
        )

    def run_trial(self, trial: Trial, *fit_args: Any, **fit_kwargs: Any) -> dict[str, float]:
        """Train one spec; a failure is the trial's, and the search goes on."""
        try:
            request = self.request(trial)
            beat, first = time.monotonic(), trial.hyperparameters.values.get("tuner/initial_epoch", 0)

            def tick() -> None:
                nonlocal beat
                if time.monotonic() - beat < _BEAT_S:
                    return
                self.oracle.get_trial(trial.trial_id)  # tells a chief that this worker is alive
                self.progress.running(trial.trial_id, _epoch(request.run) - first)
                beat = time.monotonic()

            result = self._run(request, tick)
        except DiskFull as error:
            raise SearchStopped(str(error)) from None
        except AudenoiseError as error:
            raise keras_tuner.errors.FailedTrialError(str(error)) from None
        if result["status"] != "completed":
            raise keras_tuner.errors.FailedTrialError(result["message"])
        return {"score": float(result["score"])}

    def _try_run_and_update_trial(self, trial: Trial, *fit_args: Any, **fit_kwargs: Any) -> None:
        # KerasTuner's own prints a traceback, and makes it the message.
        try:
            self.oracle.update_trial(trial.trial_id, self.run_trial(trial, *fit_args, **fit_kwargs))
        except SearchStopped:
            raise
        except Exception as error:
            trial.status, trial.message = TrialStatus.FAILED, " ".join(str(error).split())
        else:
            trial.status = TrialStatus.COMPLETED

    def on_trial_end(self, trial: Trial) -> None:
        super().on_trial_end(trial)
        self.progress.ended(trial.trial_id, planned_epochs(trial, self.settings), outcome(self.folder, trial))


def planned_epochs(trial: Trial, settings: SearchSettings) -> int:
    """Epochs that a trial adds to those of the shorter one that it goes on from."""
    values = trial.hyperparameters.values
    return values.get("tuner/epochs", settings.base.training.epochs) - values.get("tuner/initial_epoch", 0)


def outcome(folder: SearchFolder, trial: Trial) -> dict[str, Any]:
    """The result in the trial's folder, or as much as KerasTuner knows."""
    result = read_result(folder.trial(trial.trial_id))
    if result is not None:
        return result
    if trial.score is not None:
        return {"status": "completed", "score": trial.score}
    return {"status": "failed", "message": trial.message or ""}


def _epoch(run: Path) -> int:
    try:
        return RunState.read(run).epoch
    except AudenoiseError:
        return 0

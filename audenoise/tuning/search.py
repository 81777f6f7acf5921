"""A search from its settings to its report: in this process, or shared by a chief and workers."""

import json
from collections.abc import Callable
from pathlib import Path

from keras_tuner.engine.trial import TrialStatus

from audenoise.addresses import check_free
from audenoise.errors import AudenoiseError
from audenoise.searches.records import SearchFolder, read_description
from audenoise.searches.report import SearchReport, read_report, write_report
from audenoise.tuning.chief import is_complete, serve
from audenoise.tuning.data import SearchData
from audenoise.tuning.folder import held, open_folder
from audenoise.tuning.oracles import SteadyOracle
from audenoise.tuning.progress import Progress
from audenoise.tuning.roles import Role
from audenoise.tuning.settings import SearchSettings, check_metrics, make_oracle, planned
from audenoise.tuning.trials import run_trial
from audenoise.tuning.tuner import RunTrial, SearchStopped, SpecTuner, outcome, planned_epochs
from audenoise.tuning.worker import WorkerOracle


def search(
    settings: SearchSettings,
    data: SearchData,
    out: Path,
    *,
    role: Role | None = None,
    report: Callable[[str], object] = print,
    bar: bool = False,
    run: RunTrial = run_trial,
) -> SearchReport | None:
    """Search, or go on with the search in a folder.

    Parameters
    ----------
    settings : SearchSettings
    data : SearchData
    out : Path
        Empty, missing, or of the same search. All roles of one search have the same folder.
    role : Role, optional
        Default: alone.
    report : callable
        Called with one line.
    bar : bool
        Draw a progress bar on stderr.
    run : callable
        Trains one trial, see `audenoise.tuning.trials.run_trial`.

    Returns
    -------
    SearchReport or None
        None for a worker.

    Raises
    ------
    AudenoiseError
        If the settings, the folder, the data or the address can't serve, or the disk is full.
    """
    role = role or Role()
    check_metrics(settings.objective)
    data.check(settings.space)
    if role.kind == "worker":
        _work(settings, data, SearchFolder(out), role, report=report, run=run)
        return None
    if role.address is not None:
        check_free(role.address, "--oracle")  # before hours of decoding
    with held(out):
        fingerprint, lines = data.prepare(settings.base)
        for line in lines:
            report(line)
        identity = settings.identity(fingerprint)
        folder, search_id = open_folder(out, settings, identity, report=report)
        resumed = (folder.oracle / "oracle.json").exists()
        oracle = make_oracle(settings, folder, json.dumps({**identity, "--out": search_id}))
        progress = _progress(settings, oracle, report, bar)
        if resumed:
            report(f"{out}: goes on after {len(oracle.end_order)} trials")
        try:
            if role.address is not None:
                _lead(settings, folder, oracle, role, progress, resumed)
            else:
                SpecTuner(
                    oracle, settings=settings, data=data, folder=folder, progress=progress, run=run
                ).search()
        except SearchStopped as error:
            raise AudenoiseError(str(error)) from None
        finally:
            progress.close()
        if oracle.exhausted:
            report(f"no more trials: {oracle.exhausted}")
        found = read_report(out)
        write_report(found, out / "report")
        return found


def _progress(
    settings: SearchSettings, oracle: SteadyOracle, report: Callable[[str], object], bar: bool
) -> Progress:
    trials, epochs = planned(settings)
    ended = [oracle.trials[trial_id] for trial_id in oracle.end_order]
    progress = Progress(
        trials=trials,
        epochs=epochs,
        done_trials=len(ended),
        done_epochs=sum(planned_epochs(trial, settings) for trial in ended),
        report=report,
        bar=bar,
    )
    for trial in ended:
        if trial.status == TrialStatus.COMPLETED:
            progress.best(trial.score, trial.trial_id)
    return progress


def _lead(
    settings: SearchSettings,
    folder: SearchFolder,
    oracle: SteadyOracle,
    role: Role,
    progress: Progress,
    resumed: bool,
) -> None:
    if resumed and is_complete(oracle):
        return
    if resumed:
        oracle.hold_back(role.lost_after_s / 2)

    def ended(trial_id: str) -> None:
        trial = oracle.trials[trial_id]
        progress.ended(trial_id, planned_epochs(trial, settings), outcome(folder, trial))

    if role.address is not None:
        serve(oracle, role.address, lost_after_s=role.lost_after_s, report=progress.say, on_end=ended)


def _work(
    settings: SearchSettings,
    data: SearchData,
    folder: SearchFolder,
    role: Role,
    *,
    report: Callable[[str], object],
    run: RunTrial,
) -> None:
    if role.address is None:
        raise AudenoiseError("--role worker: needs the chief's address, see --oracle")
    oracle = make_oracle(settings, SearchFolder(folder.path / "workers" / role.name), "")
    chief = WorkerOracle(oracle, role.address, worker=role.name, patience_s=role.lost_after_s / 2)
    progress = Progress(trials=0, epochs=0, done_trials=0, done_epochs=0, report=report)
    try:
        # First what both know without the data, so that the wrong chief is noticed at once.
        chief.connect(
            {key: value for key, value in settings.identity("").items() if key != "data"}, role.wait_s
        )
        fingerprint, lines = data.prepare(settings.base)
        for line in lines:
            report(line)
        if not folder.description.exists():
            raise AudenoiseError(
                f"{folder.path}: holds no search; --out must be the chief's folder, on a disk that all share"
            )
        search_id = read_description(folder)["search_id"]
        chief.connect({**settings.identity(fingerprint), "--out": search_id}, role.wait_s)
        tuner = SpecTuner(
            oracle, settings=settings, data=data, folder=folder, progress=progress, worker=role.name, run=run
        )
        tuner.oracle, tuner.tuner_id = chief, role.name
        tuner.search()
        report(f"{role.name}: the search is done, {progress.done_trials} of its trials were trained here")
    except SearchStopped as error:
        raise AudenoiseError(str(error)) from None
    finally:
        progress.close()
        chief.close()

"""Searches: what is drawn, what survives a kill, who gets a lost worker's trial, and what is found."""

import csv
import http.server
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings import write_corpus
from saved_datasets import mixture, write_dataset
from search_fakes import (
    SPACE,
    TINY,
    DeadlyData,
    fake_trial,
    no_data,
    score_of,
    settings_of,
    work_by_another_engine,
)

import audenoise.tuning.hypermodel
import audenoise.tuning.oracles
from audenoise.addresses import Address
from audenoise.architectures import build_network
from audenoise.architectures.summary import macs_per_second
from audenoise.cli import main
from audenoise.corpus import TrainingFolders
from audenoise.errors import AudenoiseError, DataError
from audenoise.run_folders import RunState
from audenoise.searches.goals import Budget, Cost, Objective, parse_amount
from audenoise.searches.records import SearchFolder, TrialRecord, read_result, read_trials
from audenoise.searches.report import in_words, pareto_front, read_report
from audenoise.spaces import load_space
from audenoise.specs import load_spec, parse_spec, spec_to_dict
from audenoise.tuning.chief import ChiefServicer
from audenoise.tuning.data import SearchData
from audenoise.tuning.folder import held
from audenoise.tuning.hypermodel import cost_of
from audenoise.tuning.request import TrialRequest
from audenoise.tuning.roles import Role, find_role
from audenoise.tuning.search import search
from audenoise.tuning.settings import make_oracle, planned
from audenoise.tuning.trial_run import open_run, train_and_score
from audenoise.tuning.trials import run_trial
from audenoise.tuning.worker import WorkerOracle

HERE = Path(__file__).parent


def fake_search(out: Path, run: Any = fake_trial, report: Any = lambda line: None, **changes: Any) -> Any:
    return search(settings_of(**changes), no_data(), out, run=run, report=report)


@pytest.fixture
def quick(monkeypatch: Any) -> None:
    """Networks are not built to be counted."""
    monkeypatch.setattr(audenoise.tuning.hypermodel, "cost_of", lambda spec: Cost(1, 1))


def ended(out: Path) -> dict[str, float | None]:
    """Scores of the trials that are done."""
    trials = read_trials(SearchFolder(out))
    return {trial.trial_id: trial.score for trial in trials if trial.status != "running"}


def draws(out: Path) -> list[dict[str, Any]]:
    return [trial.values for trial in read_trials(SearchFolder(out))]


# --- goals --------------------------------------------------------------------------------------------------


def test_an_objective_is_a_weighted_sum():
    objective = Objective.parse(["pesq=2", "estoi", "si_sdr=-0.5"])
    assert objective.score({"pesq_wb": 3.0, "estoi": 0.5, "si_sdr_db": 4.0}) == pytest.approx(4.5)
    assert str(objective) == "2 pesq + estoi + -0.5 si_sdr"
    assert objective.score({"pesq_wb": 3.0}) != objective.score({"pesq_wb": 3.0})  # not a number
    for wrong in ("psnr", "pesq=a", "pesq=0", "pesq=inf"):
        with pytest.raises(AudenoiseError, match=f"--objective {wrong}"):
            Objective.parse([wrong])
    with pytest.raises(AudenoiseError, match="given twice"):
        Objective.parse(["pesq", "pesq=2"])


def test_amounts_and_budgets():
    assert [parse_amount(text) for text in ("7", "50k", "1.5M", "2G")] == [7, 50_000, 1_500_000, 2 * 10**9]
    for wrong in ("", "0", "-1", "3 M", "1T", "nan"):
        with pytest.raises(AudenoiseError, match="must be a count"):
            parse_amount(wrong)
    budget = Budget(parameters=100, macs_per_second=2000)
    assert budget.exceeded(Cost(100, 2000)) is None
    assert budget.exceeded(Cost(101, 2000)) == "over budget: 101 parameters of 100"
    assert budget.exceeded(Cost(1, 3000)) == "over budget: 3 k MAC/s of 2 k"


def test_the_front_is_what_a_slow_search_of_all_pairs_finds():
    rng = random.Random(1)
    trials = [
        TrialRecord(str(i), "completed", score=float(rng.randrange(20)), parameters=rng.randrange(1, 20))
        for i in range(60)
    ]
    slow = {
        (trial.parameters, trial.score)
        for trial in trials
        if not any(
            other.parameters <= trial.parameters and other.score >= trial.score  # pyright: ignore
            and (other.parameters, other.score) != (trial.parameters, trial.score)
            for other in trials
        )
    }  # fmt: skip
    front = pareto_front(trials, "parameters")
    assert {(trial.parameters, trial.score) for trial in front} == slow
    assert [trial.parameters for trial in front] == sorted({trial.parameters for trial in front})  # pyright: ignore


# --- a search in this process -------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_a_search_is_reported_while_it_runs_and_goes_on_where_it_was(tmp_path: Path):
    out, seen, lines = tmp_path / "s", [], []

    def watched(request: TrialRequest, tick: Any) -> dict[str, Any]:
        seen.append(in_words(read_report(out)))
        return fake_trial(request, tick)

    fake_search(out, run=watched, trials=3, report=lines.append)
    assert "2 completed, 0 failed, 1 running or waiting of 3 trials" in seen[2]
    assert len([line for line in lines if " of 3): score " in line]) == 3
    assert ["left" in line for line in lines] == [True, True, False]
    first = draws(out)
    found = fake_search(out, trials=8, report=lines.append)
    assert f"{out}: goes on after 3 trials" in lines
    assert draws(out)[:3] == first
    assert len(found.trials) == len({json.dumps(values) for values in draws(out)}) == 8
    # The same seed draws the same; a search in one go is no other than one in two.
    fake_search(tmp_path / "again", trials=8)
    assert draws(tmp_path / "again") == draws(out)
    fake_search(tmp_path / "other", trials=8, seed=1)
    assert draws(tmp_path / "other") != draws(out)


@pytest.mark.usefixtures("quick")
def test_the_winner_is_a_spec_for_training(tmp_path: Path):
    out = tmp_path / "s"
    found = fake_search(out, trials=12, epochs=1, steps_per_epoch=3)
    best = found.best
    assert best.score == max(score_of(spec_to_dict(settings_of().space.spec(v))) for v in draws(out))
    spec = load_spec(out / "report/best.yaml")
    assert spec.name == f"tiny-{best.trial_id}"
    assert spec.training.epochs == TINY["training"]["epochs"]  # those of the base, not of the search
    assert load_spec(out / "trials" / best.trial_id / "spec.yaml").training.steps_per_epoch == 3
    assert spec.encoder[0].filters == best.values["encoder[0].filters"]
    assert build_network(spec).count_params() > 0
    rows = list(csv.DictReader((out / "report/trials.csv").open()))
    assert [row["trial"] for row in rows] == [trial.trial_id for trial in found.trials]
    assert float(rows[0]["encoder[0].filters"]) == draws(out)[0]["encoder[0].filters"]
    fronts = {trial.trial_id for front in found.fronts.values() for trial in front}
    assert {path.stem for path in (out / "report/front").iterdir()} == fronts
    assert (out / "report/front.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.usefixtures("quick")
def test_failed_trials_are_reported_and_do_not_end_the_search(tmp_path: Path, capsys: Any):
    space = {"base": TINY, "search": {"encoder[0].filters": [2, 3, 4], "causal": [True, False]}}
    lines: list[str] = []
    found = fake_search(tmp_path / "s", space=space, trials=6, report=lines.append)
    assert Counter(trial.status for trial in found.trials) == {"completed": 4, "failed": 2}
    assert sum("failed: three filters" in line for line in lines) == 2
    assert main(["tune", "report", str(tmp_path / "s")]) == 0
    shown = capsys.readouterr().out
    assert "4 completed, 2 failed" in shown
    assert shown.count("failed: three filters") == 2


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "hyperband"])
def test_nothing_over_budget_or_invalid_is_trained(algorithm: str, tmp_path: Path):
    search_keys = {
        "encoder[0].filters": {"min": 2, "max": 8},
        "bottleneck.channels": [4, 8],
        "encoder[0].kernel": [[1, 3], [1, 4], [1, 8]],
    }  # a stride of 4 needs a kernel of 4
    limit = 700
    found = fake_search(
        tmp_path, space={"base": TINY, "search": search_keys}, algorithm=algorithm, trials=8, epochs=3,
        budget=Budget(parameters=limit),
    )  # fmt: skip
    assert len(found.trials) >= (5 if algorithm == "hyperband" else 8)
    for trial in found.trials:
        spec = load_spec(tmp_path / "trials" / trial.trial_id / "spec.yaml")
        assert cost_of(spec).parameters <= limit
    reasons = [row["reason"] for row in found.rejected]
    assert any(reason.startswith("over budget") for reason in reasons)
    assert any(reason.startswith("not valid") and "kernel" in reason for reason in reasons)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_a_small_space_is_tried_once_and_then_said_to_be_exhausted(algorithm: str, tmp_path: Path):
    lines: list[str] = []
    space = {"base": TINY, "search": {"encoder[0].filters": [2, 4, 8], "bottleneck.channels": [4, 8]}}
    found = fake_search(tmp_path, space=space, algorithm=algorithm, trials=50, report=lines.append)
    assert len(found.trials) == 6
    assert "no more trials: the whole space has been tried" in lines


def test_a_budget_that_nothing_meets_is_said(tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr(audenoise.tuning.oracles, "MAX_REJECTED", 5)
    lines: list[str] = []
    found = fake_search(tmp_path, budget=Budget(parameters=1), report=lines.append)
    assert found.best is None
    assert len(found.rejected) == 5
    assert "over budget" in lines[-1]


@pytest.mark.usefixtures("quick")
def test_bayesian_search_beats_nine_random_ones_in_ten(tmp_path: Path):
    rng = random.Random(0)

    def at_random() -> float:
        return score_of(
            {
                "encoder": [{"filters": rng.randint(2, 16)}],
                "bottleneck": {"channels": rng.choice([4, 8, 12, 16])},
                "training": {"learning_rate": 10 ** rng.uniform(-3, -1)},
            }
        )

    best = [max(at_random() for _ in range(20)) for _ in range(300)]
    found = fake_search(tmp_path, algorithm="bayesian", trials=20, seed=1)
    assert found.best.score > np.quantile(best, 0.9)


@pytest.mark.usefixtures("quick")
def test_hyperband_goes_on_from_the_better_half(tmp_path: Path):
    requests: list[TrialRequest] = []

    def watched(request: TrialRequest, tick: Any) -> dict[str, Any]:
        requests.append(request)
        return fake_trial(request, tick)

    lines: list[str] = []
    found = fake_search(tmp_path, run=watched, algorithm="hyperband", epochs=9, report=lines.append)
    trials, epochs = planned(settings_of(algorithm="hyperband", epochs=9))
    assert len(found.trials) == trials
    before = {request.run: request for request in requests}
    longer = [request for request in requests if request.previous]
    assert len(longer) >= 3
    trained = 0
    for request in requests:
        previous = before[request.previous] if request.previous else None
        trained += request.spec["training"]["epochs"]
        if previous:
            trained -= previous.spec["training"]["epochs"]
            assert request.spec["training"]["epochs"] > previous.spec["training"]["epochs"]
            assert score_of(request.spec) == score_of(previous.spec)
    assert trained == epochs
    assert max(request.spec["training"]["epochs"] for request in requests) == 9
    assert f"({trials} of {trials})" in lines[-1]


# --- kills --------------------------------------------------------------------------------------------------


class _Killed(BaseException):
    """What no handler of errors catches."""


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("algorithm", ["random", "hyperband"])
def test_a_kill_at_any_write_of_a_file_loses_nothing(algorithm: str, tmp_path: Path, monkeypatch: Any):
    whole, out, trials = tmp_path / "whole", tmp_path / "killed", 4
    fake_search(whole, algorithm=algorithm, trials=trials, epochs=3)
    replace = os.replace
    countdown = [0, 0]

    def replace_or_die(source: Any, target: Any) -> None:
        countdown[0] -= 1
        if countdown[0] == 0 and countdown[1]:
            raise _Killed
        replace(source, target)
        if countdown[0] == 0:
            raise _Killed

    monkeypatch.setattr(os, "replace", replace_or_die)
    completed: dict[str, float | None] = {}
    kills = 0
    for number in range(10_000):
        # Each session gets further by a write, and dies before or after the next one.
        countdown[:] = [3 + number % 7, number % 2]
        try:
            fake_search(out, algorithm=algorithm, trials=trials, epochs=3)
            break
        except _Killed:
            kills += 1
        kept = {
            each.trial_id: each.score for each in read_trials(SearchFolder(out)) if each.status != "running"
        }
        assert completed.items() <= kept.items()
        completed = kept
    monkeypatch.undo()
    assert kills >= 5
    found = fake_search(out, algorithm=algorithm, trials=trials, epochs=3)
    assert draws(out) == draws(whole)
    assert [trial.score for trial in found.trials] == [trial.score for trial in read_report(whole).trials]
    assert all(trial.status != "running" for trial in found.trials)


@pytest.mark.usefixtures("quick")
def test_a_process_killed_at_random_moments_ends_with_the_same_trials(tmp_path: Path):
    options = {"trials": 10, "seconds": 0.15}
    rng = random.Random(3)
    for attempt in range(12):
        process = start(tmp_path / "s", **options)
        # Two kills in the middle, then to the end.
        if attempt < 2:
            wait_for((tmp_path / "s/oracle/oracle.json").exists)
            time.sleep(rng.uniform(0.1, 0.7))
            process.kill()
        if process.wait(300) == 0:
            break
        before = {
            each.trial_id for each in read_trials(SearchFolder(tmp_path / "s")) if each.status != "running"
        }
    starts = {
        path.parent.name: len(path.read_text().splitlines()) for path in tmp_path.glob("s/trials/*/starts")
    }
    assert len(starts) == 10
    assert sum(starts.values()) <= 12  # at most one is begun again for each kill
    assert all(starts[trial_id] == 1 or trial_id not in before for trial_id in starts)
    fake_search(tmp_path / "whole", trials=10)
    assert draws(tmp_path / "s") == draws(tmp_path / "whole")


def test_a_trial_does_not_outlive_its_search(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path\n"
        "from search_fakes import SlowData, SPACE\n"
        "from audenoise.tuning.trials import run_trial\n"
        "from test_tuning import request_for\n"
        "if __name__ == '__main__':\n"
        "    cache = Path(sys.argv[1]); run_trial(request_for(cache / 'run', SlowData(None, None, cache)))\n"
    )
    (tmp_path / "alone.py").write_text(code)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "alone.py", tmp_path], env=environment(KERAS_BACKEND="numpy")
    )
    pid = tmp_path / "pid"
    wait_for(lambda: (pid.exists() and pid.read_text()) or process.poll() is not None)
    child = int(pid.read_text())
    process.kill()
    process.wait()
    wait_for(lambda: not running(child), 10)


@pytest.mark.usefixtures("quick")
def test_one_folder_has_one_search_at_a_time_and_one_kind(tmp_path: Path):
    fake_search(tmp_path / "s", trials=1)
    with held(tmp_path / "s"), pytest.raises(AudenoiseError, match="another search is running there"):
        fake_search(tmp_path / "s", trials=2)
    for changes, key in (
        ({"algorithm": "bayesian"}, "--algorithm"),
        ({"objective": Objective.parse(["estoi"])}, "--objective"),
        ({"space": {**SPACE, "search": {"causal": [True, False]}}}, "--space"),
        ({"budget": Budget(10**6)}, "--max-parameters, --max-macs"),
        ({"epochs": 7}, "--epochs, --steps-per-epoch"),
        ({"seed": 3}, "--seed"),
    ):
        with pytest.raises(AudenoiseError, match=f"holds a search with another {key} "):
            fake_search(tmp_path / "s", **changes)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("mine")
    with pytest.raises(AudenoiseError, match="is not empty and holds no search"):
        fake_search(tmp_path / "full")
    with pytest.raises(AudenoiseError, match="holds no search"):
        read_report(tmp_path / "full")
    (tmp_path / "s/oracle/oracle.json").write_text("{")
    with pytest.raises(AudenoiseError, match=r"oracle\.json: can't be read"):
        fake_search(tmp_path / "s")


# --- real trials --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TrainingFolders:
    clean, noise = write_corpus(tmp_path_factory.mktemp("corpus"))
    return TrainingFolders((clean,), (noise,))


def request_for(run: Path, data: SearchData, *, base: Any = None, **changes: Any) -> TrialRequest:
    base = spec_to_dict(parse_spec(base or TINY))
    spec = {**base, "training": {**base["training"], "steps_per_epoch": 3, **changes.pop("training", {})}}
    return TrialRequest(
        run, spec, base, data, Objective.parse(["si_sdr"]), changes.pop("budget", Budget()), **changes
    )


def test_a_trial_trains_scores_and_goes_on_from_a_shorter_one(tmp_path: Path, corpus: TrainingFolders):
    data = SearchData(corpus, None, tmp_path / "cache", workers=0)
    short = request_for(tmp_path / "short", data, training={"epochs": 1})
    answer = train_and_score(short)
    assert answer["status"] == "completed"
    assert answer["score"] == answer["scores"]["si_sdr_db"]
    spec = parse_spec(short.spec)
    network = build_network(spec)
    assert answer["parameters"] == network.count_params()
    assert answer["macs_per_second"] == macs_per_second(network, spec)
    # Killed after the training: only the scoring is done again, with the same result.
    assert train_and_score(short)["score"] == pytest.approx(answer["score"], abs=1e-4)
    long = request_for(tmp_path / "long", data, training={"epochs": 2}, previous=short.run)
    assert train_and_score(long)["epochs"] == 2
    assert [row["epoch"] for row in csv.DictReader((tmp_path / "long/log.csv").open())] == ["0", "1"]
    assert RunState.read(tmp_path / "short").epoch == 1
    # A folder that holds the run of another spec is not gone on with.
    other = request_for(tmp_path / "long", data, base={**TINY, "encoder": [{"filters": 3}]})
    assert open_run(long).epoch == 2
    assert open_run(other).epoch == 0
    over = request_for(tmp_path / "over", data, budget=Budget(parameters=5))
    assert train_and_score(over)["message"].startswith("over budget")
    nan = request_for(
        tmp_path / "nan", data, training={"epochs": 1, "learning_rate": 1e30, "clip_norm": 1e30}
    )
    answer = train_and_score(nan)
    assert answer["status"] == "failed"
    assert "not a number" in answer["message"]
    assert answer["parameters"] == network.count_params()


def test_a_trial_that_is_killed_is_a_failed_trial(tmp_path: Path):
    result = run_trial(request_for(tmp_path / "run", DeadlyData(None, None, tmp_path)))
    assert result["status"] == "failed"
    assert "killed, by the system for want of memory" in result["message"]
    assert result["peak_memory_mb"] > 20
    assert read_result(tmp_path / "run") == result
    assert run_trial(request_for(tmp_path / "run", DeadlyData(None, None, tmp_path))) == result  # at once


def test_a_trial_by_another_engine_has_a_process_too(tmp_path: Path):
    request = request_for(tmp_path / "run", no_data())
    result = run_trial(request, work=work_by_another_engine)
    assert result["score"] == score_of(request.spec)
    assert result["by"] != os.getpid()
    assert read_result(tmp_path / "run") == result


def test_a_search_from_the_command_line(tmp_path: Path, corpus: TrainingFolders, capsys: Any):
    space = {**SPACE, "base": {**TINY, "training": {**TINY["training"], "epochs": 30}}}
    (tmp_path / "space.json").write_text(json.dumps(space))
    out = tmp_path / "s"
    command = ["tune", "--clean", str(corpus.clean[0]), "--noise", str(corpus.noise[0]),
               "--space", str(tmp_path / "space.json"), "--out", str(out), "--epochs", "1", "--workers", "0",
               "--steps-per-epoch", "3", "--algorithm", "random", "--trials", "1",
               "--max-macs", "2M"]  # fmt: skip
    assert main(command) == 0
    output = capsys.readouterr()
    assert "1 completed, 0 failed" in output.out
    trial = read_trials(SearchFolder(out))[0]
    spec = load_spec(out / "report/best.yaml")
    assert cost_of(spec) == Cost(trial.parameters or 0, trial.macs_per_second or 0)
    assert (trial.macs_per_second or 0) <= 2_000_000
    assert (trial.peak_memory_mb or 0) > 20
    assert (trial.seconds or 0) > 0
    assert trial.epochs == 1
    assert spec.training.epochs == 30
    assert main(["tune", "report", str(out)]) == 0
    assert str(out / "report/front.png") in capsys.readouterr().err
    # Other recordings are another search.
    more = TrainingFolders((*corpus.clean, *corpus.noise), corpus.noise)
    with pytest.raises(AudenoiseError, match="holds a search with another data"):
        search(
            settings_of(space=space, epochs=1, steps_per_epoch=3, trials=1, budget=Budget(None, 2_000_000)),
            SearchData(more, None, tmp_path / "cache", 0), out, report=lambda line: None,
        )  # fmt: skip


def test_trials_train_on_a_dataset_and_are_scored_on_its_held_out_side(tmp_path: Path):
    pairs = {"train": [mixture(i, 1.0) for i in range(4)], "test": [mixture(100 + i, 1.5) for i in range(2)]}
    ordered = write_dataset(tmp_path / "data", pairs)
    data = SearchData(None, tmp_path / "data", tmp_path, workers=0)
    base = parse_spec(TINY)
    fingerprint, lines = data.prepare(base)
    assert "training on" in lines[-1]
    _, clean = data.validation(base)
    held_out = [clean for _, clean in ordered["test"]]
    for example in clean:  # each is an excerpt of what was held out, as float16 spectrograms keep it
        peaks = [np.max(np.correlate(whole, example, "valid")) / np.sum(example**2) for whole in held_out]
        assert max(peaks) == pytest.approx(1, abs=0.01)
    stream = data.stream(base, 1)
    batch, again = next(stream), data.stream(base, 0)
    for _ in range(base.training.steps_per_epoch + 1):
        first = next(again)
    np.testing.assert_array_equal(batch[0], first[0])  # the second epoch's first batch
    request = request_for(tmp_path / "run", data, training={"epochs": 1})
    assert train_and_score(request)["status"] == "completed"
    write_dataset(tmp_path / "more", {**pairs, "train": pairs["train"] + [mixture(9, 1.0)]})
    assert SearchData(None, tmp_path / "more", tmp_path).prepare(base)[0] != fingerprint


def test_a_dataset_has_its_spectrograms_already(tmp_path: Path):
    data = SearchData(None, tmp_path, tmp_path)
    with pytest.raises(DataError, match=r"stft\.n_fft can't be searched on it; use --clean and --noise"):
        data.check(load_space("stft"))
    data.check(load_space("network"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name a DATASET, or folders with --clean and --noise"),
        (["here", "--clean", "here"], "a DATASET has its mixtures"),
        (["here", "--space", "nets"], "nets: no such space file; shipped spaces: network"),
        (["here", "--objective", "mos"], "must be one of si_sdr, estoi"),
        (["here", "--max-macs", "many"], "many: must be a count"),
        (["here"], "dataset"),
        (["here", "--role", "chief", "--oracle", ":1"], "must be HOST:PORT"),
    ],
)
def test_a_wrong_command_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: Any, monkeypatch: Any
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert main(["tune", "--space", "network", "--out", "x", *arguments]) in (1, 2)
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "x/search.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--role", "worker", "--oracle", "nowhere"], "--oracle nowhere: must be HOST:PORT"),
        (["--role", "chief", "--oracle", "127.0.0.1:99999"], "must be HOST:PORT"),
        (["--role", "chief", "--oracle", "192.0.2.1:5454"], "is not an address of this machine"),
        (["--oracle", "127.0.0.1:5454"], "but no role: add --role chief, or --role worker"),
    ],
)
def test_a_wrong_role_is_told_before_keras_is_loaded(
    options: list[str], message: str, tmp_path: Path, capsys: Any, monkeypatch: Any
):
    def load() -> None:
        raise AssertionError("Keras is loaded first")

    monkeypatch.setattr("audenoise.cli_tuning.load_keras", load)
    out = str(tmp_path / "x")
    assert main(["tune", str(tmp_path), "--space", "network", "--out", out, *options]) == 1
    assert message in capsys.readouterr().err


# --- chief and workers --------------------------------------------------------------------------------------


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KERASTUNER")}
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    return {**kept, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", **changes}


def start(out: Path, **options: Any) -> subprocess.Popen:
    """A process of a search; the NumPy backend starts fastest, and nothing is trained."""
    return subprocess.Popen(
        [sys.executable, HERE / "search_fakes.py", out, json.dumps(options)],
        env=environment(KERAS_BACKEND="numpy"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for(condition: Any, seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listeners(port: int) -> set[str]:
    """IPv4 addresses that are listened on at a port, as Linux writes them; gRPC wraps them into IPv6."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, number = line.split()[1].split(":")
            if int(number, 16) == port and line.split()[3] == "0A":
                found.add(address.removeprefix("0000000000000000FFFF0000"))
    return found


def test_a_killed_workers_trial_is_given_to_another(tmp_path: Path):
    out, address = tmp_path / "s", f"127.0.0.1:{free_port()}"
    common = {"trials": 8, "seconds": 0.5}
    role = {"address": address, "lost_after_s": 6.0, "wait_s": 300.0}
    chief = start(out, role={**role, "kind": "chief"}, **common)
    workers = {name: start(out, role={**role, "kind": "worker", "name": name}, **common) for name in "ab"}

    def begun_by(name: str) -> list[Path]:
        return [path for path in out.glob("trials/*/starts") if name in path.read_text()]

    wait_for(lambda: begun_by("a") and begun_by("b"))
    if sys.platform == "linux":
        assert listeners(int(address.partition(":")[2])) == {"0100007F"}

    def latest() -> Path:
        return max(begun_by("a"), key=lambda path: path.stat().st_mtime)

    def stopped_in_the_middle() -> bool:
        workers["a"].send_signal(signal.SIGSTOP)
        if len(begun_by("a")) >= 2 and not latest().with_name("result.json").exists():
            return True
        workers["a"].send_signal(signal.SIGCONT)
        return False

    wait_for(stopped_in_the_middle)
    lost = latest()
    workers["a"].kill()
    said = {
        name: process.communicate(timeout=300)[0] for name, process in {**workers, "chief": chief}.items()
    }
    assert chief.returncode == workers["b"].returncode == 0, said
    found = read_report(out)
    assert len(found.trials) == 8
    assert all(trial.status != "running" for trial in found.trials)
    assert lost.read_text().split() == ["a", "b"]
    assert f"worker a is silent: trial {lost.parent.name} is given out again" in said["chief"]
    starts = Counter(len(path.read_text().split()) for path in out.glob("trials/*/starts"))
    assert starts == {1: 7, 2: 1}, said
    assert {trial.worker for trial in found.trials} == {"a", "b"}
    assert (out / "report/best.yaml").exists()


def test_a_chief_that_is_killed_and_comes_back_loses_nothing(tmp_path: Path):
    out, address = tmp_path / "s", f"127.0.0.1:{free_port()}"
    common = {"trials": 6, "seconds": 0.6}
    role = {"address": address, "lost_after_s": 60.0, "wait_s": 300.0}
    chief = start(out, role={**role, "kind": "chief"}, **common)
    worker = start(out, role={**role, "kind": "worker", "name": "a"}, **common)
    wait_for(lambda: len(list(out.glob("trials/*/starts"))) >= 2)
    chief.kill()
    chief.wait()
    again = start(out, role={**role, "kind": "chief"}, **common)
    assert worker.wait(300) == 0, worker.communicate()[0]
    assert again.wait(300) == 0, again.communicate()[0]
    assert [trial.status for trial in read_report(out).trials].count("running") == 0
    # The worker has kept its trial over the restart.
    assert [len(path.read_text().split()) for path in out.glob("trials/*/starts")] == [1] * 6


def served(tmp_path: Path, **changes: Any) -> tuple[Any, Any]:
    """An oracle and its servicer, as a chief has them."""
    settings = settings_of(**changes)
    oracle = make_oracle(settings, SearchFolder(tmp_path / "chief"), json.dumps(settings.identity("none")))
    return oracle, ChiefServicer(oracle)


def test_a_worker_that_was_given_up_can_not_end_its_trial(tmp_path: Path):
    oracle, _ = served(tmp_path)
    first = oracle.create_trial("a")
    assert oracle.give_back("a") == first.trial_id
    assert oracle.create_trial("b").trial_id == first.trial_id
    assert oracle.owner(first.trial_id) == "b"
    assert not oracle.adopt("a", first.trial_id)
    oracle.update_trial(first.trial_id, {"score": 1.0})
    ended = oracle.get_trial(first.trial_id)
    ended.status = "COMPLETED"
    oracle.end_trial(ended)
    oracle.end_trial(ended)  # a second report of the same
    assert oracle.end_order == [first.trial_id]


def test_whoever_waits_takes_over_what_the_last_worker_leaves(tmp_path: Path):
    oracle, _ = served(tmp_path, trials=1)
    trial = oracle.create_trial("a")
    assert oracle.create_trial("b").status == "IDLE"  # not STOPPED: a may be lost yet
    oracle.give_back("a")
    assert oracle.create_trial("b").trial_id == trial.trial_id


def test_a_worker_without_its_chief_stops_with_one_line(tmp_path: Path):
    role = Role("worker", Address("127.0.0.1", free_port()), "a", wait_s=0.5)
    with pytest.raises(AudenoiseError, match=r"no chief answers within 0\.5 s; start it"):
        search(settings_of(), no_data(), tmp_path / "s", role=role)
    assert not (tmp_path / "s/search.json").exists()


def test_a_worker_of_another_search_or_version_stops_with_one_line(tmp_path: Path):
    from concurrent import futures

    import grpc
    from keras_tuner.src import protos

    oracle, servicer = served(tmp_path)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    address = Address("127.0.0.1", server.add_insecure_port("127.0.0.1:0"))
    server.start()
    try:
        client = WorkerOracle(oracle, address, worker="a", patience_s=1.0)
        identity = settings_of().identity("none")
        client.connect(identity, 10)
        for key, value in (("audenoise", "0.0.1"), ("keras-tuner", "1.0"), ("data", "other"), ("--out", "x")):
            with pytest.raises(
                AudenoiseError, match=f"the chief has another {key} than this worker .*{value}"
            ):
                client.connect({**identity, key: value}, 10)
        for changes in ({"seed": 5}, {"objective": Objective.parse(["estoi"])}):
            with pytest.raises(AudenoiseError, match="the chief has another --"):
                search(settings_of(**changes), no_data(), tmp_path / "s", role=Role("worker", address, "b"))
        with pytest.raises(AudenoiseError, match="--out must be the chief's folder"):
            search(settings_of(), no_data(), tmp_path / "elsewhere", role=Role("worker", address, "b"))
    finally:
        server.stop(0).wait()
    with pytest.raises(Exception, match="the chief no longer answers; start it again with the same command"):
        client.get_space()
    client.close()


def test_what_is_no_chief_is_named(tmp_path: Path):
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        role = Role("worker", Address("127.0.0.1", server.server_port), "a", wait_s=1.0)
        with pytest.raises(AudenoiseError, match=r"no chief answers|is no chief of audenoise tune"):
            search(settings_of(), no_data(), tmp_path, role=role)
        with pytest.raises(AudenoiseError, match="the port is in use; choose another"):
            search(settings_of(), no_data(), tmp_path, role=Role("chief", role.address))
        server.shutdown()


def test_roles_come_from_options_or_from_the_environment(monkeypatch: Any):
    variables = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")

    def role(kind: str | None, address: str | None, *values: str) -> Role:
        for name, value in zip(variables, [*values, "", "", ""], strict=False):
            monkeypatch.setenv(name, value)
        return find_role(kind, address)

    assert role(None, None) == Role()
    assert role("chief", None).address == Address("127.0.0.1", 5454)
    assert role("chief", "10.0.0.1:99").address == Address("10.0.0.1", 99)
    names = {role("worker", None).name for _ in range(5)}
    assert len(names) == 5
    assert role(None, None, "chief", "10.0.0.2", "70") == Role("chief", Address("10.0.0.2", 70))
    assert role(None, None, "w3", "::1", "70") == Role("worker", Address("::1", 70), "w3")
    assert role("worker", "h:5", "w3", "10.0.0.2", "70").address == Address("h", 5)
    for given, message in (
        (("worker", None, "chief", "10.0.0.2", "70"), "contradict each other"),
        ((None, None, "w3", "10.0.0.2"), "KERASTUNER_ORACLE_PORT is not"),
        ((None, None, "w3", "", "70"), "KERASTUNER_ORACLE_IP is not"),
        (
            (None, None, "chief", "10.0.0.2", "x"),
            "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT 10.0.0.2:x",
        ),
        ((None, "h:5"), "but no role: add --role chief, or --role worker"),
        ((None, None, "", "10.0.0.2", "70"), "but no role"),
    ):
        with pytest.raises(AudenoiseError, match=message):
            role(*given)  # pyright: ignore

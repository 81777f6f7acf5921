"""Listening tests: loudness against the standards' own cases, pages, answers, scores."""

import base64
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from recordings import hiss, voice

from audenoise.cli import main
from audenoise.errors import AudenoiseError, DataError
from audenoise.listening import (
    ANCHOR,
    common_names,
    loudness_lufs,
    make_trial,
    read_answers,
    read_conditions,
    score_answers,
    table,
)
from audenoise.listening.levels import k_weighting
from audenoise.listening.stimuli import low_passed

RATE = 16000


def sine(level_db: float, seconds: float, rate: int = 48000, channels: int = 2) -> np.ndarray:
    wave = 10 ** (level_db / 20) * np.sin(2 * np.pi * 1000 * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, np.newaxis], channels, axis=1)


def test_k_weighting_is_the_table_of_bs_1770_at_48_khz() -> None:
    shelf, high_pass = k_weighting(48000)
    assert shelf[0] == pytest.approx([1.53512485958697, -2.69169618940638, 1.19839281085285], abs=1e-8)
    assert shelf[1] == pytest.approx([1.0, -1.69065929318241, 0.73248077421585], abs=1e-8)
    assert high_pass[0] == pytest.approx([1.0, -2.0, 1.0])
    assert high_pass[1] == pytest.approx([1.0, -1.99004745483398, 0.99007225036621], abs=1e-8)


@pytest.mark.parametrize(
    ("parts", "lufs"),
    [
        # EBU Tech 3341, test signals 1 to 5: level in dBFS and seconds of a stereo sine of 1 kHz; ±0.1 LU.
        ([(-23, 20)], -23.0),
        ([(-33, 20)], -33.0),
        ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
)
def test_loudness_of_the_test_signals_of_the_ebu(parts: list[tuple[float, float]], lufs: float) -> None:
    audio = np.concatenate([sine(level, seconds) for level, seconds in parts])
    assert loudness_lufs(audio, 48000) == pytest.approx(lufs, abs=0.1)


def test_loudness_at_other_rates_of_short_and_of_silent_recordings() -> None:
    for rate in (8000, 16000, 44100, 96000):
        assert loudness_lufs(sine(-23, 3, rate), rate) == pytest.approx(-23.0, abs=0.15)
    assert loudness_lufs(sine(-23, 0.2), 48000) == pytest.approx(-23.0, abs=0.3)
    assert loudness_lufs(np.zeros(48000), 48000) == -math.inf


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Three conditions of two recordings, of other levels, rates and formats."""
    made = {name: tmp_path / name for name in ("noisy", "model", "clean")}
    for folder in made.values():
        folder.mkdir()
    for number in range(2):
        clean = voice(4.0, RATE, seed=number)
        clean[: 2 * RATE] *= 0.05
        soundfile.write(made["clean"] / f"talk {number}.wav", clean, RATE)
        soundfile.write(made["noisy"] / f"talk {number}.flac", 0.3 * clean + hiss(4.0, RATE, seed=9), RATE)
        soundfile.write(made["model"] / f"talk {number}.wav", np.repeat(0.9 * clean, 3), 3 * RATE)
    return made


def test_a_trial_is_one_moment_equally_loud_in_all_conditions(folders: dict[str, Path]) -> None:
    conditions = read_conditions([str(folder) for folder in folders.values()])
    assert common_names(conditions, most=5, seed=0) == ["talk 0", "talk 1"]
    trial = make_trial("talk 0", conditions, seconds=1.5, reference="clean", anchor_hz=2000)
    assert trial.sample_rate == 3 * RATE
    assert set(trial.stimuli) == {"noisy", "model", "clean", ANCHOR}
    assert {audio.shape for audio in trial.stimuli.values()} == {(round(1.5 * 3 * RATE), 1)}
    assert trial.start_s >= 2.0  # the first half is soft
    for audio in trial.stimuli.values():
        assert loudness_lufs(audio, trial.sample_rate) == pytest.approx(trial.loudness_lufs, abs=0.01)
        assert np.abs(audio).max() <= 10 ** (-1 / 20) + 1e-6


def test_the_anchor_is_the_reference_without_its_highs_and_without_delay() -> None:
    low, high = (np.sin(2 * np.pi * f * np.arange(RATE) / RATE)[:, np.newaxis] for f in (500, 5000))
    middle = slice(1000, -1000)
    assert low_passed(low, RATE, 2000)[middle] == pytest.approx(low[middle], abs=0.01)
    assert np.abs(low_passed(high, RATE, 2000)[middle]).max() < 0.01
    with pytest.raises(DataError, match="must be below half"):
        low_passed(low, RATE, 8000)


def test_what_is_no_listening_test_is_said(folders: dict[str, Path], tmp_path: Path) -> None:
    clean, noisy = str(folders["clean"]), str(folders["noisy"])
    with pytest.raises(DataError, match="no such folder"):
        read_conditions([str(tmp_path / "absent")])
    with pytest.raises(DataError, match="there is a condition clean already"):
        read_conditions([clean, f"clean={noisy}"])
    with pytest.raises(DataError, match="can't be called"):
        read_conditions([f"anchor={clean}"])
    (tmp_path / "other").mkdir()
    soundfile.write(tmp_path / "other" / "else.wav", voice(1.0, RATE, seed=0), RATE)
    soundfile.write(tmp_path / "other" / "z.wav", voice(1.0, RATE, seed=0), RATE)
    with pytest.raises(DataError, match="no recording has the same name"):
        common_names(read_conditions([clean, str(tmp_path / "other")]), most=5, seed=0)
    soundfile.write(folders["noisy"] / "talk 0.flac", voice(2.0, RATE, seed=0), RATE)
    soundfile.write(folders["noisy"] / "talk 1.flac", np.zeros(4 * RATE), RATE)
    conditions = read_conditions([clean, noisy])
    with pytest.raises(DataError, match=r"talk 0: is 4\.00 s long in clean and 2\.00 s in noisy"):
        make_trial("talk 0", conditions, seconds=1.0)
    with pytest.raises(DataError, match="talk 1: is silent in noisy"):
        make_trial("talk 1", conditions, seconds=1.0)


def embedded(page: Path) -> dict[str, Any]:
    found = re.search(r'type="application/octet-stream">([^<]+)<', page.read_text(encoding="utf-8"))
    assert found
    return json.loads(base64.b64decode(found[1]))


def test_the_command_makes_a_page_that_is_blind_and_whole(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "test.html"
    command = ["listen", *(str(folder) for folder in folders.values()), "-o", str(page), "--seconds", "1"]
    assert main(command) == 1
    says = "a MUSHRA test needs --reference: one of noisy, model, clean; --kind abx needs none"
    assert says in capsys.readouterr().err
    title = "A <b>test</b> {{data}}"
    assert main([*command, "--reference", "clean", "--title", title]) == 0
    text = page.read_text(encoding="utf-8")
    assert "&lt;b&gt;test&lt;/b&gt; {{data}}</h1>" in text
    assert not re.findall(r"https?://|\bsrc=|<link", text)
    assert not [name for name in ("noisy", "model", "talk 0") if re.search(rf"\b{name}\b", text)]
    test = embedded(page)
    assert test["conditions"] == ["noisy", "model", "clean", ANCHOR]
    assert [trial["name"] for trial in test["trials"]] == ["talk 0", "talk 1"]
    assert base64.b64decode(test["trials"][0]["stimuli"][ANCHOR]).startswith(b"fLaC")
    assert main([*command, "--reference", "clean"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main([*command, "--kind", "abx", "--overwrite", "--recordings", "1"]) == 0
    assert [len(embedded(page)[key]) for key in ("conditions", "trials")] == [3, 1]


def mushra(folder: Path, scores: list[dict[str, float]], listener: str = "") -> Path:
    path = folder / f"{listener}-{len(list(folder.iterdir()))}.json"
    trials = [{"name": f"talk {i}", "scores": each} for i, each in enumerate(scores)]
    data = {"format_version": 1, "test": "t", "kind": "mushra", "reference": "clean", "listener": listener}
    path.write_text(json.dumps({**data, "conditions": ["noisy", "model", "clean"], "trials": trials}))
    return path


def abx(folder: Path, right: int, wrong: int) -> Path:
    path = folder / f"abx-{right}-{wrong}.json"
    question = {"a": "model", "b": "noisy", "x": "noisy"}
    trials = [{"name": f"talk {i}", **question, "chosen": "noisy"} for i in range(right)]
    trials += [{"name": f"talk {i}", **question, "chosen": "model"} for i in range(wrong)]
    data = {"format_version": 1, "test": "t", "kind": "abx", "reference": None}
    path.write_text(json.dumps({**data, "conditions": ["noisy", "model"], "trials": trials}))
    return path


def test_scores_of_listeners_have_students_interval(tmp_path: Path) -> None:
    paths = [
        mushra(
            tmp_path,
            [{"noisy": low, "model": 60, "clean": 100}, {"noisy": low + 10, "model": 70, "clean": 95}],
        )
        for low in (10, 20, 30)
    ]
    result = score_answers(read_answers(paths))
    assert [each.name for each in result.conditions] == ["clean", "model", "noisy"]
    noisy = result.conditions[2]
    # Means 15, 25, 35: t(0.975, 2) = 4.302653, s = 10.
    assert noisy.mean == 25.0
    assert (noisy.low, noisy.high) == pytest.approx((25 - 24.841, 25 + 24.841), abs=1e-3)
    assert result.unit == "listeners"
    single = score_answers(read_answers(paths[:1]))
    assert (single.unit, single.conditions[2].n_units) == ("recordings", 2)
    assert "say nothing about other people" in table(single)


def test_who_misses_the_hidden_reference_is_left_out(tmp_path: Path) -> None:
    good = mushra(tmp_path, [{"noisy": 10, "model": 50, "clean": 100}] * 3, "ann")
    bad = mushra(tmp_path, [{"noisy": 80, "model": 90, "clean": 20}] * 3, "bob")
    result = score_answers(read_answers([good, bad]))
    assert result.left_out == ("bob: rated the hidden reference below 90 in 100% of the trials",)
    assert result.conditions[0].mean == 100.0
    assert score_answers(read_answers([good, bad]), keep_all=True).n_listeners == 2
    with pytest.raises(DataError, match="no listener is left"):
        score_answers(read_answers([bad]))


def test_right_answers_have_the_binomial_interval(tmp_path: Path) -> None:
    (pair,) = score_answers(read_answers([abx(tmp_path, 9, 1)])).pairs
    assert pair.pair == ("noisy", "model")
    assert (pair.correct, pair.total) == (9, 10)
    assert pair.p_value == pytest.approx(11 / 1024)
    # Clopper and Pearson's for 9 of 10.
    assert (pair.low, pair.high) == pytest.approx((0.55498, 0.99747), abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "another version"),
        ({"kind": "quiz"}, "the kind or the conditions are wrong"),
        ({"reference": "x"}, "the reference is none of the conditions"),
        ({"trials": []}, "no question was answered"),
        ({"trials": [{"name": "a", "scores": {"noisy": 1}}]}, "not every condition is rated"),
        ({"trials": [{"name": "a", "scores": {"noisy": 1, "model": 101, "clean": 3}}]}, "from 0 to 100"),
        ({"trials": [{"name": "a", "scores": {"noisy": 1, "model": True, "clean": 3}}]}, "from 0 to 100"),
        ({"trials": 5}, "holds no answers"),
    ],
)
def test_damaged_answers_are_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = mushra(tmp_path, [{"noisy": 10, "model": 50, "clean": 100}])
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message) as error:
        read_answers([path])
    assert str(error.value).startswith(f"{path}: ")


def test_answers_of_two_tests_or_twice_the_same_are_refused(tmp_path: Path) -> None:
    path = mushra(tmp_path, [{"noisy": 10, "model": 50, "clean": 100}])
    other = mushra(tmp_path, [{"noisy": 11, "model": 50, "clean": 100}])
    with pytest.raises(DataError, match="the same answers"):
        read_answers([path, path])
    other.write_text(json.dumps(json.loads(other.read_text()) | {"test": "u"}))
    with pytest.raises(DataError, match="belongs to another test"):
        read_answers([path, other])
    (tmp_path / "junk.json").write_bytes(b"[" * 100_000)
    with pytest.raises(AudenoiseError, match="holds no answers"):
        read_answers([tmp_path / "junk.json"])


@pytest.mark.parametrize("kind", ["mushra", "abx"])
def test_the_command_scores_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    if kind == "abx":
        paths = [abx(tmp_path, 7, 3)]
    else:
        paths = [mushra(tmp_path, [{"noisy": low, "model": 60, "clean": 99}]) for low in (20, 30)]
    plot, scores = tmp_path / "plot.png", tmp_path / "scores.json"
    command = ["listen", "score", *map(str, paths), "--plot", str(plot), "--json", str(scores)]
    assert main(command) == 0
    assert {"mushra": "model", "abx": "7 of 10 right,  70%"}[kind] in capsys.readouterr().out
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert json.loads(scores.read_text())["kind"] == kind
    assert main(command) == 1
    assert "exists already" in capsys.readouterr().err

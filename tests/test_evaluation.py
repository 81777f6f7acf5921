"""Evaluation against scores computed directly, on pairs whose answers are known."""

import csv
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from model_folders import gain_enhancer, gain_model
from recordings import hiss, voice
from scipy import stats

from audenoise import metrics
from audenoise.audio import resample
from audenoise.cli import main
from audenoise.denoiser import Denoiser
from audenoise.errors import AudenoiseError, DataError
from audenoise.evaluation import (
    Evaluation,
    Pair,
    PairInfo,
    SystemScores,
    apply_labels,
    console_report,
    evaluate,
    file_rows,
    find_pairs,
    folder_system,
    markdown_report,
    model_system,
    named_systems,
    paired_folders,
    pictures,
    planning,
    read_labels,
    scoring,
)
from audenoise.evaluation.results import student_interval

RATE = 16_000
PLAIN = ("si_sdr_db", "snr_gain_db", "lsd")  # these need no package
GAINS = {"a": 0.3, "b": 1.0, "sub/c": 3.0}


def write(path: Path, audio: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, audio, rate, subtype="FLOAT" if path.suffix == ".wav" else None)


def recording(number: int, gain: float, seconds: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    clean = 0.5 * voice(seconds, RATE, seed=number)
    return clean + gain * hiss(seconds, RATE, seed=number + 100), clean


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three pairs of different SNR; the clean twin of b is a flac file."""
    for number, (stem, gain) in enumerate(GAINS.items()):
        noisy, clean = recording(number, gain)
        write(tmp_path / f"noisy/{stem}.wav", noisy)
        write(tmp_path / f"clean/{stem}.{'flac' if stem == 'b' else 'wav'}", clean)
    return tmp_path / "noisy", tmp_path / "clean"


def read(path: Path) -> np.ndarray:
    return sf.read(path, dtype="float32")[0]


def scores_of(result: Evaluation, system: str, metric: str) -> dict[str, float]:
    return {name: scores[metric] for name, scores in result.system(system).scores.items()}


def test_scores_are_those_of_the_metrics(folders):
    noisy, clean = folders
    pairs, left = find_pairs(noisy, clean)
    result = evaluate(pairs, named_systems(["wiener"]), metrics=PLAIN)
    assert left == []
    assert [pair.name for pair in result.pairs] == ["a.wav", "b.wav", "sub/c.wav"]
    assert [system.name for system in result.systems] == ["noisy", "wiener"]
    from audenoise.baselines import wiener_filter

    for stem in GAINS:
        before = read(noisy / f"{stem}.wav")
        reference = read(clean / (f"{stem}.flac" if stem == "b" else f"{stem}.wav"))
        for system, estimate in (("noisy", before), ("wiener", wiener_filter(before, RATE))):
            found = result.system(system).scores[f"{stem}.wav"]
            assert found["si_sdr_db"] == pytest.approx(metrics.si_sdr_db(reference, estimate), abs=1e-6)
            assert found["lsd"] == pytest.approx(metrics.log_spectral_distance(reference, estimate), abs=1e-6)
            gain = metrics.snr_db(reference, estimate) - metrics.snr_db(reference, before)
            assert found["snr_gain_db"] == pytest.approx(gain, abs=1e-6)
        info = next(info for info in result.pairs if info.name == f"{stem}.wav")
        assert info.measured_snr_db == pytest.approx(metrics.snr_db(reference, before), abs=1e-6)
        assert info.duration_s == pytest.approx(1.5)


def test_a_folder_is_not_taken_for_the_bundled_model_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gain_model(tmp_path / "standard", 0.25)
    monkeypatch.chdir(tmp_path)
    source = model_system("./standard").source
    assert source is not None
    audio = hiss(0.5, 16000, seed=0)
    denoised = Denoiser.from_preset(source).denoise(audio, 16000)
    np.testing.assert_allclose(denoised, 0.25 * audio, atol=1e-5)


def test_a_model_is_scored_and_its_level_matters_to_snr_only(folders, tmp_path):
    pairs, _ = find_pairs(*folders)
    gain_model(tmp_path / "half", 0.5)
    result = evaluate(pairs, [model_system(tmp_path / "half")], metrics=("si_sdr_db", "snr_db"))
    assert scores_of(result, "audenoise half", "si_sdr_db") == pytest.approx(
        scores_of(result, "noisy", "si_sdr_db"), abs=1e-2
    )
    for name, snr_db in scores_of(result, "audenoise half", "snr_db").items():
        clean = read(find_by_stem(folders[1], name))
        noisy = read(folders[0] / name)
        assert snr_db == pytest.approx(metrics.snr_db(clean, 0.5 * noisy), abs=1e-2)


def find_by_stem(folder: Path, name: str) -> Path:
    return next(folder.rglob(f"{Path(name).stem}.*"))


def test_the_result_does_not_depend_on_the_number_of_processes(folders):
    pairs, _ = find_pairs(*folders)
    one, two = (
        evaluate(pairs, named_systems(["spectral-subtraction"]), metrics=PLAIN, jobs=jobs).to_dict()
        for jobs in (1, 2)
    )
    assert one == two


def test_scores_do_not_depend_on_the_threads_of_blas():
    program = (
        "import numpy as np; from audenoise import metrics;"
        "clean, noise = np.random.default_rng(0).standard_normal((2, 100_000));"
        "print(repr(metrics.si_sdr_db(clean, clean + noise)), repr(metrics.snr_db(clean, clean + noise)))"
    )
    one, two = (
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    )
    assert one == two


@pytest.mark.parametrize("delay", [112, -48])
def test_a_constant_delay_is_found_removed_and_reported(folders, tmp_path, delay):
    for stem in GAINS:
        shifted = metrics.remove_delay(read(folders[0] / f"{stem}.wav"), -delay)
        write(tmp_path / f"late/{stem}.wav", shifted)
    pairs, _ = find_pairs(*folders)
    result = evaluate(pairs, [folder_system("late", tmp_path / "late")], metrics=("lsd", "si_sdr_db"))
    late = result.system("late")
    assert late.delay_s == pytest.approx(delay / RATE)
    assert late.delays_s == pytest.approx(dict.fromkeys(late.scores, delay / RATE))
    # All but the samples that were pushed out.
    assert scores_of(result, "late", "si_sdr_db") == pytest.approx(
        scores_of(result, "noisy", "si_sdr_db"), abs=0.5
    )
    assert result.to_dict()["systems"][1]["delay_ms"] == pytest.approx(1000 * delay / RATE)


def test_files_that_are_missing_say_nothing_about_the_delay(folders, tmp_path):
    for stem in list(GAINS)[:1]:
        clean = read(find_by_stem(folders[1], stem))
        write(tmp_path / f"out/{stem}.wav", metrics.remove_delay(clean, -80))
    pairs, _ = find_pairs(*folders)
    result = evaluate(pairs, [folder_system("late", tmp_path / "out")], metrics=["si_sdr_db"])
    late = result.system("late")
    assert len(late.failures) == len(pairs) - 1 >= 2
    assert late.delay_s == pytest.approx(80 / RATE)
    assert list(late.delays_s) == list(late.scores)
    assert min(scores["si_sdr_db"] for scores in late.scores.values()) > 10
    assert not any("another delay" in note for note in result.notes)


def test_a_file_with_another_delay_is_scored_with_the_constant_one_and_named(folders, tmp_path):
    for stem in GAINS:
        clean = read(find_by_stem(folders[1], stem))
        write(tmp_path / f"out/{stem}.wav", metrics.remove_delay(clean, -400 if stem == "b" else -80))
    pairs, _ = find_pairs(*folders)
    result = evaluate(pairs, [folder_system("other", tmp_path / "out")], metrics=["lsd"])
    other = result.system("other")
    assert other.delay_s == pytest.approx(80 / RATE)
    assert other.delays_s["b.wav"] == pytest.approx(400 / RATE)
    assert other.scores["a.wav"]["lsd"] < 0.5 < other.scores["b.wav"]["lsd"]
    assert any(
        "1 files seem to have another delay than the 5 ms" in note and "b.wav" in note
        for note in result.notes
    )


def test_a_perfect_output_has_no_infinite_mean(folders):
    pairs, _ = find_pairs(*folders)
    result = evaluate(pairs, [folder_system("oracle", folders[1])], metrics=("si_sdr_db", "lsd"))
    oracle = result.system("oracle")
    assert oracle.interval("lsd").mean == pytest.approx(0.0, abs=1e-3)
    assert not oracle.values("si_sdr_db") or all(map(math.isfinite, oracle.values("si_sdr_db")))
    assert "si_sdr_db: is inf" in oracle.failures["a.wav"]
    json.dumps(result.to_dict(), allow_nan=False)


def test_outputs_may_be_short_missing_or_silent_and_that_is_told(folders, tmp_path):
    write(tmp_path / "out/a.wav", read(folders[0] / "a.wav")[:-800])
    write(tmp_path / "out/sub/c.wav", np.zeros(RATE))
    pairs, _ = find_pairs(*folders)
    system = folder_system("out", tmp_path / "out")
    result = evaluate(pairs, [system], metrics=["si_sdr_db"])
    out = result.system("out")
    assert list(out.scores) == ["a.wav"]
    assert "has no file for this pair" in out.failures["b.wav"]
    assert "silent" in out.failures["sub/c.wav"]
    assert any(
        "2 outputs are shorter than the clean recording, by up to 500.0 ms" in note for note in result.notes
    )
    clean, noisy = read(folders[1] / "a.wav"), read(folders[0] / "a.wav")
    cut = np.concatenate([noisy[:-800], np.zeros(800, np.float32)])
    assert out.scores["a.wav"]["si_sdr_db"] == pytest.approx(metrics.si_sdr_db(clean, cut), abs=1e-6)
    with pytest.raises(DataError, match=r"b\.wav, out: .*no file.*strict"):
        evaluate(pairs, [system], metrics=["lsd"], strict=True)


def test_unusable_recordings_are_named_and_an_error_with_strict(folders, tmp_path):
    noisy, clean = folders
    write(noisy / "alone.wav", hiss(1, RATE, seed=1))
    write(clean / "lonely.wav", hiss(1, RATE, seed=1))
    write(noisy / "long.wav", hiss(2, RATE, seed=1))
    write(clean / "long.wav", hiss(1, RATE, seed=1))
    write(noisy / "mute.wav", hiss(1, RATE, seed=1))
    write(clean / "mute.wav", np.zeros(RATE))
    (noisy / "torn.wav").write_bytes((noisy / "a.wav").read_bytes()[:2000])
    write(clean / "torn.wav", hiss(1, RATE, seed=1))
    write(noisy / "a.flac", hiss(1, RATE, seed=1))
    pairs, left = find_pairs(noisy, clean)
    result = evaluate(pairs, [], metrics=["si_sdr_db"], left=left)
    reasons = dict(result.left)
    assert [pair.name for pair in result.pairs if pair.name != "a.flac"] == ["b.wav", "sub/c.wav"]
    assert "no twin" in reasons[str(noisy / "alone.wav")]
    assert "no twin" in reasons[str(clean / "lonely.wav")]
    assert "2.00 s and clean 1.00 s" in reasons["long.wav"]
    assert "silent" in reasons["mute.wav"]
    assert "torn.wav" in reasons["torn.wav"]
    assert "but for the suffix" in reasons[str(noisy / "a.wav")]
    assert "torn.wav" in markdown_report(result)
    assert "torn.wav" in file_rows(result)
    with pytest.raises(DataError, match="strict; 6 left out in all"):
        evaluate(pairs, [], metrics=["si_sdr_db"], left=left, strict=True)
    torn = [pair for pair in pairs if pair.name in ("mute.wav", "a.wav")]
    with pytest.raises(DataError, match=r"mute\.wav: .*silent \(strict\)"):
        evaluate(torn, [], metrics=["si_sdr_db"], strict=True)


def test_the_clean_side_may_lie_inside_the_noisy_one(folders):
    noisy, clean = folders
    clean.rename(noisy / "clean")
    pairs, left = find_pairs(noisy, noisy / "clean")
    assert [pair.name for pair in pairs] == ["a.wav", "b.wav", "sub/c.wav"]
    assert left == []


def test_nothing_to_score_is_an_error(folders, tmp_path):
    noisy, clean = folders
    write(tmp_path / "x/a.wav", np.zeros(RATE))
    write(tmp_path / "y/a.wav", hiss(1, RATE, seed=1))
    pairs, _ = find_pairs(tmp_path / "y", tmp_path / "x")
    with pytest.raises(DataError, match=r"no pair can be scored: a\.wav: the clean recording is silent"):
        evaluate(pairs, [], metrics=["lsd"])
    with pytest.raises(DataError, match="noisy and as clean"):
        find_pairs(noisy, noisy)
    with pytest.raises(DataError, match="is a file and"):
        find_pairs(noisy / "a.wav", clean)
    write(tmp_path / "z/other.wav", hiss(1, RATE, seed=1))
    with pytest.raises(DataError, match="no file of one has the name"):
        find_pairs(noisy, tmp_path / "z")
    with pytest.raises(DataError, match="names two systems"):
        evaluate(pairs, [*named_systems(["wiener"]), *named_systems(["wiener"])], metrics=["lsd"])


def test_rates_and_channels_may_differ(tmp_path):
    noisy, clean = recording(0, 0.5)
    write(tmp_path / "noisy/rate.wav", resample(noisy, RATE, 48_000), 48_000)
    write(tmp_path / "clean/rate.wav", clean)
    write(tmp_path / "noisy/mono.wav", np.stack([noisy, clean], axis=1))
    write(tmp_path / "clean/mono.wav", clean)
    write(tmp_path / "noisy/stereo.wav", np.stack([noisy, 0.5 * clean + 0.5 * noisy], axis=1))
    write(tmp_path / "clean/stereo.wav", np.stack([clean, clean], axis=1))
    pairs, _ = find_pairs(tmp_path / "noisy", tmp_path / "clean")
    result = evaluate(pairs, [], metrics=["si_sdr_db"])
    found = scores_of(result, "noisy", "si_sdr_db")
    assert found["mono.wav"] == pytest.approx(metrics.si_sdr_db(clean, 0.5 * (noisy + clean)), abs=1e-4)
    channels = [metrics.si_sdr_db(clean, each) for each in (noisy, 0.5 * clean + 0.5 * noisy)]
    assert found["stereo.wav"] == pytest.approx(np.mean(channels), abs=1e-4)
    back = resample(resample(noisy, RATE, 48_000), 48_000, RATE)
    assert found["rate.wav"] == pytest.approx(metrics.si_sdr_db(clean, back), abs=1e-3)
    assert any("1 noisy recordings have another rate" in note for note in result.notes)


def test_long_recordings_are_scored_in_parts(tmp_path, monkeypatch):
    noisy, clean = recording(0, 0.5, seconds=3.0)
    clean[:RATE] = 0  # the first part has nothing to compare with
    write(tmp_path / "noisy/long.wav", noisy)
    write(tmp_path / "clean/long.wav", clean)
    monkeypatch.setattr(planning, "PART_S", 1.0)
    pairs, _ = find_pairs(tmp_path / "noisy", tmp_path / "clean")
    result = evaluate(pairs, [], metrics=["si_sdr_db"])
    parts = [
        metrics.si_sdr_db(clean[start : start + RATE], noisy[start : start + RATE])
        for start in (RATE, 2 * RATE)
    ]
    assert result.noisy.scores["long.wav"]["si_sdr_db"] == pytest.approx(np.mean(parts), abs=1e-6)
    assert any("1 recordings are longer than" in note for note in result.notes)
    assert any("1 parts of long recordings were left out: the clean" in note for note in result.notes)


def test_intelligibility_of_long_recordings_is_a_mean_over_stretches(monkeypatch):
    pytest.importorskip("pystoi")
    monkeypatch.setattr(scoring, "SEGMENT_S", 1.5)
    noisy, clean = recording(0, 1.0, seconds=4.0)
    found = scoring._mean_scores("estoi", clean[:, np.newaxis], noisy[:, np.newaxis], RATE)
    bounds = [0, 21_333, 42_666, 64_000]
    expected = [metrics.estoi(clean[a:b], noisy[a:b], RATE) for a, b in pairwise(bounds)]
    assert found["estoi"] == pytest.approx(np.mean(expected), abs=1e-9)


def test_intervals_are_student_s_and_gains_are_paired():
    rng = np.random.default_rng(0)
    scores = rng.normal(3, 2, 12)
    interval = student_interval(scores)
    low, high = stats.t.interval(0.95, 11, scores.mean(), stats.sem(scores))
    assert (interval.mean - interval.half_width, interval.mean + interval.half_width) == pytest.approx(
        (low, high)
    )
    assert math.isnan(student_interval(scores[:4]).half_width)
    assert math.isnan(student_interval([]).mean)
    before = SystemScores("noisy", "noisy", 0.0, {str(i): {"lsd": s} for i, s in enumerate(scores)})
    after = SystemScores("x", "x", 0.0, {str(i): {"lsd": s + 1 + 0.01 * i} for i, s in enumerate(scores)})
    gain = after.gain(before, "lsd")
    assert gain.mean == pytest.approx(1 + 0.01 * np.arange(12).mean())
    assert gain.half_width == pytest.approx(student_interval(0.01 * np.arange(12)).half_width)
    assert gain.half_width < interval.half_width / 10


def made_up(snrs: list[float | None], measured: list[float | None], labels: list[str | None]) -> Evaluation:
    infos = tuple(
        PairInfo(str(i), 1.0, label, snr, own)
        for i, (snr, own, label) in enumerate(zip(snrs, measured, labels, strict=True))
    )
    rng = np.random.default_rng(1)
    systems = tuple(
        SystemScores(
            name,
            kind,
            0.0,
            {info.name: {"si_sdr_db": level + rng.normal(), "lsd": 1.0} for info in infos},
            {info.name: 0.0 for info in infos},
        )
        for name, kind, level in (
            ("noisy", "noisy", 0.0),
            ("audenoise x", "model", 6.0),
            ("wiener", "wiener", 2.0),
        )
    )
    return Evaluation(infos, systems, ("si_sdr_db", "lsd"))


def test_bands_are_the_mixed_snrs_or_measured_ones_between_edges():
    mixed = made_up([5, -5, 5, 0], [4.0, -6.0, 5.0, 1.0], ["b", "a", None, "b"])
    assert mixed.by_snr() == {"-5 dB": ["1"], "0 dB": ["3"], "5 dB": ["0", "2"]}
    assert mixed.by_snr([0]) == {"below 0 dB": ["1"], "0 dB and above": ["0", "2", "3"]}
    assert mixed.by_label() == {"a": ["1"], "b": ["0", "3"], "unknown": ["2"]}
    some = made_up([None, 7, None], [-7.0, -7.0, None], [None] * 3)
    assert some.by_snr() == {"below -5 dB": ["0"], "5 to 10 dB": ["1"], "unknown": ["2"]}
    assert some.by_label() == {}
    many = made_up([float(x) for x in range(11)], [0.0] * 11, [None] * 11)
    assert list(many.by_snr()) == ["0 to 5 dB", "5 to 10 dB", "10 to 15 dB"]
    drawn = made_up([2.5, 6.712], [0.0] * 2, [None] * 2)  # not a value that was chosen
    assert drawn.by_snr() == {"0 to 5 dB": ["0"], "5 to 10 dB": ["1"]}


def test_labels_match_by_path_or_by_name(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("name,speaker,noise_kind,noise,snr_db\na.wav,x,hum,f1.ogg,5\nc,x,fan,f2.ogg,\n")
    source = planning.FileSource(Path("none"))
    pairs = [Pair("a.wav", source, source), Pair("sub/c.wav", source, source), Pair("d.wav", source, source)]
    labelled, unknown = apply_labels(pairs, read_labels(table))
    assert [(pair.label, pair.snr_db) for pair in labelled] == [("hum", 5.0), ("fan", None), (None, None)]
    assert unknown == ["d.wav"]
    assert read_labels(table, column="noise")["c"].label == "f2.ogg"
    with pytest.raises(DataError, match="has no column colour"):
        read_labels(table, column="colour")
    table.write_text("file,speaker\na,b\n")
    with pytest.raises(DataError, match="needs snr_db or one of label"):
        read_labels(table)
    table.write_text("who,snr_db\na,b\n")
    with pytest.raises(DataError, match="needs a column name"):
        read_labels(table)


def test_metrics_without_their_package_are_left_out_and_named(folders, monkeypatch):
    monkeypatch.setattr(
        metrics, "_is_installed", lambda package: package not in ("pesq", "speechmos", "pystoi")
    )
    pairs, _ = find_pairs(*folders)
    result = evaluate(pairs, [])
    assert result.metrics == ("si_sdr_db", "snr_gain_db", "lsd")
    assert "no pesq_wb, estoi, stoi, dnsmos: pip install 'audenoise[metrics]'" in result.notes
    with pytest.raises(
        AudenoiseError, match=r"pesq_wb needs the package pesq: pip install 'audenoise\[metrics\]'"
    ):
        evaluate(pairs, [], metrics=["lsd", "pesq_wb"])
    with pytest.raises(DataError, match=r"metrics must be among .* Received: mos"):
        evaluate(pairs, [], metrics=["mos"])


def test_a_system_of_others_is_named_with_what_it_needs(monkeypatch):
    from audenoise.evaluation import systems

    monkeypatch.setattr(systems.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        AudenoiseError, match=r"rnnoise needs the package pyrnnoise: pip install 'audenoise\[benchm"
    ):
        named_systems(["wiener", "rnnoise"])
    with pytest.raises(DataError, match="systems must be among noisy, spectral-subtraction"):
        named_systems(["magic"])


@pytest.mark.parametrize("name", ["noisereduce", "rnnoise", "rnnoise-flushed"])
def test_other_packages_are_run_where_they_are_installed(folders, name):
    package = "noisereduce" if name == "noisereduce" else "pyrnnoise"
    pytest.importorskip(package)
    pairs, _ = find_pairs(*folders)
    result = evaluate(pairs[:1], named_systems([name]), metrics=["lsd"])
    assert result.system(name).failures == {}
    if name != "noisereduce":
        assert result.system(name).delay_s == pytest.approx(0.02, abs=0.001)


def test_an_enhancer_is_refused_at_once(folders, tmp_path, capsys):
    gain_enhancer(tmp_path / "loud", 1.0)
    out = tmp_path / "r.json"
    command = ["evaluate", *map(str, folders), "--model", str(tmp_path / "loud"), "--json", str(out)]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.search(
        r"error: .*loud: is an enhancer's; run `audenoise enhance`.*--denoised \w+=DIR$", printed.err
    )
    assert not out.exists()


def test_the_log_spectral_distance_is_explained_only_where_it_is_shown():
    result = made_up([0.0, 10.0], [0.0, 1.0], ["hum", "fan"])
    without = replace(result, metrics=("si_sdr_db",))
    for write in (console_report, markdown_report):
        assert "LSD is the log-spectral distance" in write(result)
        assert "LSD" not in write(without)


def test_command_writes_all_reports_and_they_agree(folders, tmp_path, capsys):
    table = tmp_path / "labels.csv"
    table.write_text("name,snr_db,label\na,20,hum\nb,10,fan\nsub/c,0,fan\n")
    outputs = [tmp_path / name for name in ("r.json", "r.csv", "r.md")]
    gain_model(tmp_path / "same", 1.0)
    arguments = [
        *("evaluate", *map(str, folders), "--model", str(tmp_path / "same"), "--systems", "wiener"),
        *("--denoised", f"oracle={folders[1]}", "--labels", str(table), "--metrics", "si_sdr_db,lsd"),
        *("--json", str(outputs[0]), "--csv", str(outputs[1]), "--markdown", str(outputs[2])),
        *("--plots", str(tmp_path / "plots"), "--jobs", "1", "--per-file"),
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    content = json.loads(outputs[0].read_text())
    names = ["noisy", "audenoise same", "oracle", "wiener"]
    assert [system["name"] for system in content["systems"]] == names
    wiener = content["systems"][3]
    values = [scores["si_sdr_db"] for scores in wiener["pairs"].values()]
    assert wiener["mean"]["si_sdr_db"] == pytest.approx(np.mean(values))
    assert wiener["by_label"]["hum"]["si_sdr_db"] == wiener["by_snr_db"]["20 dB"]["si_sdr_db"] == values[0]
    assert f"{np.mean(values):.2f}" in printed
    assert f"{values[0]:.2f}" in printed
    assert "oracle" in outputs[2].read_text()
    rows = list(csv.DictReader(outputs[1].open()))
    assert len(rows) == 12
    assert {row["label"] for row in rows} == {"hum", "fan"}
    mine = [float(row["si_sdr_db"]) for row in rows if row["system"] == "wiener"]
    assert mine == pytest.approx(values, rel=1e-5)
    pictures_there = {path.name for path in (tmp_path / "plots").iterdir()}
    assert pictures_there == {
        *("quality_by_snr.png", "spread_by_snr.png", "gain_by_class.png"),
        *("best_audenoise_same.png", "worst_audenoise_same.png"),
    }
    lsd = f"{wiener['mean']['lsd']:.2f}"  # in the unit of the files everywhere
    assert re.search(rf"^wiener .* {lsd}( ±|  )", printed, re.MULTILINE)
    assert re.search(rf"^\| wiener .* {lsd} ", outputs[2].read_text(), re.MULTILINE)
    assert "LSD is the log-spectral distance in units of log10" in printed
    assert Evaluation.read(outputs[0]).to_dict() == content
    from audenoise.publishing import scores_of as published

    assert published(content, "same") == {
        "pairs": 3,
        "mean": content["systems"][1]["mean"],
        "by_snr_db": content["systems"][1]["by_snr_db"],
    }


def test_existing_results_are_refused_before_the_work(folders, tmp_path, capsys):
    (tmp_path / "r.json").write_text("precious")
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots/mine.txt").write_text("precious")
    base = ["evaluate", *map(str, folders), "--systems", "none", "--metrics", "lsd", "--jobs", "1"]
    gain_model(tmp_path / "same", 1.0)
    base += ["--model", str(tmp_path / "same"), "--quiet"]
    assert main([*base, "--json", str(tmp_path / "r.json")]) == 1
    assert "r.json: exists already" in capsys.readouterr().err
    assert main([*base, "--plots", str(tmp_path / "plots")]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert main([*base, "--csv", str(tmp_path / "nowhere/r.csv")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert (tmp_path / "r.json").read_text() == "precious"
    assert main([*base, "--json", str(tmp_path / "r.json"), "--overwrite"]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["metrics"] == ["lsd"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label-column", "x"], "--label-column needs --labels"),
        (["--snr-bands=low,high"], "--snr-bands must be numbers"),
        (["--denoised", "folder"], "--denoised must be NAME=DIR"),
        (["--denoised", "x=/nowhere"], "no such folder"),
        (["--systems", "magic"], "systems must be among"),
        (["--model", "no-such-model"], "no-such-model"),
    ],
)
def test_wrong_command_lines_are_one_line(folders, capsys, arguments, message):
    assert main(["evaluate", *map(str, folders), *arguments]) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_one_folder_with_both_sides_and_single_files(folders, tmp_path, capsys):
    gain_model(tmp_path / "same", 1.0)
    options = ["--model", str(tmp_path / "same"), "--systems", "none", "--metrics", "lsd", "--jobs", "1"]
    assert main(["evaluate", str(folders[0].parent), *options]) == 0
    assert "    3 " in capsys.readouterr().out
    assert main(["evaluate", str(folders[0] / "b.wav"), str(folders[1] / "b.flac"), *options]) == 0
    assert "    1 " in capsys.readouterr().out
    assert main(["evaluate", str(folders[0] / "b.wav"), *options]) == 1
    assert "name its clean recording too" in capsys.readouterr().err
    assert main(["evaluate", str(folders[0]), *options]) == 1
    assert "is no dataset" in capsys.readouterr().err


def test_of_several_pairs_of_folders_the_one_for_testing_is_taken(tmp_path):
    assert paired_folders(tmp_path) is None
    for name in ("noisy_trainset_28spk_wav", "clean_trainset_28spk_wav", "noisy_testset_wav", "noisy"):
        (tmp_path / name).mkdir()
    train = tmp_path / "noisy_trainset_28spk_wav", tmp_path / "clean_trainset_28spk_wav"
    assert paired_folders(tmp_path) == train
    (tmp_path / "clean_testset_wav").mkdir()
    assert paired_folders(tmp_path) == (tmp_path / "noisy_testset_wav", tmp_path / "clean_testset_wav")
    (tmp_path / "clean_testset_wav").rmdir()
    (tmp_path / "Clean").mkdir()
    with pytest.raises(DataError, match="holds noisy, noisy_trainset_28spk_wav; name the noisy and"):
        paired_folders(tmp_path)


def test_voicebank_s_log_gives_classes_and_snrs_and_labels_of_one_s_own_win(tmp_path, capsys, monkeypatch):
    for number in range(3):
        noisy, clean = recording(number, 0.5)
        write(tmp_path / f"vb/noisy_testset_wav/p232_00{number}.wav", noisy)
        write(tmp_path / f"vb/clean_testset_wav/p232_00{number}.wav", clean)
    (tmp_path / "vb/log_testset.txt").write_text("p232_000 bus 17.5\nP232_001 cafe 2.5\nno line\n")
    (tmp_path / "vb/log_trainset_28spk.txt").write_text("p232_002 office 0\n")
    gain_model(tmp_path / "same", 1.0)
    monkeypatch.chdir(tmp_path / "vb")
    options = [
        "--model",
        str(tmp_path / "same"),
        "--systems",
        "none",
        "--metrics",
        "si_sdr_db",
        "--jobs",
        "1",
    ]

    def evaluated(*inputs: str) -> Evaluation:
        assert main(["evaluate", *inputs, *options, "--json", str(tmp_path / "r.json"), "--overwrite"]) == 0
        return Evaluation.read(tmp_path / "r.json")

    result = evaluated("noisy_testset_wav", "clean_testset_wav")
    assert [(pair.label, pair.snr_db) for pair in result.pairs] == [
        ("bus", 17.5),
        ("cafe", 2.5),
        (None, None),
    ]
    log = tmp_path / "vb/log_testset.txt"
    assert result.notes[:2] == (
        f"class of noise and SNR of 2 of 3 pairs are those of {log}",
        f"{log}: line 3 is no new name with a noise and an SNR",
    )
    shown = capsys.readouterr().out
    assert f"2 of 3 pairs are those of {log}\n" in shown
    assert "cafe" in shown
    assert evaluated("../vb").pairs == result.pairs
    one = evaluated("noisy_testset_wav/p232_001.wav", "clean_testset_wav/p232_001.wav")
    assert [(pair.label, pair.snr_db) for pair in one.pairs] == [("cafe", 2.5)]

    (tmp_path / "own.csv").write_text("name,label\np232_000,tram\np232_002,tram\n")
    own = evaluated("noisy_testset_wav", "clean_testset_wav", "--labels", str(tmp_path / "own.csv"))
    assert [(pair.label, pair.snr_db) for pair in own.pairs] == [("tram", None), (None, None), ("tram", None)]
    assert not any("log_testset" in note for note in own.notes)


def test_a_dataset_is_evaluated_on_its_test_side(tmp_path, capsys):
    from saved_datasets import mixture, write_dataset

    sides = {"train": [mixture(i, 1.0) for i in range(2)], "test": [mixture(10 + i, 1.0) for i in range(4)]}
    ordered = write_dataset(tmp_path / "data", sides, shards=2)["test"]
    assert (
        main(
            [
                *(
                    "evaluate",
                    str(tmp_path / "data"),
                    "--systems",
                    "wiener",
                    "--denoised",
                    f"x={tmp_path}/clean",
                ),
                *("--metrics", "si_sdr_db", "--jobs", "2", "--json", str(tmp_path / "r.json")),
            ]
        )
        == 1
    )
    assert "no such folder" in capsys.readouterr().err
    for item, (_, clean) in enumerate(ordered):
        write(tmp_path / f"clean/{item:06d}.wav", clean + 0.01 * hiss(1.0, 8000, seed=item), 8000)
    assert (
        main(
            [
                *(
                    "evaluate",
                    str(tmp_path / "data"),
                    "--systems",
                    "none",
                    "--denoised",
                    f"x={tmp_path}/clean",
                ),
                *("--metrics", "si_sdr_db", "--jobs", "2", "--json", str(tmp_path / "r.json")),
            ]
        )
        == 0
    )
    result = Evaluation.read(tmp_path / "r.json")
    assert [pair.name for pair in result.pairs] == ["000000", "000001", "000002", "000003"]
    assert [pair.label for pair in result.pairs] == ["class0", "class1", "class2", "class0"]
    assert [pair.snr_db for pair in result.pairs] == [0.0, 5.0, 10.0, 15.0]
    for info, (noisy, clean) in zip(result.pairs, ordered, strict=True):
        expected = metrics.si_sdr_db(clean, noisy)
        assert result.noisy.scores[info.name]["si_sdr_db"] == pytest.approx(expected, abs=0.05)
        assert result.system("x").scores[info.name]["si_sdr_db"] > expected


def test_pictures_show_the_means(tmp_path):
    result = made_up([*[0.0] * 6, *[10.0] * 6], [0.0] * 12, ["hum", "fan", "wind"] * 4)
    figure = pictures.plot_by_snr(result)
    panel = figure.axes[0]
    assert panel.get_ylabel() == "SI-SDR, dB"
    assert [label.get_text() for label in panel.get_xticklabels()] == ["0 dB\n(6)", "10 dB\n(6)"]
    expected = [result.systems[1].interval("si_sdr_db", names).mean for names in result.by_snr().values()]
    np.testing.assert_allclose(
        np.asarray(panel.get_lines()[3].get_ydata()), expected
    )  # a line and two caps per system
    assert figure.axes[1].get_ylabel() == "LSD (less is better)"
    spread = pictures.plot_spread(result).axes[0]
    median = np.median(result.noisy.values("si_sdr_db", result.by_snr()["0 dB"]))
    assert any(np.allclose(line.get_ydata(), median) for line in spread.get_lines())
    gains = pictures.plot_by_label(result).axes[0]
    assert gains.get_xlabel() == "gain in SI-SDR, dB"
    classes = [label.get_text().split(" ")[0] for label in gains.get_yticklabels()]
    ranked = [
        result.systems[1].gain(result.noisy, "si_sdr_db", result.by_label()[name]).mean for name in classes
    ]
    assert ranked == sorted(ranked, reverse=True)
    best, worst = pictures.best_and_worst(result, result.systems[1]) or ("", "")
    change = {
        name: result.systems[1].scores[name]["si_sdr_db"] - result.noisy.scores[name]["si_sdr_db"]
        for name in result.noisy.scores
    }
    assert (best, worst) == (max(change, key=change.get), min(change, key=change.get))  # type: ignore[arg-type]
    assert len(pictures.save_plots(result, tmp_path / "p")) == 3
    with pytest.raises(DataError, match="no pair has a class"):
        pictures.plot_by_label(made_up([0.0], [0.0], [None]))


def test_reading_something_else_is_an_error(tmp_path):
    (tmp_path / "x.json").write_text('{"systems": []}')
    with pytest.raises(DataError, match="is no evaluation"):
        Evaluation.read(tmp_path / "x.json")
    with pytest.raises(DataError, match="can't be read"):
        Evaluation.read(tmp_path / "none.json")

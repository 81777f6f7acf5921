"""The command build-dataset."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recordings import hiss, voice

from audenoise.cli import main
from audenoise.datasets import DatasetInfo

RATE = 8000
SMALL = ["--sample-rate", "8000", "--n-fft", "128", "--hop-length", "64", "--jobs", "1"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LibriSpeech's and ESC-50's layout, and room responses."""
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(6):
        path = folder / f"speech/{i // 2}/10/{i // 2}-10-{i:04d}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, voice(1.2, RATE, seed=i), RATE)
    table = ["filename,fold,target,category"]
    (folder / "esc/audio").mkdir(parents=True)
    (folder / "esc/meta").mkdir()
    for i in range(9):
        name = f"1-{100 + i}-A-{i % 3}.wav"
        soundfile.write(folder / "esc/audio" / name, hiss(1, RATE, seed=i), RATE)
        table.append(f"{name},1,{i % 3},{('dog', 'rain', 'fan')[i % 3]}")
    (folder / "esc/meta/esc50.csv").write_text("\n".join(table))
    (folder / "rir").mkdir()
    for i in range(2):
        decay = hiss(0.2, RATE, seed=i) * np.exp(-np.arange(round(0.2 * RATE)) / 300)
        decay[0] = 1
        soundfile.write(folder / f"rir/{i}.wav", decay, RATE)
    return folder


def build(corpus: Path, out: Path, *options: str) -> int:
    folders = ["--clean", str(corpus / "speech"), "--noise", str(corpus / "esc")]
    return main(["build-dataset", *folders, "--out", str(out), *SMALL, *options])


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    return lines[0]


def test_a_dataset_is_built_and_described(corpus: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "set"
    assert (
        build(corpus, out, "--snr-db", "0:10", "--mixtures", "2", "--test-split", "0.3", "--seed", "5") == 0
    )
    said = capsys.readouterr().err
    assert "clean: 6 recordings, 0.00 h, 3 speakers, 6 in the layout of librispeech" in said
    assert "noise: 9 recordings, 0.00 h, 9 in the layout of esc50" in said
    assert "disk: 0.0" in said
    assert "nothing says who speaks" not in said
    info = DatasetInfo.read(out)
    assert (info.sides["train"].items, info.sides["test"].items) == (8, 4)
    voices = [{row["speaker"] for row in info.rows(side)} for side in ("train", "test")]
    assert [len(each) for each in voices] == [2, 1]
    assert not voices[0] & voices[1]
    rows = [row for side in ("train", "test") for row in info.rows(side)]
    assert all(0 <= float(row["snr_db"]) <= 10 for row in rows)
    assert {row["label"] for row in rows} <= {"dog", "rain", "fan"}
    assert info.spec["seed"] == 5
    assert (
        build(corpus, out, "--snr-db", "0:10", "--mixtures", "2", "--test-split", "0.3", "--seed", "5") == 0
    )
    assert "finished already" in capsys.readouterr().err


def test_voices_that_nobody_named_are_spoken_of(corpus: Path, tmp_path: Path, capsys) -> None:
    for i in range(4):
        soundfile.write(tmp_path / f"take {i}.wav", voice(1.1, RATE, seed=i), RATE)
    folders = ["--clean", str(tmp_path), "--noise", str(corpus / "esc")]
    options = ["--out", str(tmp_path / "set"), *SMALL, "--test-split"]
    assert main(["build-dataset", *folders, *options, "0.5"]) == 0
    assert "nothing says who speaks, so a voice can be on both sides; --speakers" in capsys.readouterr().err
    assert main(["build-dataset", *folders, *options, "0", "--out", str(tmp_path / "all")]) == 0
    assert "nothing says who speaks" not in capsys.readouterr().err


def test_noise_by_ratio_class_and_degradation(corpus: Path, tmp_path: Path) -> None:
    options = ["--noise-ratio", "0.2-0.4", "--no-noise-class", "dog", "--test-split", "0", "--quiet"]
    rooms = ["--rir", str(corpus / "rir"), "--degrade", "reverb=1", "--degrade", "clip=0.5"]
    assert build(corpus, tmp_path / "set", *options, *rooms) == 0
    info = DatasetInfo.read(tmp_path / "set")
    assert list(info.sides) == ["train"]
    assert set(info.sides["train"].labels) <= {"rain", "fan"}
    assert all(0.2 <= float(row["noise_ratio"]) <= 0.4 for row in info.rows("train"))
    assert [source.kind for source in info.sides["train"].sources].count("rir") == 2
    assert info.spec["mixing"]["reverb"] == 1


def test_a_spec_gives_rate_and_transform(corpus: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "sample_rate: 8000\nstft: {n_fft: 256, hop_length: 100}\nencoder: [{filters: 4}]\n"
        "bottleneck: {kind: recurrent}\nmixing: {snr_db: [3, 3], level_dbfs: [-30, -30]}\n"
    )
    folders = ["--clean", str(corpus / "speech"), "--noise", str(corpus / "esc"), "--jobs", "1", "--quiet"]
    command = ["build-dataset", *folders, "--spec", str(spec)]
    assert main([*command, "--out", str(tmp_path / "a")]) == 0
    info = DatasetInfo.read(tmp_path / "a")
    assert (info.stft.sample_rate, info.stft.n_fft, info.stft.hop_length) == (8000, 256, 100)
    assert info.spec["mixing"]["snr_db"] == [-5, 20]
    assert main([*command, "--out", str(tmp_path / "b"), "--spec-mixing", "--hop-length", "64"]) == 0
    info = DatasetInfo.read(tmp_path / "b")
    assert info.stft.hop_length == 64
    assert info.spec["mixing"]["snr_db"] == [3, 3]


def test_pairs_are_taken(tmp_path: Path, capsys) -> None:
    for i in range(4):
        speech = voice(1, RATE, seed=i)
        for kind, audio in (("clean", speech), ("noisy", speech + hiss(1, RATE, seed=i))):
            (tmp_path / f"in/{kind}").mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / f"in/{kind}/{i}.wav", audio, RATE)
    soundfile.write(tmp_path / "in/noisy/3.wav", hiss(1, RATE, seed=99), RATE)
    assert main(["build-dataset", "--pairs", str(tmp_path / "in"), "--out", str(tmp_path / "a"), *SMALL]) == 0
    said = capsys.readouterr().err
    assert "pairs: 3 recordings" in said
    assert "noisy/3.wav: noisy and clean have nothing in common" in said
    of_mixtures = ["--mixtures", "2", "--level-dbfs=-30:-20", "--out", str(tmp_path / "c")]
    assert main(["build-dataset", "--pairs", str(tmp_path / "in"), *of_mixtures]) == 1
    assert "leave out what is of no use with them: --mixtures, --level-dbfs" in capsys.readouterr().err
    folders = ["--noisy", str(tmp_path / "in/noisy"), "--clean", str(tmp_path / "in/clean")]
    assert main(["build-dataset", *folders, "--out", str(tmp_path / "b"), *SMALL]) == 0
    first, second = (DatasetInfo.read(tmp_path / name) for name in "ab")
    assert first.sides["train"].checksum == second.sides["train"].checksum


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--no-noise-class", "cat"], "noise class 'cat' isn't there; there are dog, fan, rain"),
        (["--noise-class", "rian"], "did you mean rain?"),
        (["--snr-db", "loud"], "SNR must be a number or a range"),
        (["--noise-ratio", "0.5-1.5"], "noise_ratio[1]: must be at most 1"),
        (["--degrade", "echo=1"], "degrade: 'echo' is none of second_noise"),
        (["--hop-length", "100"], "at most half the window (64)"),
        (["--speakers", "p..."], "needs a group"),
        (["--speakers", "(nobody)"], "names no speaker for 6 of 6 recordings"),
        (["--mixtures", "9"], "9 mixtures of each recording need as many different noises"),
        (["--hours", "2", "--mixtures", "1"], "h are asked for"),
        (["--split-by", "speaker", "--layout", "plain"], "the speaker of 6 of 6 recordings isn't known"),
        (["--min-duration", "5"], "holds no usable recording"),
        (["--noise-labels", "TABLE"], "needs a column for its class"),
        (["--align"], "--align is for recordings given with --pairs"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    corpus: Path, tmp_path: Path, capsys, options: list[str], message: str
) -> None:
    (tmp_path / "table.csv").write_text("filename,what\n1.wav,dog\n")
    options = [str(tmp_path / "table.csv") if option == "TABLE" else option for option in options]
    assert build(corpus, tmp_path / "set", *options) == 1
    assert message in error_of(capsys)
    assert not (tmp_path / "set").exists()


def test_the_hours_that_there_is_noise_for_are_named_and_can_be_had(
    corpus: Path, tmp_path: Path, capsys
) -> None:
    assert build(corpus, tmp_path / "set", "--hours", "5", "-q") == 1
    message = error_of(capsys)
    found = re.search(r"need as many different noises, .* ask for at most ([\d.]+) hours", message)
    assert found, message
    hours = float(found[1])
    assert build(corpus, tmp_path / "more", "--hours", str(hours * 2), "-q") == 1
    assert f"at most {found[1]} hours" in error_of(capsys)
    assert build(corpus, tmp_path / "set", "--hours", found[1], "-q") == 0
    info = DatasetInfo.read(tmp_path / "set")
    assert sum(side.hours for side in info.sides.values()) == pytest.approx(hours, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--snr-db", "5", "--noise-ratio", "0.5"], "exclude each other"),
        (["--spec-mixing"], "needs --spec"),
        (["--test-split", "1"], "0<=x<1"),
    ],
)
def test_a_wrong_command_line(corpus: Path, tmp_path: Path, capsys, options: list[str], message: str) -> None:
    assert build(corpus, tmp_path / "set", *options) == 2
    assert message in error_of(capsys)


def test_one_voice_is_too_few(corpus: Path, tmp_path: Path, capsys) -> None:
    folders = ["--clean", str(corpus / "speech/0"), "--noise", str(corpus / "esc")]
    assert main(["build-dataset", *folders, "--out", str(tmp_path / "set"), *SMALL]) == 1
    message = error_of(capsys)
    assert (
        "clean: all 2 recordings are of one speaker (librispeech-0); add recordings of another one" in message
    )
    assert "--test-split 0" in message


def test_a_folder_in_use_is_refused(corpus: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    assert build(corpus, tmp_path) == 1
    assert "exists and is no dataset; choose another folder" in error_of(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]

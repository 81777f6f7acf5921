"""`save_dataset`: what was made with plain functions becomes a dataset that the commands take."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved_datasets import RATE, mixture
from training_batches import tiny

from audenoise.audio import write_audio
from audenoise.cli import main
from audenoise.datasets import (
    DatasetInfo,
    load_dataset,
    load_spectrograms,
    load_vectors,
    save_dataset,
    vectors_to_spectrograms,
)
from audenoise.errors import DataError
from audenoise.evaluation import Evaluation
from audenoise.mixing import active_rms, rms
from audenoise.specs import dump_spec

STFT: dict[str, Any] = {"n_fft": 128, "hop_length": 64}
PAIRS = {
    "train": [mixture(i, 0.5 + 0.1 * i) for i in range(5)],
    "test": [mixture(100 + i, 0.7) for i in range(3)],
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saving") / "set"
    sides = {side: vectors_to_spectrograms(pairs, **STFT) for side, pairs in PAIRS.items()}
    save_dataset(sides, folder, sample_rate=RATE, **STFT)
    return folder


def _spectra(**stft: Any) -> list[Any]:
    return list(vectors_to_spectrograms(PAIRS["test"], **stft).as_numpy_iterator())


def test_it_says_what_it_holds(saved: Path) -> None:
    info = DatasetInfo.read(saved)
    assert (info.stft.sample_rate, info.stft.n_fft, info.stft.hop_length) == (RATE, 128, 64)
    assert (info.stft.win_length, info.stft.window) == (128, "sqrt_hann")
    for side, pairs in PAIRS.items():
        assert info.sides[side].items == len(pairs) == sum(info.sides[side].snr_db.counts)
        seconds = sum(noisy.size for noisy, _ in pairs) / RATE
        assert info.sides[side].hours == pytest.approx(seconds / 3600, abs=len(pairs) * 64 / RATE / 3600)
        for row, (noisy, clean) in zip(info.rows(side), pairs, strict=True):
            snr_db = 20 * np.log10(active_rms(clean, RATE) / rms(noisy - clean))
            assert float(row["snr_db"]) == pytest.approx(snr_db, abs=0.1)
            assert float(row["noisy_peak"]) == pytest.approx(float(np.abs(noisy).max()), rel=1e-3)
        for found, wanted in zip(load_vectors(saved, side), pairs, strict=True):
            for audio, truth in zip(found, wanted, strict=True):
                assert 0 <= audio.size - truth.size < STFT["hop_length"]
                np.testing.assert_allclose(audio[: truth.size], truth, atol=1e-3 * np.abs(truth).max())
                assert np.abs(audio[truth.size :]).max(initial=0) < 1e-3 * np.abs(truth).max()


def test_it_is_inspected_trained_on_and_evaluated(saved: Path, tmp_path: Path, capsys) -> None:
    assert main(["inspect", str(saved), "--strict", "--plot", str(tmp_path / "p.png"), "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert "of which recordings it was made is not known" in out
    assert "damaged items: none" in out
    (tmp_path / "spec.yaml").write_text(
        dump_spec(tiny(epochs=1, steps_per_epoch=2, scored_mixtures=0)), encoding="utf-8"
    )
    run = tmp_path / "run"
    command = ["train", str(saved), "--spec", str(tmp_path / "spec.yaml"), "--out", str(run)]
    assert main([*command, "--workers", "0"]) == 0
    assert (run / "best.weights.h5").is_file()
    scores = tmp_path / "scores.json"
    (tmp_path / "clean").mkdir()
    for item, (_, clean) in enumerate(load_vectors(saved, "test")):
        write_audio(tmp_path / f"clean/{item:06d}.wav", clean, RATE)
    options = ["--denoised", f"clean={tmp_path}/clean", "--systems", "none", "--metrics", "si_sdr_db"]
    assert main(["evaluate", str(saved), *options, "--json", str(scores), "--jobs", "1"]) == 0
    result = Evaluation.read(scores)
    assert [pair.snr_db for pair in result.pairs] == [
        float(row["snr_db"]) for row in DatasetInfo.read(saved).rows("test")
    ]
    assert min(result.system("clean").values("si_sdr_db")) > 60 > max(result.noisy.values("si_sdr_db"))


def test_leaks_show_by_equal_items(tmp_path: Path, capsys) -> None:
    pairs = _spectra(**STFT)
    save_dataset({"train": pairs, "test": pairs[1:2]}, tmp_path / "leaky", sample_rate=RATE, **STFT)
    assert main(["inspect", str(tmp_path / "leaky"), "--strict", "--triples", "0"]) == 1
    assert "train item 1, test item 0 are the same waveforms" in capsys.readouterr().out


def test_spectrograms_saved_alone_become_a_dataset(tmp_path: Path, capsys) -> None:
    save_dataset(vectors_to_spectrograms(PAIRS["train"], **STFT), tmp_path / "alone")
    with pytest.raises(
        DataError, match=r"alone: holds spectrograms alone, .* sample_rate, n_fft and hop_len"
    ):
        DatasetInfo.read(tmp_path / "alone")
    save_dataset(load_dataset(tmp_path / "alone"), tmp_path / "set", sample_rate=RATE, **STFT)
    assert list(DatasetInfo.read(tmp_path / "set").sides) == ["train"]
    for one, other in zip(load_dataset(tmp_path / "alone"), load_spectrograms(tmp_path / "set"), strict=True):
        np.testing.assert_array_equal(one[0].numpy(), other[0].numpy())
        np.testing.assert_array_equal(one[1].numpy(), other[1].numpy())
    assert main(["train", str(tmp_path / "set"), "--out", str(tmp_path / "run")]) == 1
    assert "stft.n_fft is 128 in the dataset and 512 in the spec" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "said", "message"),
    [
        ({**STFT, "hop_length": 32}, STFT, "train item 0: is no STFT with hop_length 64"),
        ({**STFT, "window": "hann"}, STFT, "is no STFT with hop_length 64, .*window sqrt_hann"),
        ({"n_fft": 256, "hop_length": 64}, STFT, "has 129 bins, and n_fft 128 gives 65"),
        (STFT, {"n_fft": 128, "hop_length": 200}, "hop_length"),
    ],
)
def test_another_stft_than_is_said_is_refused(made: Any, said: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        save_dataset(_spectra(**made), tmp_path / "set", sample_rate=RATE, **said)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_kept_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    pairs = _spectra(**STFT)
    (noisy, clean), out = pairs[0], tmp_path / "set"
    with pytest.raises(DataError, match=r"item 1: holds .*over the window's sum"):
        save_dataset([pairs[1], (64 * noisy, 64 * clean)], out)
    with pytest.raises(DataError, match="item 0: holds nan"):
        save_dataset([(noisy * np.nan, clean)], out)
    with pytest.raises(DataError, match=r"item 1: .*must be \(frames, 65\) alike"):
        save_dataset([pairs[1], (noisy[:, :9], clean[:, :9])], out)
    with pytest.raises(DataError, match=r"sides must be train, and test if wanted\. Received: test"):
        save_dataset({"test": pairs}, out, sample_rate=RATE, **STFT)
    with pytest.raises(DataError, match="set: test: there is nothing to save"):
        save_dataset({"train": pairs, "test": []}, out, sample_rate=RATE, **STFT)
    with pytest.raises(DataError, match="train item 0: 1 frames are too few"):
        save_dataset([(noisy[:1], clean[:1])], out, sample_rate=RATE, **STFT)
    for wrong in ({"train": pairs}, pairs):
        with pytest.raises(DataError, match="name its sample_rate too"):
            save_dataset(wrong, out, hop_length=64)
    assert list(tmp_path.iterdir()) == []

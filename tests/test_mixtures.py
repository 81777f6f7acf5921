"""Mixtures: what goes in, that it can be repeated, and what happens when a process dies."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from recordings import voice, write_corpus

from audenoise.corpus import TrainingFolders, hold_out, load_responses, make_mixers, training_stream
from audenoise.errors import AudenoiseError, DataError
from audenoise.mixing import active_rms, rms
from audenoise.mixtures import AudioPool, Mixer, MixtureStream, build_pool
from audenoise.specs import MixingSpec, parse_spec

RATE = 16000
DEGRADATIONS = (
    "reverb", "speed", "equalise", "band_limit", "clip",
    "second_noise", "coloured_noise", "synthetic_noise", "babble", "modulate", "reverse", "formant_shift",
)  # fmt: skip
ONLY_SNR: dict[str, Any] = dict.fromkeys((*DEGRADATIONS, "clean_only", "noise_only"), 0.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    folder = tmp_path_factory.mktemp("corpus")
    return (*write_corpus(folder), folder / "cache")


@pytest.fixture(scope="module")
def pools(corpus: tuple[Path, Path, Path]) -> tuple[AudioPool, AudioPool]:
    clean, noise, cache = corpus
    speech, _ = build_pool([clean], sample_rate=RATE, cache=cache, jobs=1)
    noises, _ = build_pool([noise], sample_rate=RATE, cache=cache, jobs=1)
    return speech, noises


def mixer_of(pools: tuple[AudioPool, AudioPool], *, seed: int = 0, n_samples: int = RATE, **mixing) -> Mixer:
    responses = [np.array([1, 0, 0.5, 0.2], np.float32)]
    return Mixer(*pools, responses, spec=MixingSpec(**mixing), n_samples=n_samples, seed=seed)


def test_a_pool_holds_every_recording_at_its_rate_and_level(pools: tuple[AudioPool, AudioPool]) -> None:
    speech, noise = pools
    assert speech.lengths.tolist() == [3 * RATE] * 3 + [2 * RATE]
    assert noise.lengths.tolist() == [3 * RATE, round(0.3 * RATE)]
    assert speech.groups.tolist() == [0, 0, 0, 1]
    assert speech.seconds == pytest.approx(11)
    samples = speech.samples()
    for i in range(3):
        start = speech.offsets[i]
        stored = samples[start : start + speech.lengths[i]].astype(np.float32) * speech.gains[i]
        np.testing.assert_allclose(stored, voice(3, RATE, seed=i), atol=1e-4)
    # Of a stereo file with an unused first channel, the second one is taken.
    stored = samples[speech.offsets[3] :].astype(np.float32) * speech.gains[3]
    assert rms(stored) == pytest.approx(rms(voice(2, 48000, seed=9)), rel=0.02)
    groups, members = speech.weights()
    np.testing.assert_allclose(groups, np.sqrt([9, 2]) / np.sqrt([9, 2]).sum())
    np.testing.assert_allclose(members, [1 / 3, 1 / 3, 1 / 3, 1])


def test_what_cannot_be_used_is_left_out_by_name_and_nothing_is_decoded_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache = tmp_path / "mixed", tmp_path / "cache"
    folder.mkdir()
    soundfile.write(folder / "good.wav", voice(1, RATE, seed=0), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    (folder / "broken.wav").write_bytes(b"RIFF, or so it says")
    (folder / "empty.flac").write_bytes(b"")
    soundfile.write(folder / "sample.wav", np.array([0.5]), 48000)
    soundfile.write(folder / "nan.wav", np.array([0.1, np.nan, 0.1], np.float32), RATE, subtype="FLOAT")
    pool, skipped = build_pool([folder], sample_rate=RATE, cache=cache, jobs=1)
    assert pool.lengths.tolist() == [RATE]
    assert len(skipped) == 5
    for name in ("silent.wav", "broken.wav", "empty.flac", "nan.wav"):
        assert sum(name in line for line in skipped) == 1
    written = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert len(written) == 2  # nothing partial is left
    again, skipped_again = build_pool([folder], sample_rate=RATE, cache=cache, jobs=1)
    assert skipped_again == skipped
    np.testing.assert_array_equal(again.samples(), pool.samples())
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == written
    monkeypatch.setattr("audenoise.mixtures._WORTH_A_PROCESS", 1)  # now by several processes
    others, skipped_by_others = build_pool([folder], sample_rate=RATE, cache=tmp_path / "others", jobs=2)
    assert skipped_by_others == skipped
    np.testing.assert_array_equal(others.samples(), pool.samples())
    (folder / "good.wav").unlink()
    with pytest.raises(DataError, match=r"no recording can be used; the first: .*broken\.wav"):
        build_pool([folder], sample_rate=RATE, cache=cache, jobs=1)


def test_a_recording_counts_once_and_none_that_is_to_validate_with(tmp_path: Path) -> None:
    (tmp_path / "speech/inner").mkdir(parents=True)
    for i, name in enumerate(("a", "b", "inner/c")):
        soundfile.write(tmp_path / f"speech/{name}.wav", voice(1, RATE, seed=i), RATE)
    speech, inner = tmp_path / "speech", tmp_path / "speech/inner"
    sizes: dict[str, Any] = {"sample_rate": RATE, "cache": tmp_path / "cache", "jobs": 1}
    assert build_pool([speech, inner], **sizes)[0].lengths.size == 3
    assert build_pool([speech], **sizes, without=[inner])[0].lengths.size == 2
    pool, notes = build_pool([inner], **sizes, without=[speech])
    assert (pool.lengths.size, notes) == (
        1,
        [f"nothing of {inner}, though it is to validate with too: scores on it flatter"],
    )


def test_folders_without_audio_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no audio")
    with pytest.raises(DataError, match="holds no audio"):
        build_pool([tmp_path], sample_rate=RATE, cache=tmp_path / "cache", jobs=1)
    with pytest.raises(AudenoiseError, match="nowhere"):
        build_pool([tmp_path / "nowhere"], sample_rate=RATE, cache=tmp_path / "cache", jobs=1)
    with pytest.raises(DataError, match="holds no usable room response"):
        load_responses([tmp_path], RATE)


def test_examples_depend_on_seed_and_number_alone(pools: tuple[AudioPool, AudioPool]) -> None:
    mixer = mixer_of(pools)
    later = mixer.example(5)  # before the others
    first = [mixer.example(i) for i in range(5)]
    again = mixer_of(pools)
    for i, (noisy, clean) in enumerate([*first, later]):
        np.testing.assert_array_equal(again.example(i), (noisy, clean))
        assert noisy.dtype == clean.dtype == np.float32
        assert noisy.shape == clean.shape == (RATE,)
        assert np.abs(noisy).max() <= 0.99
    assert not np.array_equal(mixer_of(pools, seed=1).example(0), first[0])


def test_ratios_and_levels_lie_in_their_ranges(pools: tuple[AudioPool, AudioPool]) -> None:
    mixer = mixer_of(pools, **ONLY_SNR, snr_db=(-3, 12), level_dbfs=(-40, -30))
    found, levels = [], []
    for i in range(60):
        noisy, clean = mixer.example(i)
        found.append(20 * np.log10(active_rms(clean) / rms(noisy - clean)))
        levels.append(20 * np.log10(rms(noisy)))
    assert min(found) >= -3.01
    assert max(found) <= 12.01
    assert np.mean(found) == pytest.approx(4.5, abs=2)  # uniform: a standard error of 0.6 dB
    assert np.std(found) == pytest.approx(15 / np.sqrt(12), rel=0.3)
    assert min(levels) >= -40.01
    assert max(levels) <= -29.99


def test_a_common_level_is_the_most_frequent(pools: tuple[AudioPool, AudioPool]) -> None:
    ends: dict[str, Any] = {**ONLY_SNR, "level_dbfs": (-70, -20)}
    levels = [
        20 * np.log10(rms(mixer_of(pools, **ends, common_level_dbfs=-30).example(i)[0])) for i in range(60)
    ]
    assert min(levels) >= -70.01
    assert max(levels) <= -19.99
    assert np.mean(levels) == pytest.approx(-40, abs=5)  # triangular; -45 were all as frequent
    assert np.mean(np.array(levels) > -45) > 0.6
    still = mixer_of(pools, **{**ends, "level_dbfs": (-30, -30)}, common_level_dbfs=-30).example(0)[0]
    assert 20 * np.log10(rms(still)) == pytest.approx(-30, abs=0.01)


def test_clean_only_and_noise_only(pools: tuple[AudioPool, AudioPool]) -> None:
    noisy, clean = mixer_of(pools, **{**ONLY_SNR, "clean_only": 1.0}).example(0)
    np.testing.assert_array_equal(noisy, clean)
    noisy, clean = mixer_of(pools, **{**ONLY_SNR, "noise_only": 1.0}).example(0)
    assert not clean.any()
    assert rms(noisy) > 0


def test_a_scene_goes_over_to_another_somewhere(pools: tuple[AudioPool, AudioPool]) -> None:
    plain, changed = mixer_of(pools, **ONLY_SNR), mixer_of(pools, **ONLY_SNR, scene_change=1.0)
    some = mixer_of(pools, **ONLY_SNR, scene_change=0.5)
    ends = []
    for i in range(20):
        before, after = plain.example(i), changed.example(i)
        assert all(part.shape == (RATE,) and part.dtype == np.float32 for part in after)
        for first, second in zip(before, after, strict=True):
            same = first == second
            end = RATE if same.all() else int(same.argmin())
            assert same[: RATE // 10].all()
            assert not np.allclose(first[-RATE // 20 :], second[-RATE // 20 :], atol=1e-4)
            ends.append(end)
    assert min(ends) < 0.4 * RATE
    assert max(ends) > 0.6 * RATE
    kept = sum(np.array_equal(plain.example(i)[0], some.example(i)[0]) for i in range(40))
    assert 10 <= kept <= 30
    assert np.array_equal(changed.example(3)[0], mixer_of(pools, **ONLY_SNR, scene_change=1.0).example(3)[0])


def test_babble_is_made_of_voices_and_its_ratio_holds(pools: tuple[AudioPool, AudioPool]) -> None:
    speech, _ = pools
    mixer = mixer_of(pools, **{**ONLY_SNR, "babble": 1.0}, snr_db=(3, 3))
    for i in range(4):
        noisy, clean = mixer.example(i)
        assert 20 * np.log10(active_rms(clean) / rms(noisy - clean)) == pytest.approx(3, abs=0.01)
    # With noise that is no recording of the noise pool, only the speech pool can have given it.
    deaf = mixer_of((speech, speech), **{**ONLY_SNR, "babble": 1.0}, snr_db=(3, 3))
    np.testing.assert_array_equal(deaf.example(0), mixer.example(0))


@pytest.mark.parametrize("part", DEGRADATIONS)
def test_each_degradation_changes_the_mixture(pools: tuple[AudioPool, AudioPool], part: str) -> None:
    plain = mixer_of(pools, **ONLY_SNR)
    degraded = mixer_of(pools, **{**ONLY_SNR, part: 1.0})
    for i in range(4):
        noisy, clean = degraded.example(i)
        assert np.isfinite(noisy).all()
        assert rms(clean) > 0
        assert not np.allclose(noisy, plain.example(i)[0], atol=1e-4)


def test_the_number_of_workers_changes_nothing(pools: tuple[AudioPool, AudioPool]) -> None:
    mixer = mixer_of(pools, n_samples=4000)
    direct = MixtureStream(mixer, batch_size=3, workers=0)
    expected = [next(direct) for _ in range(7)]
    before = set(multiprocessing.active_children())
    for workers in (1, 2):
        stream = MixtureStream(mixer, batch_size=3, workers=workers)
        try:
            assert len(set(multiprocessing.active_children()) - before) == workers
            for noisy, clean in expected[:5]:
                np.testing.assert_array_equal(next(stream), (noisy, clean))
            assert stream.waited_s > 0
        finally:
            stream.close()
    resumed = MixtureStream(mixer, batch_size=3, workers=2, first=4)
    try:
        for batch in expected[4:]:
            np.testing.assert_array_equal(next(resumed), batch)
    finally:
        resumed.close()
    assert set(multiprocessing.active_children()) == before


@pytest.mark.parametrize("after", [0, 3])
def test_a_killed_process_is_an_error_and_no_wait_for_ever(
    pools: tuple[AudioPool, AudioPool], after: int
) -> None:
    before = set(multiprocessing.active_children())
    # A batch is far larger than a pipe, so that the process dies in the middle of one.
    stream = MixtureStream(mixer_of(pools, **ONLY_SNR), batch_size=8, workers=1)
    try:
        (process,) = set(multiprocessing.active_children()) - before
        for _ in range(after):
            next(stream)
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        caught: list[str] = []

        def read_on() -> None:
            try:
                for _ in range(20):
                    next(stream)
            except DataError as error:
                caught.append(str(error))

        reader = threading.Thread(target=read_on, daemon=True)
        reader.start()
        reader.join(timeout=30)
        assert not reader.is_alive(), "waits for ever"
        assert caught == ["a mixing process died (out of memory?); use fewer --workers"]
    finally:
        stream.close()
    assert set(multiprocessing.active_children()) == before


def test_an_error_while_mixing_arrives_with_its_words(
    pools: tuple[AudioPool, AudioPool], tmp_path: Path
) -> None:
    speech, noise = pools
    moved = AudioPool(
        tmp_path / "gone.i16", speech.offsets, speech.lengths, speech.gains, speech.groups, RATE
    )
    stream = MixtureStream(mixer_of((moved, noise)), batch_size=2, workers=1)
    try:
        with pytest.raises(DataError, match=r"mixing failed: FileNotFoundError: .*gone\.i16"):
            next(stream)
    finally:
        stream.close()


ORPHANS = """
import multiprocessing, os, pickle, signal, sys
from audenoise.mixtures import MixtureStream
if __name__ == "__main__":
    stream = MixtureStream(pickle.load(open(sys.argv[1], "rb")), batch_size=8, workers=2)
    next(stream)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_no_process_outlives_a_killed_training(pools: tuple[AudioPool, AudioPool], tmp_path: Path) -> None:
    import pickle

    script, stored = tmp_path / "script.py", tmp_path / "mixer.pickle"
    script.write_text(ORPHANS)
    stored.write_bytes(pickle.dumps(mixer_of(pools, **ONLY_SNR)))
    # Its output goes to a file: the processes hold a pipe open as long as they live.
    with (tmp_path / "pids").open("w") as out:
        done = subprocess.run([sys.executable, script, stored], stdout=out, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2

    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    for _ in range(300):  # they look every 2 s
        if not any(map(runs, pids)):
            return
        time.sleep(0.1)
    pytest.fail(f"still running: {[pid for pid in pids if runs(pid)]}")


# --- corpus -------------------------------------------------------------------------------------------------


def test_held_out_recordings_are_not_trained_on(corpus: tuple[Path, Path, Path]) -> None:
    clean, noise, cache = corpus
    spec = parse_spec(
        {
            "encoder": [{"filters": 2}],
            "bottleneck": {"kind": "recurrent"},
            "training": {"crop_s": 0.5, "batch_size": 2, "steps_per_epoch": 3},
        }
    )
    mixers = make_mixers(spec, TrainingFolders((clean,), (noise,)), cache=cache, jobs=1)
    for kind in ("speech", "noise"):
        train, held = mixers.train.pools[kind], mixers.validation.pools[kind]
        assert held.lengths.size == 1
        assert not set(train.offsets) & set(held.offsets)
    assert mixers.validation.example(0)[0].shape == (4 * RATE,)
    stream = training_stream(mixers, spec, workers=0, epoch=2)
    np.testing.assert_array_equal(next(stream), mixers.train.batch(6, 2))
    named = TrainingFolders((clean / "a",), (noise,), valid_clean=(clean / "b",), valid_noise=(noise,))
    mixers = make_mixers(spec, named, cache=cache, jobs=1)
    assert mixers.validation.pools["speech"].lengths.tolist() == [2 * RATE]
    only = TrainingFolders((clean / "b",), (noise,))
    with pytest.raises(DataError, match=r"clean: needs at least 2 recordings.* Found: 1"):
        make_mixers(spec, only, cache=cache, jobs=1)


def test_the_split_is_the_same_every_time(pools: tuple[AudioPool, AudioPool]) -> None:
    first, second = hold_out(pools[0], "clean"), hold_out(pools[0], "clean")
    np.testing.assert_array_equal(first[1].offsets, second[1].offsets)
    assert sorted([*first[0].offsets, *first[1].offsets]) == pools[0].offsets.tolist()


def test_responses_come_with_every_channel_and_bad_ones_are_named(tmp_path: Path) -> None:
    response = np.zeros((RATE, 2))
    response[100, 0], response[200, 1], response[300, 1] = 0.5, 0.25, 0.125
    soundfile.write(tmp_path / "room.wav", response, RATE)
    soundfile.write(tmp_path / "silent.wav", response * 0, RATE)
    (tmp_path / "broken.wav").write_bytes(b"no")
    responses, skipped = load_responses([tmp_path], RATE)
    assert [float(r[0]) for r in responses] == [1.0, 1.0]
    assert responses[1][100] == pytest.approx(0.5, abs=1e-3)
    assert sorted(Path(line.partition(":")[0]).name for line in skipped) == ["broken.wav", "silent.wav"]

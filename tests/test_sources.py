"""Recordings found, described, split, paired, cut and mixed."""

import dataclasses
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import hiss, voice

from audenoise.audio import read_audio, resample
from audenoise.crops import StoredStft
from audenoise.errors import DataError, SignalError
from audenoise.mixing import active_rms, rms
from audenoise.sources import (
    LabelRule,
    Recording,
    Skipped,
    SpeakerRule,
    checksum,
    find_pairs,
    find_recordings,
    split,
)
from audenoise.sources.alignment import estimate_delay
from audenoise.sources.excerpts import DecodedCache, length_at, read_excerpt, read_parallel
from audenoise.sources.items import PEAK, Item, ItemMixer, PairCutter
from audenoise.sources.layouts import traits_of
from audenoise.sources.pairs import Pair
from audenoise.sources.planning import Slot, plan_side
from audenoise.sources.requests import parse_probabilities, spec_from_options
from audenoise.sources.settings import DEGRADATIONS, DatasetSpec, ItemMixing, make_spec, parse_range
from audenoise.sources.splitting import split_by
from audenoise.sources.stored import SCALE, Encoder, from_stored, round_to_half, spectrogram, to_stored

RATE = 16000


def write(path: Path, audio: np.ndarray, rate: int = RATE, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, **options)
    return path


def one(path: Path) -> Recording:
    recordings, _ = find_recordings([path])
    return recordings[0]


def recording(name: str, seconds: float = 5.0, **traits: str) -> Recording:
    return Recording(Path(f"/r/{name}"), seconds, RATE, 1, n_samples=round(seconds * RATE), **traits)


# Finding


def test_recordings_of_every_kind_are_found_and_described(tmp_path: Path) -> None:
    write(tmp_path / "a/x.WAV", voice(1, 8000, seed=0), 8000, format="WAV")
    write(tmp_path / "a/deep/y.flac", np.stack([voice(2, 48000, seed=1)] * 2, 1), 48000)
    write(tmp_path / "b/z.Ogg", voice(1.5, 22050, seed=2), 22050, format="OGG")
    write(tmp_path / "w.mp3", voice(1, 44100, seed=3), 44100)
    (tmp_path / "a/notes.txt").write_text("no audio")
    (tmp_path / ".hidden").mkdir()
    found, skipped = find_recordings([tmp_path])
    assert skipped == []
    assert [(each.path.name, each.sample_rate, each.channels, each.label) for each in found] == [
        ("y.flac", 48000, 2, "a"),
        ("x.WAV", 8000, 1, "a"),
        ("z.Ogg", 22050, 1, "b"),
        ("w.mp3", 44100, 1, tmp_path.name),
    ]
    assert [each.duration_s for each in found[:3]] == [2.0, 1.0, 1.5]
    assert all(each.sha256 == checksum(each.path) for each in found)


def test_odd_files_are_left_out_by_name_and_doubles_too(tmp_path: Path) -> None:
    write(tmp_path / "good.wav", voice(1, RATE, seed=0))
    (tmp_path / "copy.wav").write_bytes((tmp_path / "good.wav").read_bytes())
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.flac").write_text("this is no audio")
    (tmp_path / "cut.wav").write_bytes((tmp_path / "good.wav").read_bytes()[:9000])
    found, skipped = find_recordings([tmp_path])
    assert [each.path.name for each in found] == ["copy.wav"]
    assert {each.path.name for each in skipped} == {"good.wav", "empty.wav", "text.flac", "cut.wav"}
    reasons = {each.path.name: each.reason for each in skipped}
    assert reasons["good.wav"] == f"has the same content as {tmp_path / 'copy.wav'}"
    assert "empty" in reasons["empty.wav"]
    assert "cut short" in reasons["cut.wav"]


def test_any_number_of_processes_finds_the_same(tmp_path: Path) -> None:
    for i in range(70):
        write(tmp_path / f"{i:02d}.wav", hiss(0.05, 8000, seed=i), 8000)
    (tmp_path / "33.wav").write_bytes(b"")
    read = []
    assert find_recordings([tmp_path], jobs=1) == find_recordings([tmp_path], jobs=2, on_progress=read.append)
    assert sum(read) == 70


def test_what_is_known_is_not_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", voice(1, RATE, seed=0))
    first, _ = find_recordings([tmp_path])
    path.write_bytes(b"")
    again, skipped = find_recordings([tmp_path], known={str(each.path): each for each in first})
    assert (again, skipped) == (first, [])
    assert find_recordings([tmp_path])[0] == []


def test_a_layout_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="layout must be auto, plain, librispeech"):
        find_recordings([tmp_path], layout="timit")


@pytest.mark.parametrize(
    ("name", "layout", "speaker", "label", "group"),
    [
        ("84/121123/84-121123-0000.flac", "librispeech", "librispeech-84", None, "librispeech-84-121123"),
        ("84_121123_000002_000000.wav", "librispeech", "librispeech-84", None, "librispeech-84-121123"),
        ("clean_trainset_28spk_wav/p226_001.wav", "voicebank", "vctk-p226", None, None),
        ("p225_001_mic1.flac", "voicebank", "vctk-p225", None, None),
        ("DKITCHEN/ch01.wav", "demand", None, "DKITCHEN", "demand-DKITCHEN"),
        ("audio/1-100032-A-0.wav", "esc50", None, None, "esc50-100032"),
        ("noise/free-sound/noise-free-sound-0000.wav", "musan", None, "noise", None),
        ("speech/librivox/speech-librivox-0012.wav", "musan", None, "speech", None),
        ("book_00000_chp_0009_reader_06709_0.wav", "dns", "dns-06709", None, "dns-book_00000_chp_0009"),
        (
            "door_Freesound_validated_416117_0.wav",
            "dns",
            None,
            "door",
            "Freesound_validated_416117",
        ),
        ("interview.wav", None, None, None, None),
    ],
)
def test_names_of_known_corpora_tell(
    name: str, layout: str | None, speaker: str | None, label: str | None, group: str | None
) -> None:
    path = Path("/corpora") / name
    found = traits_of([path])[path]
    assert (found.layout, found.speaker, found.label, found.group) == (layout, speaker, label, group)
    assert traits_of([path], "plain")[path].layout is None


def test_a_folder_follows_a_layout_only_if_nearly_all_of_its_names_do() -> None:
    mixed = [Path(f"/mine/p226_00{i}.wav") for i in range(2)] + [Path("/mine/take.wav")]
    assert {each.layout for each in traits_of(mixed).values()} == {None}
    assert traits_of(mixed, "voicebank")[mixed[0]].speaker == "vctk-p226"


def test_esc50_classes_come_from_its_table(tmp_path: Path) -> None:
    for i, name in enumerate(["1-100032-A-0", "1-100032-B-0", "1-110389-A-10"]):
        write(tmp_path / f"ESC-50/audio/{name}.wav", hiss(0.1, 8000, seed=i), 8000)
    (tmp_path / "ESC-50/meta").mkdir()
    (tmp_path / "ESC-50/meta/esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n"
        "1-100032-A-0.wav,1,0,dog,True,100032,A\n1-100032-B-0.wav,1,0,dog,True,100032,B\n"
        "1-110389-A-10.wav,1,10,rain,True,110389,A\n"
    )
    for root in (tmp_path / "ESC-50", tmp_path / "ESC-50/audio"):
        found, _ = find_recordings([root])
        assert [each.label for each in found] == ["dog", "dog", "rain"]
    for seed in range(5):  # takes of one clip are never on both sides
        sides = split(found, share=0.4, seed=seed)
        assert sorted(len(side) for side in sides) == [1, 2]


# Rules


def test_speakers_by_folder_pattern_and_table(tmp_path: Path) -> None:
    for i, name in enumerate(["anna/s1/1.wav", "ben/s1/2.wav"]):
        write(tmp_path / name, voice(0.1, 8000, seed=i), 8000)

    def speakers(rule: str) -> list[str | None]:
        return [each.speaker for each in find_recordings([tmp_path], speakers=SpeakerRule(rule))[0]]

    table = tmp_path / "who.csv"
    table.write_text("File;Speaker\n1.wav;A\nben/s1/2.wav;B\n")
    assert speakers("folder") == ["anna", "ben"]
    assert speakers("folder:2") == ["s1", "s1"]
    assert speakers(r"(\d)\.wav$") == ["1", "2"]
    assert speakers(r"^(?P<rest>.)(?P<speaker>..)") == ["nn", "en"]
    assert speakers(str(table)) == ["A", "B"]
    with pytest.raises(DataError, match=r"names no speaker for 1 of 2 recordings, such as .*2\.wav"):
        speakers(r"(anna)")
    with pytest.raises(DataError, match="names no speaker for 2 of 2"):
        speakers("folder:3")
    table.write_text("file,who\n1.wav,A\n")
    with pytest.raises(DataError, match=r"who\.csv: needs a column for the speaker, .* has file, who"):
        speakers(str(table))


@pytest.mark.parametrize(("rule", "message"), [("[", "no regular expression"), ("p...", "needs a group")])
def test_a_rule_that_is_none_is_refused(rule: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        SpeakerRule(rule)


def test_noise_classes_are_taken_and_left_out(tmp_path: Path) -> None:
    for i, name in enumerate(["dog/1.wav", "rain/2.wav", "fan/3.wav"]):
        write(tmp_path / name, hiss(0.1, 8000, seed=i), 8000)

    def classes(**rule) -> list[str | None]:
        return [each.label for each in find_recordings([tmp_path], labels=LabelRule(**rule))[0]]

    table = tmp_path / "classes.csv"
    table.write_text("filename,category\n1.wav,animal\n3.wav,machine\n")
    assert classes(include=("dog", "fan")) == ["dog", "fan"]
    assert classes(exclude=("rain",)) == ["dog", "fan"]
    assert classes(table=table) == ["animal", "machine", "rain"]  # in the order of the paths: dog, fan, rain
    assert classes(table=table, include=("machine",)) == ["machine"]
    with pytest.raises(DataError, match="noise class 'dogs' isn't there; did you mean dog"):
        classes(include=("dogs",))
    with pytest.raises(DataError, match="there are dog, fan, rain"):
        classes(exclude=("traffic",))
    with pytest.raises(DataError, match="no noise is left"):
        classes(exclude=("dog", "rain", "fan"))


def test_noise_classes_by_path_below_the_folder(tmp_path: Path) -> None:
    for i, name in enumerate(["dog/n.wav", "fan/n.wav", "rain/deep/n.wav"]):
        write(tmp_path / name, hiss(0.1, 8000, seed=i), 8000)
    table = tmp_path / "classes.csv"
    table.write_text(
        f"filename,category\ndog/n.wav,animal\n{tmp_path / 'fan/n.wav'},machine\nrain/deep/n.wav,weather\n"
    )
    found, _ = find_recordings([tmp_path / "dog", tmp_path], labels=LabelRule(table=table))
    # The first is found below tmp_path/dog, where its path is n.wav.
    assert [each.label for each in found] == ["dog", "machine", "weather"]
    found, _ = find_recordings([tmp_path], labels=LabelRule(table=table))
    assert [each.label for each in found] == ["animal", "machine", "weather"]


# Splitting


@given(
    owners=st.lists(st.integers(0, 8), min_size=2, max_size=60),
    share=st.floats(0.01, 0.9),
    seed=st.integers(0, 5),
)
@settings(deadline=None, max_examples=100)
def test_no_speaker_is_on_both_sides(owners: list[int], share: float, seed: int) -> None:
    voices = [recording(f"{i}.wav", 1 + i % 3, speaker=f"s{who}") for i, who in enumerate(owners)]
    if len(set(owners)) < 2:
        with pytest.raises(DataError, match="are of one speaker"):
            split(voices, share=share, seed=seed, by="speaker")
        return
    train, test = split(voices, share=share, seed=seed, by="speaker")
    assert train
    assert test
    assert sorted(train + test, key=voices.index) == voices
    assert not {each.speaker for each in train} & {each.speaker for each in test}
    assert (train, test) == split(voices, share=share, seed=seed)


def test_the_share_is_met_as_nearly_as_recordings_allow() -> None:
    voices = [recording(f"{i}.wav", 2 + i % 5) for i in range(400)]
    for share in (0.05, 0.2, 0.5):
        _, test = split(voices, share=share, seed=3)
        held = sum(each.duration_s for each in test) / sum(each.duration_s for each in voices)
        assert held == pytest.approx(share, abs=0.005)
    assert split(voices, share=0, seed=0) == (voices, [])
    assert split(voices, share=0.2, seed=0) != split(voices, share=0.2, seed=1)


@pytest.mark.parametrize(
    ("voices", "by", "message"),
    [
        ([], "recording", "clean: there are none"),
        ([recording("a.wav")], "recording", r"there is only one recording \(/r/a.wav\); add another one"),
        ([recording("a.wav", group="g"), recording("b.wav", group="g")], "recording", "were cut from one"),
        (
            [recording("a.wav"), recording("b.wav", speaker="x")],
            "speaker",
            "speaker of 1 of 2 recordings isn't known, such as /r/a.wav",
        ),
        ([recording("a.wav")], "voice", "split by auto, recording or speaker"),
    ],
)
def test_too_little_to_split_is_said(voices: list[Recording], by: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(voices, share=0.1, seed=0, by=by, what="clean")


def test_anything_with_a_recording_is_split() -> None:
    names = {"a.wav": 1, "b.wav": 2}
    train, test = split_by(list(names), recording, share=0.5, seed=0)
    assert sorted(train + test) == ["a.wav", "b.wav"]


# Cutting


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_piece_is_that_of_the_whole(tmp_path: Path, suffix: str, rate: int) -> None:
    path = write(tmp_path / f"a.{suffix}", voice(3, rate, seed=1), rate)
    source = one(path)
    whole, _ = read_audio(path, mono=True)
    truth = resample(whole, rate, RATE)
    assert length_at(source, RATE) == truth.size
    for start, n_samples in ((0, truth.size), (0, 1000), (7001, 5000), (truth.size - 3000, 3000)):
        piece = read_excerpt(source, start, n_samples, sample_rate=RATE)
        assert piece.shape == (n_samples,)
        assert np.abs(piece - truth[start : start + n_samples]).max() < 2e-3


def test_a_piece_may_reach_beyond_the_ends(tmp_path: Path) -> None:
    audio = voice(1, RATE, seed=1)
    source = one(write(tmp_path / "a.wav", audio, subtype="FLOAT"))
    late = read_excerpt(source, 0, RATE, sample_rate=RATE, delay=100)
    early = read_excerpt(source, 0, RATE, sample_rate=RATE, delay=-100)
    np.testing.assert_array_equal(late, np.concatenate([audio[100:], np.zeros(100)]))
    np.testing.assert_array_equal(early, np.concatenate([np.zeros(100), audio[:-100]]))
    with pytest.raises(SignalError, match="start must be at least 0"):
        read_excerpt(source, -1, 10, sample_rate=RATE)


def test_the_strongest_channel_is_taken(tmp_path: Path) -> None:
    audio = voice(1, RATE, seed=1)
    stereo = np.stack([-0.9 * audio, audio], 1)  # the mean all but vanishes
    source = one(write(tmp_path / "a.wav", stereo, subtype="FLOAT"))
    np.testing.assert_array_equal(read_excerpt(source, 0, RATE, sample_rate=RATE), audio)


def test_parallel_recordings_keep_to_one_channel(tmp_path: Path) -> None:
    """Two microphones: one near the speaker, one near the noise."""
    speech, noise = voice(1, RATE, seed=1), 0.8 * hiss(1, RATE, seed=2)
    clean, noisy = np.stack([speech, 0.3 * speech], 1), np.stack([speech, 0.3 * speech + noise], 1)
    sources = [
        one(write(tmp_path / f"{i}.wav", audio, subtype="FLOAT")) for i, audio in enumerate((clean, noisy))
    ]
    sizes: dict[str, Any] = {"start": 0, "n_samples": RATE, "sample_rate": RATE, "delays": (0, 0)}
    found = read_parallel(sources[0], sources[1], **sizes)
    np.testing.assert_array_equal(found[0], clean[:, 0])
    np.testing.assert_array_equal(found[1], noisy[:, 0])
    mono = one(write(tmp_path / "mono.wav", noise, subtype="FLOAT"))
    first, second = read_parallel(mono, sources[0], **sizes)
    np.testing.assert_array_equal(first, noise.astype(np.float32))
    np.testing.assert_array_equal(second, clean[:, 0])


def test_decoded_noise_is_kept_and_shared(tmp_path: Path) -> None:
    source = one(write(tmp_path / "a.wav", hiss(1, 8000, seed=1), 8000))
    cache = DecodedCache(tmp_path / "cache", RATE)
    whole = read_excerpt(source, 0, RATE, sample_rate=RATE)
    np.testing.assert_array_equal(cache.cut(3, source, start=0, n_samples=RATE), whole)
    source.path.unlink()
    again = DecodedCache(tmp_path / "cache", RATE)
    np.testing.assert_array_equal(again.cut(3, source, start=700, n_samples=1000), whole[700:1700])
    np.testing.assert_array_equal(again.cut(3, source, start=RATE - 10, n_samples=1000), whole[-10:])


# Pairs


@given(delay=st.integers(-700, 700), seed=st.integers(0, 20))
@settings(deadline=None, max_examples=40)
def test_a_delay_is_found_in_noise(delay: int, seed: int) -> None:
    speech = voice(2, RATE, seed=seed)
    late = np.roll(np.pad(speech, 800), delay)
    noisy = late + 0.7 * hiss(2.1, RATE, seed=seed + 100)[: late.size] * (rms(speech) / 0.1)
    found = estimate_delay(np.pad(speech, 800), noisy.astype(np.float32), 1000)
    assert abs(found.delay - delay) <= 1
    assert found.contrast > 12


def test_a_delay_needs_signals() -> None:
    with pytest.raises(SignalError, match="needs two signals"):
        estimate_delay(np.zeros(0, np.float32), np.zeros(5, np.float32), 3)


def noisy_of(speech: np.ndarray, seed: int) -> np.ndarray:
    return speech + 0.3 * hiss(speech.size / RATE, RATE, seed=seed)


def test_pairs_in_folders_are_checked(tmp_path: Path) -> None:
    """Every kind of bad pair, beside a good one."""
    noisy, clean = tmp_path / "noisy", tmp_path / "clean"
    speech = {name: voice(2, RATE, seed=i) for i, name in enumerate("abcdefg")}
    for name, audio in speech.items():
        write(clean / f"{name}.wav", audio)
    write(noisy / "a.flac", noisy_of(speech["a"], 1))  # another format is fine
    write(noisy / "b.wav", noisy_of(np.pad(speech["b"], (37, 0))[: 2 * RATE], 2))
    write(noisy / "c.wav", noisy_of(speech["c"][: 2 * RATE - 8000], 3))
    write(noisy / "d.wav", hiss(2, RATE, seed=4))
    write(noisy / "e.wav", np.zeros(2 * RATE))
    (noisy / "f.wav").write_bytes(b"RIFF")
    write(noisy / "lonely.wav", hiss(2, RATE, seed=5))
    pairs, skipped = find_pairs(noisy, clean)
    assert [(pair.noisy.path.name, pair.clean.path.name, pair.delay) for pair in pairs] == [
        ("a.flac", "a.wav", 0)
    ]
    reasons = {each.path.name: each.reason for each in skipped}
    assert "lags the clean one by 37 samples at 16000 Hz" in reasons["b.wav"]
    assert "lengths differ: noisy 1.500 s, clean 2.000 s" in reasons["c.wav"]
    assert "nothing in common" in reasons["d.wav"]
    assert "silent" in reasons["e.wav"]
    assert "damaged" in reasons["f.wav"]
    assert "has no clean recording" in reasons["lonely.wav"]
    assert "has no noisy recording" in reasons["g.wav"]
    pairs, _ = find_pairs(noisy, clean, align=True, jobs=2)
    assert [(pair.noisy.path.name, pair.delay) for pair in pairs] == [
        ("a.flac", 0),
        ("b.wav", 37),
        ("c.wav", 0),
    ]


@pytest.mark.parametrize("late", [4800, -4800])
def test_aligned_pairs_end_where_the_shorter_one_does(late: int, tmp_path: Path) -> None:
    speech = voice(3, RATE, seed=1)
    shifted = np.pad(speech, (late, 0))[: speech.size] if late > 0 else np.pad(speech[-late:], (0, -late))
    write(tmp_path / "clean/a.wav", speech, subtype="FLOAT")
    write(tmp_path / "noisy/a.wav", noisy_of(shifted, 1) * 0.5, subtype="FLOAT")
    (pair,), _ = find_pairs(tmp_path / "noisy", tmp_path / "clean", align=True)
    assert (pair.delay, pair.length_at(RATE), pair.length_at(RATE // 2)) == (late, 43_200, 21_600)
    item = PairCutter([pair], sample_rate=RATE).make(Slot(0, 0, 0, 1, 0, pair.length_at(RATE)))
    assert isinstance(item, Item)
    for end in (slice(None, 3000), slice(-3000, None)):
        assert rms(item.noisy[end]) > 0.05
        assert np.corrcoef(item.noisy[end], item.clean[end])[0, 1] > 0.2
    offsets = item.row["clean_offset_s"], item.row["noise_offset_s"]
    assert offsets == ((0.0, 0.3) if late > 0 else (0.3, 0.0))


def test_a_drifting_pair_is_found(tmp_path: Path) -> None:
    speech = np.concatenate([voice(3, RATE, seed=i) for i in range(15)])
    slow = np.interp(np.arange(speech.size) / 1.001, np.arange(speech.size), speech)
    write(tmp_path / "clean/a.wav", speech)
    write(tmp_path / "noisy/a.wav", slow)
    pairs, skipped = find_pairs(tmp_path / "noisy", tmp_path / "clean", align=True)
    assert pairs == []
    assert "drifts" in skipped[0].reason


def test_voicebank_and_dns_names_are_paired(tmp_path: Path) -> None:
    for i, folder in enumerate(["trainset_28spk_wav", "testset_wav"]):
        for j in range(2):
            speech = voice(1, RATE, seed=10 * i + j)
            write(tmp_path / f"vb/clean_{folder}/p22{i}_00{j}.wav", speech)
            write(tmp_path / f"vb/noisy_{folder}/p22{i}_00{j}.wav", noisy_of(speech, j))
    pairs, skipped = find_pairs(tmp_path / "vb")
    assert skipped == []
    assert [(pair.side, pair.clean.speaker) for pair in pairs] == [
        ("test", "vctk-p221"),
        ("test", "vctk-p221"),
        ("train", "vctk-p220"),
        ("train", "vctk-p220"),
    ]
    speech = voice(1, RATE, seed=5)
    write(tmp_path / "dns/clean/clean_fileid_7.wav", speech)
    write(tmp_path / "dns/noisy/book_00_chp_01_reader_02_3_door_snr5_fileid_7.wav", noisy_of(speech, 3))
    pairs, _ = find_pairs(tmp_path / "dns")
    assert [(pair.clean.path.name, pair.side) for pair in pairs] == [("clean_fileid_7.wav", None)]


def test_voicebank_logs_tell_class_and_snr(tmp_path: Path) -> None:
    root = tmp_path / "vb"
    for i, folder in enumerate(["trainset_28spk_wav_16k", "trainset_56spk_wav", "testset_wav"]):
        for j in range(2):
            speech = voice(1, RATE, seed=10 * i + j)
            write(root / f"clean_{folder}/p22{i}_00{j}.wav", speech)
            write(root / f"noisy_{folder}/p22{i}_00{j}.wav", noisy_of(speech, j))
    (root / "log_trainset_28spk.txt").write_bytes(b"p220_000 cafe 10\r\n\r\nP220_001.wav ssn  2.5 dB\r\n")
    (root / "log_trainset_56spk.txt").write_bytes(
        b"\xff\xfe damaged\np221_000 bus\np221_000 babble -5\np221_000 tram 0\n"
    )
    (root / "logfiles").mkdir()
    (root / "logfiles/log_testset.txt").write_text("p222_000 living 17.5\np220_000 other 3\n")
    (root / "logfiles/log_readme.txt").write_text("name noise snr\n")
    pairs, skipped = find_pairs(root)
    told = {pair.noisy.path.stem: (pair.noisy.label, pair.snr_db) for pair in pairs}
    assert told == {
        "p220_000": ("cafe", 10.0),
        "p220_001": ("ssn", 2.5),
        "p221_000": ("babble", -5.0),
        "p221_001": (None, None),
        "p222_000": ("living", 17.5),
        "p222_001": (None, None),
    }
    assert [(each.path.name, each.reason) for each in skipped] == [
        (
            "log_trainset_56spk.txt",
            "line 1 (and 2 lines more) is no new name with a noise and an SNR",
        )
    ]
    # Two folders by name; and a folder that doesn't say of which training set it is.
    (root / "noisy_trainset_56spk_wav").rename(root / "noisy_trainset_wav")
    pairs, _ = find_pairs(root / "noisy_trainset_wav", root / "clean_trainset_56spk_wav")
    assert [pair.noisy.label for pair in pairs] == ["babble", None]


def test_the_snr_of_a_log_stands_where_none_can_be_measured(tmp_path: Path) -> None:
    speech = np.concatenate([voice(1, RATE, seed=1), np.zeros(RATE)])
    clean, noisy = (
        one(write(tmp_path / f"{name}.wav", audio))
        for name, audio in (("clean", speech), ("noisy", speech + 0.1 * hiss(2, RATE, seed=2)))
    )
    cutter = PairCutter([Pair(noisy, clean, snr_db=2.5)], sample_rate=RATE)
    rows = [cutter.make(Slot(0, i, 0, 1, i * RATE, RATE)) for i in range(2)]
    measured, told = (each.row["snr_db"] for each in rows if isinstance(each, Item))
    assert measured > 5
    assert told == 2.5


def test_pairs_in_a_table(tmp_path: Path) -> None:
    speech = voice(1, RATE, seed=5)
    write(tmp_path / "in/n.wav", noisy_of(speech, 3))
    write(tmp_path / "c.wav", speech)
    table = tmp_path / "pairs.csv"
    table.write_text("Noisy,Clean,Split,Speaker,Label\nin/n.wav,c.wav,test,anna,fan\nin/gone.wav,c.wav,,,\n")
    pairs, skipped = find_pairs(table)
    assert [(pair.side, pair.clean.speaker, pair.noisy.label) for pair in pairs] == [("test", "anna", "fan")]
    assert [(each.path.name, "no such file" in each.reason) for each in skipped] == [("gone.wav", True)]
    for text, message in (
        ("noisy,other\na,b\n", "needs a column for the clean recording"),
        ("noisy,clean\na.wav,\n", "line 2 lacks"),
        ("noisy,clean\na.wav,b.wav\na.wav,c.wav\n", "line 3 names a.wav again"),
        ("noisy,clean,side\na.wav,b.wav,dev\n", "side must be train or test. Received: dev"),
        ("noisy,clean\n", "holds no pair"),
    ):
        table.write_text(text)
        with pytest.raises(DataError, match=message):
            find_pairs(table)


# Settings


def test_ranges_in_every_spelling() -> None:
    for text in ("0.2-0.8", "0.2:0.8", "0.2..0.8", " .2 – .8", "0.2 to 0.8"):
        assert parse_range(text, what="x") == (0.2, 0.8)
    assert parse_range("-5:-2", what="x") == parse_range("-5--2", what="x") == (-5, -2)
    for text in ("", "a", "1-", "3:2", "1:2:3", "nan"):
        with pytest.raises(DataError, match="x"):
            parse_range(text, what="x")


def test_options_make_a_spec() -> None:
    given_spec = spec_from_options(
        "standard",
        use_mixing=True,
        has_responses=False,
        options={"noise_ratio": "0.2-0.8", "hop_length": 128},
    )
    assert given_spec.mixing.noise_ratio == (0.2, 0.8)
    assert given_spec.mixing.snr_db is None
    assert given_spec.mixing.second_noise > 0
    assert given_spec.stft.hop_length == 128
    plain = spec_from_options(None, use_mixing=False, has_responses=True, options={"degrade": ("clip=0.2",)})
    assert (plain.mixing.clip, plain.mixing.reverb, plain.mixing.snr_db) == (0.2, 0.5, (-5, 20))
    assert parse_probabilities(["band-limit=1"]) == {"band_limit": 1.0}
    for text in ("clip", "clip=much", "echo=0.5"):
        with pytest.raises(DataError, match="degrade"):
            parse_probabilities([text])


def test_a_number_is_a_range_of_its_own() -> None:
    for mixing in ({"snr_db": 3}, {"noise_ratio": 0.4}, {"snr_db": np.float32(2.5), "level_dbfs": -20.0}):
        ranges = {key: (value, value) for key, value in mixing.items()}
        spec = make_spec(mixing=mixing)
        assert spec == make_spec(mixing=ranges) == DatasetSpec.model_validate_json(spec.model_dump_json())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mixing": {"noise_ratio": 1.4}}, r"mixing\.noise_ratio\[0\]: must be at most 1"),
        ({"mixing": {"snr_db": True}}, r"mixing\.snr_db: must be a list"),
        ({"mixing": {"level_dbfs": 3}}, "must not exceed 0 dBFS"),
        ({"test_split": 1.0}, "test_split: must be less than 1"),
        ({"mixing": {"snr_db": (0, 5), "noise_ratio": (0, 1)}}, "not both"),
        ({"mixing": {"snr_db": (5, 0)}}, "lower end"),
        ({"mixing": {"level_dbfs": (-10, 3)}}, "must not exceed 0 dBFS"),
        ({"mixing": {"clean_only": 0.6, "noise_only": 0.6}}, "must not exceed 1"),
        ({"stft": {"hop_length": 400}}, "at most half the window"),
        ({"min_duration_s": 20}, "must not exceed max_duration_s"),
        ({"speakers": "p..."}, "needs a group"),
        ({"layout": "timit"}, "layout: must be"),
        ({"mixtuers": 3}, "mixtuers: is not a key"),
    ],
)
def test_a_wrong_setting_is_named(values: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_spec(**values)


# Planning


def plan(lengths: list[int], **options):
    defaults = {
        "stored": DatasetSpec().stored, "max_duration_s": 2.0, "mixtures": None, "hours": None, "noises": 50,
        "shard_mb": 1.0, "seed": (0, 0), "what": "train",
    }  # fmt: skip
    return plan_side(lengths, **{**defaults, **options})


@given(
    lengths=st.lists(st.integers(1, 20 * RATE), min_size=1, max_size=30),
    mixtures=st.integers(1, 5),
    seed=st.integers(0, 3),
)
@settings(deadline=None, max_examples=60)
def test_every_sample_is_in_as_many_items_as_there_are_mixtures(
    lengths: list[int], mixtures: int, seed: int
) -> None:
    made = plan(lengths, mixtures=mixtures, seed=(seed, 0))
    covered = [np.zeros(n, int) for n in lengths]
    for slot in made.slots():
        assert 1 <= slot.samples <= 2 * RATE
        covered[slot.recording][slot.start : slot.start + slot.samples] += 1
    assert all((each == mixtures).all() for each in covered)
    in_shards = [slot for shard in range(made.n_shards) for slot in made.slots(shard)]
    assert in_shards == list(made.slots())
    pieces = {(slot.recording, slot.piece, slot.mixture) for slot in in_shards}
    assert len(pieces) == made.items


def test_hours_are_met() -> None:
    lengths = [(5 + i % 7) * RATE for i in range(200)]
    total = sum(lengths) / RATE / 3600
    for hours, mixtures in ((0.3 * total, None), (2.6 * total, None), (1.5 * total, 4)):
        made = plan(lengths, hours=hours, mixtures=mixtures)
        assert made.samples.sum() / RATE / 3600 == pytest.approx(hours, abs=12 / 3600)
    with pytest.raises(DataError, match=r"train: 2 h are asked for, but .* with 1 mixtures of each"):
        plan(lengths, hours=2, mixtures=1)
    with pytest.raises(DataError, match=r"3 mixtures of each recording need as many .* there are 2"):
        plan(lengths, mixtures=3, noises=2)


def test_the_bytes_of_a_plan_are_those_of_its_spectra() -> None:
    made, stored = plan([RATE, 7 * RATE + 5]), DatasetSpec().stored
    spectra = [
        to_stored(spectrogram(np.zeros((2, slot.samples), np.float32), stored)).nbytes
        for slot in made.slots()
    ]
    assert sum(spectra) <= made.bytes <= sum(spectra) + 200 * made.items


# Mixing


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Recording], list[Recording]]:
    """Three voices and five noises, as float files, one of them of another rate and one very short."""
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(3):
        write(folder / f"clean/{i}.wav", voice(2, RATE, seed=i), subtype="FLOAT")
    for i in range(4):
        write(folder / f"noise/{i}.wav", hiss(3 if i else 0.4, RATE, seed=20 + i), subtype="FLOAT")
    write(folder / "noise/4.wav", hiss(3, 44100, seed=30), 44100, subtype="FLOAT")
    return find_recordings([folder / "clean"])[0], find_recordings([folder / "noise"])[0]


def mixer(corpus: tuple[list[Recording], list[Recording]], cache: Path | None = None, **mixing) -> ItemMixer:
    return ItemMixer(
        corpus[0], corpus[1], (), mixing=ItemMixing.model_validate(mixing), sample_rate=RATE,
        longest=10 * RATE, seed=(0, 0), cache=cache,
    )  # fmt: skip


def slot_of(recording: int = 0, mixture: int = 0, mixtures: int = 1) -> Slot:
    return Slot(recording, 0, mixture, mixtures, 0, 2 * RATE)


def made(maker: ItemMixer, slot: Slot) -> Item:
    item = maker.make(slot)
    assert isinstance(item, Item)
    return item


def test_a_mixture_is_what_its_row_says(corpus) -> None:
    """Speech and noise are read again as the row names them, and mixed by the formula."""
    for number in range(8):
        item = made(mixer(corpus, snr_db=(-5, 20)), slot_of(number % 3, number, 8))
        row, by_path = item.row, {str(each.path): each for each in (*corpus[0], *corpus[1])}
        speech = read_excerpt(by_path[row["clean"]], 0, 2 * RATE, sample_rate=RATE)
        source = by_path[row["noise"]]
        whole = read_excerpt(source, 0, length_at(source, RATE), sample_rate=RATE)
        noise = np.take(whole, round(row["noise_offset_s"] * RATE) + np.arange(2 * RATE), mode="wrap")
        gain = active_rms(speech) / rms(noise) * 10 ** (-row["snr_db"] / 20)
        noisy = speech + gain * noise
        scale = min(1.0, PEAK / np.abs(noisy).max(), PEAK / np.abs(speech).max())
        np.testing.assert_allclose(item.noisy, scale * noisy, atol=2e-4)
        np.testing.assert_allclose(item.clean, scale * speech, atol=1e-5)
        assert -5 <= row["snr_db"] <= 20
        assert row["noisy_peak"] == pytest.approx(np.abs(item.noisy).max(), abs=1e-5)
        assert row["noisy_peak"] <= PEAK + 1e-5
        assert row["clean_rms_db"] == pytest.approx(20 * np.log10(rms(item.clean)), abs=1e-2)
        assert row["samples"] == item.noisy.size == 2 * RATE


def test_a_mixture_by_ratio_is_what_its_row_says(corpus) -> None:
    item = made(mixer(corpus, noise_ratio=(0.2, 0.8)), slot_of(1))
    row, ratio = item.row, item.row["noise_ratio"]
    by_path = {str(each.path): each for each in corpus[1]}
    speech = read_excerpt(corpus[0][1], 0, 2 * RATE, sample_rate=RATE)
    source = by_path[row["noise"]]
    whole = read_excerpt(source, 0, length_at(source, RATE), sample_rate=RATE)
    noise = np.take(whole, round(row["noise_offset_s"] * RATE) + np.arange(2 * RATE), mode="wrap")
    assert 0.2 <= ratio <= 0.8
    np.testing.assert_allclose(item.noisy, ratio * noise + (1 - ratio) * speech, atol=2e-4)
    np.testing.assert_allclose(item.clean, (1 - ratio) * speech, atol=1e-5)
    snr_db = 20 * np.log10(active_rms((1 - ratio) * speech) / rms(ratio * noise))
    assert row["snr_db"] == pytest.approx(snr_db, abs=0.02)


def test_mixtures_of_a_piece_all_have_another_noise(corpus) -> None:
    maker = mixer(corpus)
    used = [made(maker, slot_of(2, mixture, 5)).row["noise"] for mixture in range(5)]
    assert len(set(used)) == 5


def test_an_item_depends_on_its_slot_alone(corpus, tmp_path: Path) -> None:
    """Neither on what was made before, nor on where decoded noise is kept."""
    everything: dict[str, Any] = dict.fromkeys(set(DEGRADATIONS) - {"clean_only", "noise_only"}, 0.5)
    slots = [slot_of(i % 3, i // 3, 5) for i in range(12)]
    forwards = mixer(corpus, **everything)
    backwards = mixer(corpus, **everything)
    first = [made(forwards, slot) for slot in slots]
    for item, again in zip(first, reversed([made(backwards, slot) for slot in reversed(slots)]), strict=True):
        np.testing.assert_array_equal(item.noisy, again.noisy)
        np.testing.assert_array_equal(item.clean, again.clean)
        assert item.row == again.row
        assert np.abs(item.noisy).max() <= PEAK + 1e-6
        assert np.isfinite(item.noisy).all()
    assert len({item.noisy.tobytes() for item in first}) == 12
    plain = [made(mixer(corpus), slot) for slot in slots[:3]]
    kept = [made(mixer(corpus, cache=tmp_path), slot) for slot in slots[:3]]
    for item, again in zip(plain, kept, strict=True):
        np.testing.assert_allclose(item.noisy, again.noisy, atol=2e-4)


def test_speech_alone_and_noise_alone(corpus) -> None:
    alone = made(mixer(corpus, clean_only=1.0), slot_of())
    np.testing.assert_array_equal(alone.noisy, alone.clean)
    assert (alone.row["noise"], alone.row["label"], alone.row["noise_ratio"]) == (None, None, 0.0)
    noise = made(mixer(corpus, noise_only=1.0), slot_of())
    assert not noise.clean.any()
    assert noise.noisy.any()
    assert (noise.row["snr_db"], noise.row["noise_ratio"], noise.row["clean_rms_db"]) == (None, 1.0, None)


def test_levels_are_drawn_where_asked(corpus) -> None:
    item = made(mixer(corpus, level_dbfs=(-30, -30)), slot_of())
    assert 20 * np.log10(rms(item.noisy)) == pytest.approx(-30, abs=0.01)


def test_bad_noise_is_replaced_and_named(corpus, tmp_path: Path) -> None:
    path = write(tmp_path / "damaged.flac", hiss(3, RATE, seed=1))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    broken = one(path)
    path.write_bytes(bytes(data))
    silent = one(write(tmp_path / "silent.wav", np.zeros(RATE)))
    maker = mixer((corpus[0], [broken, silent, corpus[1][1]]), cache=tmp_path / "cache")
    for mixture in range(3):
        assert made(maker, slot_of(0, mixture, 3)).row["noise"] == str(corpus[1][1].path)
    problems = {each.path.name: each.reason for each in maker.take_problems()}
    assert "damaged" in problems["damaged.flac"]
    assert "silent" in problems["silent.wav"]
    assert maker.take_problems() == []
    with pytest.raises(DataError, match="none of the 2 noises can be used"):
        mixer((corpus[0], [broken, silent])).make(slot_of())


def test_bad_speech_is_left_out_and_named(corpus, tmp_path: Path) -> None:
    silent = one(write(tmp_path / "silent.wav", np.zeros(2 * RATE)))
    found = mixer(([silent], corpus[1])).make(slot_of())
    assert isinstance(found, Skipped)
    assert found.reason == "is silent from 0.00 s to 2.00 s"
    gone = dataclasses.replace(silent, path=tmp_path / "gone.wav")
    found = mixer(([gone], corpus[1])).make(slot_of())
    assert isinstance(found, Skipped)
    assert "no such file" in found.reason


# The stored form


def decibels(signal: np.ndarray, error: np.ndarray) -> float:
    return float(10 * np.log10(np.square(signal, dtype=float).sum() / np.square(error, dtype=float).sum()))


@pytest.mark.parametrize(("level_db", "without_scale_db"), [(0, 76), (-20, 77), (-60, 68), (-90, 40)])
def test_what_is_lost_can_not_be_heard(level_db: float, without_scale_db: float) -> None:
    """Float16 with the scale keeps 75 dB at any level; without it quiet recordings suffer, in 8 bits all."""
    settings = DatasetSpec().stored
    speech = voice(3, RATE, seed=1)
    audio = (speech / np.abs(speech).max() * 10 ** (level_db / 20)).astype(np.float32)

    def back(stored: np.ndarray, scale: float) -> float:
        spectra = np.ascontiguousarray(stored.astype(np.float32)).view(np.complex64)[..., 0]
        again = from_stored(spectra, dataclasses.replace(settings, scale=scale), audio.size)
        return decibels(audio, again - audio)

    assert back(to_stored(spectrogram(audio, settings)), SCALE) > 75
    without = back(to_stored(spectrogram(audio, settings), 1.0), 1.0)
    assert without == pytest.approx(without_scale_db, abs=1)
    parts = np.ascontiguousarray(spectrogram(audio, settings)).view(np.float32).reshape(-1, 257, 2)
    eight_bits = (parts * 2.0**8).astype(ml_dtypes.float8_e4m3fn)
    assert back(eight_bits.astype(np.float32), 2.0**8) < 35


@given(st.lists(st.floats(-65504, 65504, width=32), max_size=40))
@settings(deadline=None)
def test_rounding_is_to_the_nearest_half(numbers: list[float]) -> None:
    exact = np.array(numbers, np.float64)
    out = np.empty(exact.shape, np.float16)
    round_to_half(exact.astype(np.float32), out)
    nearest = exact.astype(np.float32).astype(np.float16)
    np.testing.assert_array_equal(np.signbit(out), np.signbit(nearest))
    # Numbers half-way between two may go to either; below 2⁻¹⁴ float32 itself has no more bits than 2⁻³⁷.
    np.testing.assert_allclose(np.abs(out - exact), np.abs(nearest - exact), rtol=0, atol=2.0**-37)


def test_rounding_of_every_half_and_of_what_lies_between() -> None:
    halves = np.arange(0x7BFF, dtype=np.uint16)
    below, above = (each.view(np.float16).astype(np.float32) for each in (halves, halves + np.uint16(1)))
    middle = (below + above) / 2
    for numbers, expected in (
        (below, halves),
        (np.nextafter(middle, np.float32(0)), halves),
        (middle, halves + 1),
        (np.nextafter(middle, np.float32(1e6)), halves + 1),
    ):
        normal = slice(0x0400, None)
        for sign in (1, -1):
            out = np.empty(numbers.shape, np.float16)
            round_to_half(sign * numbers, out)
            np.testing.assert_array_equal((out.view(np.uint16) & 0x7FFF)[normal], expected[normal])
            assert (np.signbit(out) == (sign < 0)).all()
            np.testing.assert_allclose(
                np.abs(out.astype(np.float64) - sign * numbers.astype(np.float64)),
                np.abs(numbers.astype(np.float16).astype(np.float64) - numbers),
                rtol=0,
                atol=2.0**-37,
            )


@pytest.mark.parametrize(
    "stft", [(512, 256, 512, "sqrt_hann"), (1024, 200, 800, "hann"), (254, 63, 250, "hamming")]
)
@pytest.mark.parametrize("n_samples", [1, 255, 40_000])
def test_the_fast_way_stores_the_same(stft: tuple, n_samples: int) -> None:
    n_fft, hop, win, window = stft
    stft_of = StoredStft(RATE, n_fft, hop, win, window, SCALE)
    encoder = Encoder(stft_of)
    for seed in range(2):  # the second time with memory that was used
        audio = hiss(n_samples / RATE, RATE, seed=seed)
        truth = to_stored(spectrogram(audio, stft_of)).astype(float)
        stored = encoder.encode(audio)
        assert stored.shape == truth.shape
        assert np.abs(stored - truth).max() <= 2**-10 * np.abs(truth).max()


def test_the_error_stays_below_the_signal_in_every_frame_and_band() -> None:
    """Noise 60 dB below a bin of the same frame is masked by it: nothing to hear in pauses either."""
    settings = DatasetSpec().stored
    audio = voice(3, RATE, seed=1) + hiss(3, RATE, seed=2) * np.float32(1e-3)
    spectrum = spectrogram(audio, settings)
    stored = to_stored(spectrum).astype(np.float32).view(np.complex64)[..., 0] / SCALE
    relative_db = 20 * np.log10(np.abs(stored - spectrum) / np.abs(spectrum) + 1e-12)
    assert relative_db.max() < -63


def test_full_scale_and_beyond_fit() -> None:
    settings = DatasetSpec().stored
    for level in (1.0, 1.9, 50.0):
        stored = to_stored(spectrogram(np.full(4000, level, np.float32), settings))
        assert np.isfinite(stored).all()
    assert np.abs(to_stored(spectrogram(np.full(4000, 1.9, np.float32), settings))).max() < 65504

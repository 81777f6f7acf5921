"""Recordings of phones and cameras, which FFmpeg's decoders read: whole, cut, damaged, misnamed."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from recordings import coded

from audenoise import audio
from audenoise.audio import media
from audenoise.errors import AudioFileError
from audenoise.file_plan import plan_files

av = pytest.importorskip("av")
RATE = 48000


def tone(channels: int, seconds: float = 1.5) -> np.ndarray:
    """A sweep, whose delay shows."""
    time = np.arange(round(seconds * RATE)) / RATE
    first = 0.4 * np.sin(2 * np.pi * (200 + 400 * time) * time)
    return np.stack([first * (1 - 0.3 * i) for i in range(channels)], 1).astype(np.float32)


def message(path: Path) -> str:
    with pytest.raises(AudioFileError) as caught:
        audio.audio_info(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "coder", "channels", "container", "subtype"),
    [
        ("a.m4a", "aac", 2, "MOV", "AAC"),
        ("a.MP4", "aac", 1, "MOV", "AAC"),
        ("a.webm", "libopus", 2, "MATROSKA", "OPUS"),
        ("a.mkv", "flac", 2, "MATROSKA", "FLAC"),
        ("misnamed.wav", "aac", 2, "MOV", "AAC"),
        ("12:30 Größe.m4a", "aac", 1, "MOV", "AAC"),
    ],
)
def test_a_sound_track_is_read_without_delay(
    tmp_path: Path, name: str, coder: str, channels: int, container: str, subtype: str
) -> None:
    samples = tone(channels)
    made = coded(tmp_path / f"made{'.mp4' if name == 'misnamed.wav' else Path(name).suffix}", samples, coder)
    path = made.rename(tmp_path / name)
    info = audio.audio_info(path)
    assert (info.sample_rate, info.channels) == (RATE, channels)
    assert (info.format, info.subtype) == (container, subtype)
    assert 0 <= info.n_samples - len(samples) < 1024  # the last frame may be filled up
    assert info.tags["title"] == "Memo"
    read, rate = audio.read_audio(path)
    assert read.shape == (info.n_samples, channels)
    assert rate == RATE
    error = read[: len(samples)] - samples
    assert np.mean(error**2) < 0.01 * np.mean(samples**2)


def test_a_part_is_that_part_of_the_whole(tmp_path: Path) -> None:
    path = coded(tmp_path / "a.m4a", tone(2), "aac")
    whole, _ = audio.read_audio(path)
    with audio.AudioReader(path) as reader:
        for start in (30_000, 1_000, 65_000):
            part = np.concatenate(list(reader.blocks(700, start=start, n_samples=3_000)))
            np.testing.assert_array_equal(part, whole[start : start + 3_000])


def test_what_is_cut_damaged_or_no_sound_is_refused(tmp_path: Path) -> None:
    whole = coded(tmp_path / "a.mkv", tone(2), "flac").read_bytes()
    cut, text, silent = tmp_path / "cut.mkv", tmp_path / "text.m4a", tmp_path / "silent.mp4"
    cut.write_bytes(whole[: len(whole) // 3])
    assert "is cut short" in message(cut)
    text.write_text("hello, I am no recording")
    assert "is not audio that can be read here" in message(text)
    with av.open(str(silent), "w") as container:
        track = container.add_stream("mpeg4", rate=10)
        track.width = track.height = 64
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux([*track.encode(picture), *track.encode(None)])
    assert "it has no audio track" in message(silent)
    header = coded(tmp_path / "b.m4a", tone(1), "aac").read_bytes()[:2000]
    (tmp_path / "head.m4a").write_bytes(header)
    assert "has no audio that can be decoded" in message(tmp_path / "head.m4a")


def test_without_pyav_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = coded(tmp_path / "a.m4a", tone(1), "aac")
    found = importlib.util.find_spec
    monkeypatch.setattr(media.importlib.util, "find_spec", lambda name: None if name == "av" else found(name))
    assert "pip install av" in message(path)
    others: list[AudioFileError] = []
    assert audio.find_audio(tmp_path, on_error=others.append) == []
    assert "pip install av" in str(others[0])


def test_results_are_wav_and_none_takes_the_name_of_another(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    coded(tmp_path / "in/talk.m4a", tone(1), "aac")
    shutil.copy(tmp_path / "in/talk.m4a", tmp_path / "in/memo.m4a")
    sf.write(tmp_path / "in/talk.wav", tone(1), RATE)
    pairs = plan_files([tmp_path / "in"], tmp_path / "out")
    names = {pair.source.name: pair.target.name for pair in pairs}
    assert names == {"memo.m4a": "memo.wav", "talk.m4a": "talk.m4a.wav", "talk.wav": "talk.wav"}

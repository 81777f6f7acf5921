"""Files of every kind, whole, damaged and hostile; blocks, atomic writes, and resampling."""

import contextlib
import errno
import os
import resource
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audenoise import audio
from audenoise.errors import AudioFileError, SignalError

LOSSY = [("ogg", "VORBIS", 48000), ("opus", "OPUS", 48000), ("mp3", "MPEG_LAYER_III", 44100)]
RATES = [8000, 11025, 16000, 22050, 24000, 32000, 44100, 44101, 48000, 96000]
EXACT = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 24, "FLOAT": None, "DOUBLE": None}


def noise(*shape: int, seed: int = 0, peak: float = 0.9) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-peak, peak, shape).astype(np.float32)


def message(call, *args, **options) -> str:
    """The one line with which a call fails."""
    with pytest.raises(AudioFileError) as caught:
        call(*args, **options)
    text = str(caught.value)
    assert text.isprintable()
    return text


def read_in_blocks(path: Path, size: int = 4096) -> np.ndarray:
    with audio.AudioReader(path) as reader:
        return np.concatenate(list(reader.blocks(size)))


def test_two_runs_through_one_reader_do_not_disturb_each_other(tmp_path):
    samples = noise(1000, 1)
    audio.write_audio(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    with audio.AudioReader(tmp_path / "a.wav") as reader:
        first, second = reader.blocks(10), reader.blocks(10, start=500)
        read = [(next(first), next(second)) for _ in range(5)]
    np.testing.assert_array_equal(np.concatenate([a for a, _ in read]), samples[:50])
    np.testing.assert_array_equal(np.concatenate([b for _, b in read]), samples[500:550])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from([(s, t) for s in ("wav", "flac", "w64", "aiff") for t in EXACT]),
    rate=st.integers(1000, 65535),
    channels=st.integers(1, 8),
    n_samples=st.integers(1, 3000),
    block=st.integers(1, 4000),
)
def test_lossless_formats_give_back_every_bit(tmp_path, kind, rate, channels, n_samples, block):
    suffix, subtype = kind
    path = tmp_path / f"a.{suffix}"
    if not sf.check_format(suffix.upper(), subtype) or (suffix == "aiff" and EXACT[subtype] == 8):
        assert "can't hold" in message(
            audio.AudioWriter, path, sample_rate=rate, channels=channels, subtype=subtype
        )
        return
    signal = noise(n_samples, channels, peak=1.0)
    bits = EXACT[subtype]
    if bits:  # 32-bit integers beyond the 24 bits of a float32 can't come in
        signal = np.clip(np.rint(signal * 2.0 ** (bits - 1)) / 2.0 ** (bits - 1), -1, 1 - 2.0 ** (1 - bits))
    with audio.AudioWriter(
        path, sample_rate=rate, channels=channels, subtype=subtype, overwrite=True
    ) as writer:
        for start in range(0, n_samples, block):
            writer.write(signal[start : start + block])
    assert writer.n_written == n_samples
    info = audio.audio_info(path)
    assert (info.sample_rate, info.channels, info.n_samples, info.subtype) == (
        rate,
        channels,
        n_samples,
        subtype,
    )
    assert audio.output_format(path, info) == (info.format, subtype)
    np.testing.assert_array_equal(read_in_blocks(path, block), signal.astype(np.float32))


@pytest.mark.parametrize(("suffix", "subtype", "rate"), LOSSY)
@pytest.mark.parametrize("n_samples", [1, 1153, 100_000])
def test_lossy_formats_keep_length_and_place(tmp_path, suffix, subtype, rate, n_samples):
    path = tmp_path / f"a.{suffix}"
    signal = 0.5 * np.sin(2 * np.pi * 440 * np.arange(n_samples) / rate).astype(np.float32)
    audio.write_audio(path, np.stack([signal, 0.5 * signal], axis=1), rate)
    assert audio.audio_info(path).subtype == subtype
    got = read_in_blocks(path, 1000)
    assert got.shape == (n_samples, 2)
    middle = slice(5000, 95_000)  # codecs need a moment at the ends
    if n_samples == 100_000:
        assert np.abs(got[middle, 0] - signal[middle]).max() < 0.05
    # Blocks of another size and reading from the middle give the same samples, in an MP3 too (see `reader`).
    np.testing.assert_array_equal(read_in_blocks(path, 65_536), got)
    for start in (n_samples // 20, n_samples // 2):
        part, _ = audio.read_audio(path, start=start, n_samples=7000)
        np.testing.assert_allclose(part, got[start : start + 7000], atol=1e-5)


def test_reading_parts_and_rates(tmp_path):
    signal = noise(48000, 2)
    audio.write_audio(tmp_path / "a.wav", signal, 48000, subtype="FLOAT")
    got, rate = audio.read_audio(tmp_path / "a.wav", sample_rate=16000, mono=True)
    assert (got.shape, got.dtype, rate) == ((16000,), np.float32, 16000)
    np.testing.assert_allclose(got, soxr.resample(signal.mean(axis=1), 48000, 16000), atol=1e-5)
    part, _ = audio.read_audio(tmp_path / "a.wav", start=47990, n_samples=100)
    np.testing.assert_array_equal(part, signal[47990:])
    with pytest.raises(SignalError, match="start=48000"):
        audio.read_audio(tmp_path / "a.wav", start=48000)


def test_output_format_keeps_what_the_container_can(tmp_path):
    def kept(source: str, subtype: str, target: str) -> tuple[str, str]:
        return audio.output_format(tmp_path / target, audio.AudioInfo(16000, 1, 1, source, subtype))

    assert kept("WAV", "DOUBLE", "b.WAV") == ("WAV", "DOUBLE")
    assert kept("WAVEX", "PCM_24", "b.wav") == ("WAVEX", "PCM_24")
    assert kept("WAV", "PCM_24", "b.flac") == ("FLAC", "PCM_24")
    assert kept("WAV", "FLOAT", "b.flac") == ("FLAC", "PCM_24")
    assert kept("WAV", "PCM_U8", "b.flac") == ("FLAC", "PCM_S8")
    assert kept("MP3", "MPEG_LAYER_III", "b.wav") == ("WAV", "PCM_16")
    assert kept("WAV", "FLOAT", "b.ogg") == ("OGG", "VORBIS")
    assert kept("WAV", "IMA_ADPCM", "b.wav") == ("WAV", "PCM_16")  # would change the length
    assert kept("OGG", "OPUS", "b.ogg") == ("OGG", "OPUS")
    assert kept("OGG", "VORBIS", "b.opus") == ("OGG", "OPUS")
    assert ".flac" in message(audio.output_format, tmp_path / "b.m4a")


def test_find_audio(tmp_path):
    for name in ("b.WAV", "a.flac", "sub/c.Mp3", "sub/notes.txt", ".hidden.wav", ".git/d.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    assert audio.find_audio(tmp_path) == [tmp_path / name for name in ("a.flac", "b.WAV", "sub/c.Mp3")]
    assert audio.find_audio(tmp_path / "sub" / "notes.txt") == [tmp_path / "sub" / "notes.txt"]
    assert "no such" in message(audio.find_audio, tmp_path / "none")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3", "aiff", "w64", "rf64", "au", "caf"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.01])
def test_a_cut_file_is_never_read_as_a_whole_one(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    audio.write_audio(path, noise(48000, 2), 48000)
    read_in_blocks(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    text = message(read_in_blocks, path)
    assert str(path) in text
    assert "cut short" in text or "header" in text or "not audio" in text


def test_damage_inside_a_flac_file_is_found(tmp_path):
    path = tmp_path / "a.flac"
    audio.write_audio(path, noise(48000), 48000)
    content = bytearray(path.read_bytes())
    content[40000:40100] = bytes(100)
    path.write_bytes(content)
    assert "damaged" in message(read_in_blocks, path)


def test_files_of_unknown_length_are_read_to_the_end(tmp_path):
    signal = noise(48000, 2)
    # A WAV written to a pipe: the sizes are the largest there are, or a little less.
    audio.write_audio(tmp_path / "a.wav", signal, 48000)
    expected = read_in_blocks(tmp_path / "a.wav")
    for size in (0xFFFFFFFF, 0x7FFFFFFF - 36):
        content = bytearray((tmp_path / "a.wav").read_bytes())
        content[4:8] = content[40:44] = struct.pack("<I", size)
        (tmp_path / "pipe.wav").write_bytes(content)
        np.testing.assert_array_equal(read_in_blocks(tmp_path / "pipe.wav"), expected)
    # A FLAC written to a pipe: the number of samples, 36 bits from byte 21, is zero.
    audio.write_audio(tmp_path / "a.flac", signal, 48000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    (tmp_path / "pipe.flac").write_bytes(content)
    for size in (1000, 4097, 65536):
        np.testing.assert_array_equal(read_in_blocks(tmp_path / "pipe.flac", size), expected)


@pytest.mark.parametrize("loud_first", [False, True])
def test_an_mp3_without_its_length_tag_loses_nothing_silently(tmp_path, loud_first):
    # libsndfile guesses the length from the first frames, far too long after a quiet start, too short after a
    # loud one, and doesn't read past the guess.
    loudness = np.linspace(0, 1, 240_000)[:, None] ** 4
    signal = noise(240_000, 2) * (loudness[::-1] if loud_first else loudness).astype(np.float32)
    sf.write(tmp_path / "tag.mp3", signal, 48000, bitrate_mode="VARIABLE", compression_level=0.5)
    content = (tmp_path / "tag.mp3").read_bytes()
    first = content.find(content[:2], 100)
    (tmp_path / "a.mp3").write_bytes(content[first:])
    if loud_first:
        assert "length tag" in message(read_in_blocks, tmp_path / "a.mp3")
    else:
        got = read_in_blocks(tmp_path / "a.mp3")
        assert audio.audio_info(tmp_path / "a.mp3").n_samples == len(got)
        assert 240_000 <= len(got) < 240_000 + 3 * 1152


def _wav(**changes: int) -> bytes:
    fields = {"kind": 1, "channels": 1, "rate": 16000, "bytes": 32000, "align": 2, "bits": 16} | changes
    body = (
        b"fmt "
        + struct.pack("<IHHIIHH", 16, *fields.values())
        + b"data"
        + struct.pack("<I", 200)
        + bytes(200)
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("empty.wav", b"", "0 bytes"),
        ("text.wav", b"hello world\n" * 99, "not audio"),
        ("noise.mp3", np.random.default_rng(0).bytes(100_000), "not audio"),
        ("zeros.flac", bytes(5000), "not audio"),
        ("bytes.raw", bytes(5000), "not audio"),
        ("bytes.gsm", bytes(5000), "not audio"),
        ("four.wav", b"RIFF", "header"),
        ("0hz.wav", _wav(rate=0), "header"),
        ("1hz.wav", _wav(rate=1), "1 Hz"),
        ("2ghz.wav", _wav(rate=2_000_000_000), "2000000000 Hz"),
        ("0ch.wav", _wav(channels=0, align=0), "header"),
        ("64kch.wav", _wav(channels=65535), "header"),
        ("codec.wav", _wav(kind=0x1234), "header"),
        ("none.wav", _wav()[:40] + bytes(4), "no samples"),
    ],
)
def test_what_is_no_audio_is_refused_in_one_line(tmp_path, name, content, word):
    path = tmp_path / name
    path.write_bytes(content)
    text = message(read_in_blocks, path)
    assert text.startswith(f"{path}: ")
    assert word in text


def test_a_million_channels_are_refused(tmp_path):
    header = b".snd" + struct.pack(">IIIII", 24, 0xFFFFFFFF, 3, 16000, 10**6) + bytes(10**5)
    (tmp_path / "many.au").write_bytes(header)
    message(read_in_blocks, tmp_path / "many.au")


def test_a_recording_that_was_broken_off_is_not_called_empty(tmp_path):
    path = tmp_path / "dead-battery.wav"
    audio.write_audio(path, noise(1000), 16000)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = bytes(4)
    path.write_bytes(content)
    text = message(read_in_blocks, path)
    assert "the header says 0 samples, but 2000 bytes follow: the recording was broken off" in text


def test_what_macos_lays_beside_a_recording_is_not_looked_into(tmp_path):
    path = tmp_path / "speech.mp3"
    audio.write_audio(path, noise(16000), 16000)
    expected, _ = audio.read_audio(path)
    (tmp_path / "._speech.mp3").write_bytes(b"x")
    for _ in range(3):
        found, rate = audio.read_audio(path)
        np.testing.assert_array_equal(found, expected)
    assert rate == 16000
    assert audio.find_audio(tmp_path) == [path]
    message(read_in_blocks, tmp_path / "._speech.mp3")


def test_missing_files_folders_and_odd_names(tmp_path):
    assert "no such file" in message(audio.audio_info, tmp_path / "none.wav")
    assert "is an address, not a file" in message(audio.audio_info, Path("https://example.org/a.wav"))
    assert "Leave the quotes out" in message(audio.audio_info, tmp_path / "*.wav")
    assert "is a folder" in message(audio.audio_info, tmp_path)
    os.mkfifo(tmp_path / "fifo.wav")
    assert "regular file" in message(audio.audio_info, tmp_path / "fifo.wav")
    assert "\\n" in message(audio.audio_info, tmp_path / "a\nb.wav")
    odd = tmp_path / os.fsdecode(b"caf\xe9 \xf0\x9f\x8e\xa4.wav")  # not UTF-8
    audio.write_audio(odd, noise(100), 16000)
    assert odd in audio.find_audio(tmp_path)
    assert len(read_in_blocks(odd)) == 100


@pytest.fixture
def unprivileged(tmp_path):
    """Permissions don't bind root."""
    if os.geteuid() != 0:
        yield
        return
    parents = [folder for folder in tmp_path.parents if not folder.stat().st_mode & 0o001]
    modes = [folder.stat().st_mode for folder in parents]
    for folder in parents:
        folder.chmod(0o711)
    os.seteuid(65534)
    yield
    os.seteuid(0)
    for folder, mode in zip(parents, modes, strict=True):
        folder.chmod(mode)


def test_no_permission(tmp_path, request):
    path = tmp_path / "a.wav"
    audio.write_audio(path, noise(100), 16000)
    path.chmod(0o000)
    tmp_path.chmod(0o555)
    request.getfixturevalue("unprivileged")
    assert "no permission to read" in message(audio.audio_info, path)
    assert "no permission to write" in message(audio.write_audio, tmp_path / "b.wav", noise(9), 16000)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_samples(tmp_path, bad):
    signal = noise(10000, 2)
    signal[9000, 1] = bad
    sf.write(tmp_path / "a.wav", signal, 16000, subtype="FLOAT")
    text = message(read_in_blocks, tmp_path / "a.wav")
    assert "sample 9000 (0.562 s)" in text or "sample 9000 (0.563 s)" in text
    with pytest.raises(SignalError, match="NaN or infinite"):
        audio.write_audio(tmp_path / "b.wav", signal, 16000)
    assert sorted(os.listdir(tmp_path)) == ["a.wav"]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "FLOAT"])
def test_samples_beyond_full_scale_are_clipped_not_wrapped(tmp_path, subtype):
    signal = np.array([[1.5], [-1.5], [1.0], [-1.0], [40.0], [0.25]], np.float32)
    with audio.AudioWriter(tmp_path / "a.wav", sample_rate=8000, channels=1, subtype=subtype) as writer:
        writer.write(signal)
    got, _ = audio.read_audio(tmp_path / "a.wav", mono=True)
    expected = signal[:, 0] if subtype == "FLOAT" else np.clip(signal[:, 0], -1, 1)
    assert writer.n_clipped == (0 if subtype == "FLOAT" else 3)
    np.testing.assert_allclose(got, expected, atol=0.03 if subtype == "ULAW" else 2 / 256)


@pytest.mark.parametrize(
    ("name", "rate", "channels", "word"),
    [
        ("a.mp3", 96000, 1, "48000 Hz"),
        ("a.mp3", 48000, 3, "1 to 2 channels"),
        ("a.ogg", 48000, 300, "1 to 255 channels"),
        ("a.ogg", 250_000, 1, "200000 Hz"),
        ("a.opus", 44100, 2, "48000"),
        ("a.flac", 48000, 9, "1 to 8 channels"),
        ("a.flac", 65537, 1, "multiples of 10"),
        ("a.wav", 48000, 2000, "channels"),
        ("a.wav", 10**7, 1, "1000000 Hz"),
        ("none/a.wav", 48000, 1, "folder doesn't exist"),
    ],
)
def test_what_a_format_cannot_carry_is_refused_before_writing(tmp_path, name, rate, channels, word):
    assert word in message(audio.AudioWriter, tmp_path / name, sample_rate=rate, channels=channels)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [
        ("a.ogg", 200_000, 1),
        ("a.ogg", 1000, 255),
        ("a.flac", 655_350, 8),
        ("a.wav", 10**6, 1024),
        ("a.mp3", 8000, 2),
    ],
)
def test_what_is_allowed_can_be_written(tmp_path, name, rate, channels):
    audio.write_audio(tmp_path / name, noise(500, channels), rate)
    assert read_in_blocks(tmp_path / name).shape == (500, channels)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.wav"

    def interrupt(error: type[BaseException], overwrite: bool) -> None:
        with audio.AudioWriter(path, sample_rate=16000, channels=1, overwrite=overwrite) as writer:
            writer.write(noise(200))
            assert path.exists() == overwrite
            raise error

    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error):
            interrupt(error, overwrite=False)
        assert os.listdir(tmp_path) == []
    assert "no samples" in message(audio.write_audio, path, noise(0), 16000)
    audio.write_audio(path, noise(100), 16000)
    before = path.read_bytes()
    assert "exists already" in message(audio.write_audio, path, noise(200), 16000)
    with pytest.raises(KeyboardInterrupt):
        interrupt(KeyboardInterrupt, overwrite=True)
    assert path.read_bytes() == before
    audio.write_audio(path, noise(200), 16000, overwrite=True)
    assert audio.audio_info(path).n_samples == 200
    assert os.listdir(tmp_path) == ["a.wav"]
    (tmp_path / "b.wav").mkdir()
    assert "is a folder" in message(audio.write_audio, tmp_path / "b.wav", noise(9), 16000, overwrite=True)


def test_two_writers_of_one_name_dont_destroy_each_other(tmp_path):
    path = tmp_path / "a.wav"

    def both():
        with audio.AudioWriter(path, sample_rate=16000, channels=1) as writer:
            writer.write(noise(100))
            audio.write_audio(path, noise(50), 16000)

    assert "exists already" in message(both)
    assert audio.audio_info(path).n_samples == 50
    assert os.listdir(tmp_path) == ["a.wav"]


@pytest.mark.parametrize(
    ("suffix", "n_samples"),
    [("wav", 200_000), ("flac", 200_000), ("flac", 3500), ("ogg", 200_000), ("mp3", 200_000)],
)
def test_a_full_disk_leaves_nothing(tmp_path, suffix, n_samples):
    # A limit on the size of files makes the system refuse writes as a full disk does. 3500 samples are all
    # still in libsndfile's buffer when the file is closed, and libsndfile says nothing.
    path, limit = tmp_path / f"a.{suffix}", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limit[1]))
    try:
        text = message(audio.write_audio, path, noise(n_samples, 2), 48000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "can't be written" in text
    assert os.listdir(tmp_path) == []


def test_a_full_disk_at_the_last_sync(tmp_path, monkeypatch):
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    assert "No space left" in message(audio.write_audio, tmp_path / "a.wav", noise(9), 16000)
    assert os.listdir(tmp_path) == []


def test_a_wav_beyond_4_gib(tmp_path, monkeypatch):
    options = {"sample_rate": 48000, "channels": 2, "subtype": "FLOAT"}
    assert audio.AudioWriter(tmp_path / "a.wav", n_samples=2**29 - 2**14, **options).format == "WAV"
    with audio.AudioWriter(tmp_path / "a.wav", n_samples=2**29, **options) as writer:
        writer.write(noise(100, 2))
    assert audio.audio_info(tmp_path / "a.wav").format == "RF64"
    assert len(read_in_blocks(tmp_path / "a.wav")) == 100
    monkeypatch.setattr("audenoise.audio.writer._WAV_MAX_BYTES", 1000)
    with audio.AudioWriter(tmp_path / "b.wav", **options) as writer:
        writer.write(noise(100, 2))
        assert "4 GiB" in message(writer.write, noise(100, 2))


@settings(max_examples=40, deadline=None)
@given(
    from_rate=st.sampled_from(RATES),
    to_rate=st.sampled_from(RATES),
    n_samples=st.integers(1, 20000),
    channels=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_resampling_in_blocks_equals_one_shot(from_rate, to_rate, n_samples, channels, seed):
    rng = np.random.default_rng(seed)
    signal = noise(n_samples, channels, seed=seed)
    expected = soxr.resample(signal, from_rate, to_rate)
    n_expected = int(np.floor(n_samples * to_rate / from_rate + 0.5))
    stream = audio.StreamResampler(from_rate, to_rate, channels)
    for _ in range(2):  # the second round shows that flush starts afresh
        parts, position = [], 0
        while position < n_samples:
            size = int(rng.integers(0, 5000))
            parts.append(stream.process(signal[position : position + size]))
            position += size
        got = np.concatenate([*parts, stream.flush()])
        assert len(got) == n_expected == audio.resampled_length(n_samples, from_rate, to_rate)
        assert abs(len(expected) - n_expected) <= 1
        np.testing.assert_allclose(got[: len(expected)], expected[: len(got)], atol=1e-5)
    whole = audio.resample(signal, from_rate, to_rate)
    assert whole.shape == (n_expected, channels)
    np.testing.assert_allclose(whole[: len(expected)], expected[:n_expected], atol=1e-5)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(44100, 48000), (48000, 16000), (16000, 44100)])
def test_resampling_has_no_delay(from_rate, to_rate):
    # A tone inside both bands comes out as the same tone, at the same phase.
    signal, expected = (np.sin(2 * np.pi * 997 * np.arange(rate) / rate) for rate in (from_rate, to_rate))
    got = audio.resample(signal.astype(np.float32), from_rate, to_rate)
    assert got.shape == expected.shape
    middle = slice(to_rate // 10, -to_rate // 10)
    assert np.abs(got[middle] - expected[middle]).max() < 1e-4


def test_a_damaged_mp3_is_one_line_and_nobody_elses_line_is_lost(tmp_path: Path, capfd: Any) -> None:
    rng = np.random.default_rng(3)
    path = tmp_path / "damaged.mp3"
    sf.write(path, 0.2 * rng.standard_normal(4 * 44100), 44100)
    data = bytearray(path.read_bytes())
    for place in rng.integers(2000, len(data), 400):
        data[place] = rng.integers(256)
    path.write_bytes(data)
    done, enough = threading.Event(), threading.Event()

    def others() -> None:
        count = 0
        while not done.wait(0.0005):
            os.write(2, b"other %d\n" % count)
            count += 1
            if count > 10:
                enough.set()
        os.write(2, b"last %d\n" % count)

    thread = threading.Thread(target=others)
    thread.start()
    try:
        for reads in range(200):  # on a busy machine others come late
            with contextlib.suppress(AudioFileError):
                audio.read_audio(path)
            if reads >= 4 and enough.is_set():
                break
    finally:
        done.set()
        thread.join()
    lines = capfd.readouterr().err.splitlines()
    (count,) = (int(line.removeprefix("last ")) for line in lines if line.startswith("last "))
    assert sorted(lines) == sorted([f"other {number}" for number in range(count)] + [f"last {count}"])
    assert count > 10

"""Pitch, voicing, onsets and loudness against sounds that are known, and pieces against the whole."""

import numpy as np
import pytest
from recordings import hiss, voice

from audenoise.conditioning import (
    COLUMNS,
    CONTEXT_S,
    PITCH_FLOOR_HZ,
    VOICED,
    conditioning_features,
    pitch,
)
from audenoise.errors import SignalError

SIZES = [(48000, 480), (48000, 256), (44100, 441), (16000, 160), (22050, 300), (8000, 80)]


def vowel(pitch_hz: float | np.ndarray, n: int, rate: int) -> np.ndarray:
    """Pulses at a pitch through three resonances, peak 0.3."""
    from scipy.signal import lfilter

    turns = np.cumsum(np.broadcast_to(pitch_hz, n)) / rate
    audio = np.diff(np.floor(turns), prepend=0)
    for formant, width in ((600, 80), (1200, 100), (2500, 120)):
        radius = np.exp(-np.pi * width / rate)
        audio = np.asarray(
            lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * formant / rate), radius**2], audio)
        )
    return (0.3 * audio / np.abs(audio).max()).astype(np.float32)


def features(audio: np.ndarray, rate: int, hop: int) -> dict[str, np.ndarray]:
    found = conditioning_features(audio, rate, hop_length=hop, n_frames=audio.size // hop + 1)
    assert found.dtype == np.float32
    return dict(zip(COLUMNS, found.T, strict=True))


@pytest.mark.parametrize(("rate", "hop"), SIZES)
def test_pitch_of_vowels(rate: int, hop: int) -> None:
    for pitch_hz in (55.0, 80.0, 120.0, 210.0, 330.0, 500.0):
        found = {
            name: values[20:-20] for name, values in features(vowel(pitch_hz, rate, rate), rate, hop).items()
        }
        estimate = PITCH_FLOOR_HZ * 2 ** found["pitch_octaves"]
        np.testing.assert_allclose(estimate, pitch_hz, rtol=0.01)
        assert found["voicing"].min() > 0.8


def test_pitch_of_a_glide_in_noise() -> None:
    rate, hop = 48000, 480
    course = np.geomspace(100, 300, 2 * rate)
    audio = vowel(course, 2 * rate, rate)
    audio = audio + hiss(2, rate, seed=1) * np.float32(0.5 * np.sqrt(np.square(audio).mean()) / 0.1)
    found = features(audio, rate, hop)
    estimate = PITCH_FLOOR_HZ * 2 ** found["pitch_octaves"]
    error = np.abs(estimate[:-1] / course[::hop] - 1)
    assert np.median(error) < 0.01
    assert np.mean(error < 0.05) > 0.95


@pytest.mark.parametrize(("rate", "hop"), SIZES)
def test_noise_and_silence_have_no_pitch(rate: int, hop: int) -> None:
    noise = features(hiss(1, rate, seed=0), rate, hop)
    assert np.mean(noise["voicing"] >= VOICED) < 0.02
    silence = features(np.zeros(rate, np.float32), rate, hop)
    assert all(np.abs(values).max() < 1e-6 for values in silence.values())
    quiet = features(1e-6 * vowel(120.0, rate, rate), rate, hop)
    assert quiet["voicing"].max() < VOICED  # nobody hears it


@pytest.mark.parametrize(("rate", "hop"), SIZES)
def test_onsets_are_where_the_clicks_are(rate: int, hop: int) -> None:
    places = (np.array([0.2, 0.45, 0.8]) * rate).astype(int)
    audio = 0.01 * hiss(1, rate, seed=2)
    audio[places] += 0.5
    strength = features(audio, rate, hop)["onset"]
    spread = max(2, round(0.012 * rate / hop))
    for place in places / hop:
        near = slice(int(place) - spread, int(place) + spread + 2)
        assert strength[near].max() > 1
        strength[near] = 0
    assert strength[round(0.05 * rate / hop) :].max() < 0.5  # the noise itself begins at 0
    # The level doesn't matter, what rises does; and what falls away is no onset.
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)
    tone[: rate // 4] = tone[rate // 2 :] = 0
    strength = features(tone, rate, hop)["onset"]
    assert abs(strength.argmax() * hop - rate / 4) < 0.02 * rate
    assert strength[round(0.3 * rate / hop) : round(0.45 * rate / hop)].max() < 0.01


@pytest.mark.parametrize(("rate", "hop"), SIZES)
def test_loudness_is_a_weighted(rate: int, hop: int) -> None:
    # IEC 61672: 0 dB at 1 kHz, -19.1 at 100 Hz, +1.2 at 2 kHz. At 100 Hz the weight changes within the
    # bandwidth of a frame of 20 ms.
    time = np.arange(rate) / rate
    for frequency, weight_db in ((1000, 0.0), (100, -19.1), (2000, 1.2)):
        for level_db in (0.0, -20.0):
            tone = 10 ** (level_db / 20) * np.sin(2 * np.pi * frequency * time).astype(np.float32)
            found = features(tone, rate, hop)["loudness"][10:-10]
            np.testing.assert_allclose(
                80 * (found - 1), weight_db + level_db, atol=0.2 if weight_db > -1 else 1
            )


@pytest.mark.parametrize(("rate", "hop"), [(48000, 256), (44100, 441), (16000, 160), (16000, 800)])
def test_pieces_equal_the_whole(rate: int, hop: int) -> None:
    audio = (voice(2.3, rate, seed=1) + 0.1 * hiss(2.3, rate, seed=2)).astype(np.float32)
    n_frames, context = audio.size // hop + 1, -(-int(CONTEXT_S * rate) // hop)
    whole = conditioning_features(audio, rate, hop_length=hop, n_frames=n_frames)
    pieces = []
    for start in range(0, n_frames, 37):
        first, stop = max(0, start - context), min(n_frames, start + 37)
        piece = audio[first * hop : (stop + context) * hop]
        found = conditioning_features(piece, rate, hop_length=hop, n_frames=stop - first)
        pieces.append(found[start - first :])
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5)


def test_a_frame_sees_no_further_than_its_context() -> None:
    rate, hop = 16000, 800
    audio = voice(1, rate, seed=1)
    changed = audio.copy()
    changed[8000 + int(CONTEXT_S * rate) :] = 0
    changed[: 8000 - int(CONTEXT_S * rate)] = 0
    first, second = (
        conditioning_features(each, rate, hop_length=hop, n_frames=21) for each in (audio, changed)
    )
    np.testing.assert_allclose(first[10], second[10], atol=1e-6)
    assert not np.allclose(first[5], second[5])


def test_any_length_has_as_many_frames_as_asked() -> None:
    for n in (0, 1, 7, 500):
        for n_frames in (0, 1, 40):
            audio = np.full(n, 0.1, np.float32)
            found = conditioning_features(audio, 16000, hop_length=160, n_frames=n_frames)
            assert found.shape == (n_frames, 4)
            assert np.isfinite(found).all()
    frequency_hz, voicing = pitch(vowel(200.0, 8000, 16000), 16000, hop_length=160, n_frames=51)
    assert frequency_hz.shape == voicing.shape == (51,)


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(SignalError, match="one channel of finite floats"):
        conditioning_features(np.full(9, np.nan, np.float32), 16000, hop_length=160, n_frames=1)
    for rate, hop, n_frames in ((3000, 10, 1), (16000, 0, 1), (16000, 900, 1), (16000, 160, -1)):
        with pytest.raises(SignalError, match="are needed"):
            conditioning_features(np.zeros(9, np.float32), rate, hop_length=hop, n_frames=n_frames)

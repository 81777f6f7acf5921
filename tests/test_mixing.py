"""Mixing and degradation against closed forms and the properties that training relies on."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audenoise import degradation
from audenoise.errors import SignalError
from audenoise.mixing import active_rms, loop_to_length, mix_at_ratio, mix_at_snr, rms

RATE = 16000


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


def tone(n: int, frequency: float = 440.0, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(n) / RATE)).astype(np.float32)


def test_ratio_is_a_weighted_sum_with_its_target() -> None:
    clean, other = tone(1000), noise(1000)
    noisy, target = mix_at_ratio(clean, other, 0.25)
    np.testing.assert_allclose(noisy, 0.25 * other + 0.75 * clean, atol=1e-7)
    np.testing.assert_allclose(target, 0.75 * clean, atol=1e-7)
    assert noisy.dtype == target.dtype == np.float32
    np.testing.assert_array_equal(mix_at_ratio(clean, other, 0)[0], clean)
    np.testing.assert_array_equal(mix_at_ratio(clean, other, 1)[0], other)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_ratio_outside_its_range_is_refused(ratio: float) -> None:
    with pytest.raises(SignalError, match="noise_ratio must be between 0 and 1"):
        mix_at_ratio(tone(10), noise(10), ratio)


@settings(max_examples=30, deadline=None)
@given(snr_db=st.floats(-40, 40), level=st.floats(1e-4, 10), seed=st.integers(0, 99))
def test_snr_is_what_was_asked_and_only_the_noise_is_scaled(snr_db: float, level: float, seed: int) -> None:
    clean, other = tone(4000), noise(4000, seed) * np.float32(level)
    added = mix_at_snr(clean, other, snr_db) - clean
    # A tone of amplitude 1/2 has power 1/8. The floor is rounding: the tone's least significant bit.
    assert 10 * np.log10(0.125 / np.mean(np.square(added, dtype=np.float64))) == pytest.approx(
        snr_db, abs=0.1
    )
    assert np.corrcoef(added, other)[0, 1] > 0.999


def test_pauses_do_not_count_as_speech() -> None:
    speech = tone(RATE)
    with_pause = np.concatenate([speech, np.zeros(3 * RATE, np.float32)])
    assert active_rms(speech) == pytest.approx(0.5 / np.sqrt(2), rel=1e-4)
    assert active_rms(with_pause) == pytest.approx(active_rms(speech), rel=1e-6)
    assert rms(with_pause) == pytest.approx(rms(speech) / 2, rel=1e-6)
    other = noise(4 * RATE)
    added = mix_at_snr(with_pause, other, 0.0) - with_pause
    assert rms(added) == pytest.approx(active_rms(speech), rel=1e-4)


def test_activity_reaches_forty_decibels_down() -> None:
    for drop_db, counted in ((35, True), (45, False)):
        quiet = tone(RATE) * np.float32(10 ** (-drop_db / 20))
        level = active_rms(np.concatenate([tone(RATE), quiet]))
        assert (level < 0.9 * active_rms(tone(RATE))) == counted


@pytest.mark.parametrize("n", [1, 100, 319, 320, 321])
def test_active_rms_is_zero_only_for_silence(n: int) -> None:
    assert active_rms(np.zeros(n, np.float32)) == 0.0
    impulse = np.zeros(n, np.float32)
    impulse[-1] = 1e-6
    assert active_rms(impulse) > 0.0


def test_silence_and_unequal_lengths_are_refused() -> None:
    silence = np.zeros(100, np.float32)
    with pytest.raises(SignalError, match="clean: is silent"):
        mix_at_snr(silence, noise(100), 0)
    with pytest.raises(SignalError, match="noise: is silent"):
        mix_at_snr(noise(100), silence, 0)
    for mix in (mix_at_snr, mix_at_ratio):
        with pytest.raises(SignalError, match=r"same length\. Received: 100, 99"):
            mix(noise(100), noise(99), 0.5)


@settings(max_examples=50, deadline=None)
@given(size=st.integers(1, 20), n=st.integers(0, 60), offset=st.integers(0, 40))
def test_loop_repeats_without_a_gap(size: int, n: int, offset: int) -> None:
    audio = np.arange(size, dtype=np.float32)
    np.testing.assert_array_equal(loop_to_length(audio, n, offset), (np.arange(n) + offset) % size)


def test_nothing_cannot_be_looped() -> None:
    with pytest.raises(SignalError, match="empty"):
        loop_to_length(np.zeros(0, np.float32), 10)


# --- degradation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_random_filters_are_mild_and_keep_length_and_level(seed: int) -> None:
    rng = np.random.default_rng(seed)
    b, a = degradation.random_filter(rng)
    assert np.abs(np.roots(a)).max() < 1  # stable
    assert np.abs(np.roots(b)).max() < 1  # so it can be undone
    audio = noise(2000) * np.float32(0.1)
    filtered = degradation.equalise(audio, (b, a))
    assert filtered.shape == audio.shape
    assert rms(filtered) == pytest.approx(rms(audio), rel=1e-4)
    impulse = degradation.equalise(np.eye(1, 100, 50, dtype=np.float32)[0], (b, a))
    assert not impulse[:50].any()
    assert np.abs(impulse).argmax() == 50  # no delay
    assert not degradation.equalise(np.zeros(100, np.float32), (b, a)).any()


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(500, 5000))
def test_colour_keeps_length_level_and_range(seed: int, n: int) -> None:
    audio = noise(n)
    coloured = degradation.colour(np.random.default_rng(seed), audio, 9.0)
    assert coloured.shape == audio.shape
    assert coloured.dtype == audio.dtype
    assert rms(coloured) == pytest.approx(rms(audio), rel=1e-4)
    gain_db = 20 * np.log10(np.abs(np.fft.rfft(coloured)) / np.abs(np.fft.rfft(audio)))[1:-1]
    assert np.ptp(gain_db) <= 18.1  # the level is restored, so only the span is known
    same = degradation.colour(np.random.default_rng(seed), audio, 0.0)
    np.testing.assert_allclose(same, audio, atol=1e-5)
    assert not degradation.colour(np.random.default_rng(seed), np.zeros(n, np.float32), 9.0).any()


@given(seed=st.integers(0, 2**32 - 1))
def test_modulation_swells_and_fades_within_twenty_decibels(seed: int) -> None:
    audio = np.ones(2 * RATE, np.float32)
    swelling = degradation.modulate(np.random.default_rng(seed), audio, RATE)
    assert swelling.dtype == np.float32
    assert 0.0999 <= swelling.min() < swelling.max() <= 1
    assert np.abs(np.diff(swelling)).max() < 0.01  # no step that would click


def test_band_limits_pass_and_stop() -> None:
    limits = {"low_hz": 300.0, "high_hz": 4000.0, "sample_rate": RATE}
    gains = {}
    for frequency in (50.0, 1000.0, 7000.0):
        audio = tone(RATE, frequency)
        limited = degradation.band_limit(audio, low_hz=300.0, high_hz=4000.0, sample_rate=RATE)
        assert limited.shape == audio.shape
        assert limited.dtype == np.float32
        gains[frequency] = 20 * np.log10(rms(limited[RATE // 2 :]) / rms(audio))
    assert gains[50.0] < -25, limits
    assert abs(gains[1000.0]) < 0.2
    assert gains[7000.0] < -60
    np.testing.assert_array_equal(
        degradation.band_limit(noise(100), low_hz=0, high_hz=RATE / 2, sample_rate=RATE), noise(100)
    )


def test_speed_shifts_pitch_and_tempo_alike() -> None:
    audio = tone(RATE, 400.0)
    fast = degradation.change_speed(audio, RATE // 2)
    assert fast.shape == (RATE // 2,)
    np.testing.assert_allclose(fast, tone(RATE // 2, 800.0), atol=1e-3)
    assert degradation.change_speed(audio, RATE) is audio


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 1.0, 2.0])
def test_coloured_noise_has_its_slope_and_unit_rms(exponent: float) -> None:
    n = 4 * RATE
    audio = degradation.coloured_noise(np.random.default_rng(0), n, exponent)
    assert audio.dtype == np.float32
    assert rms(audio) == pytest.approx(1.0, rel=1e-5)
    power, frequency = np.abs(np.fft.rfft(audio)) ** 2, np.fft.rfftfreq(n, 1 / RATE)
    edges = np.geomspace(50, 8000, 15)
    bands = [(frequency >= low) & (frequency < high) for low, high in itertools.pairwise(edges)]
    levels = [np.log(power[band].mean()) for band in bands]
    slope = np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), levels, 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.1)


def test_simulated_rooms_lie_in_their_range() -> None:
    ratios, lengths = [], []
    for seed in range(40):
        response = degradation.simulate_room(np.random.default_rng(seed), RATE)
        assert response[0] == 1.0
        assert np.isfinite(response).all()
        ratios.append(-10 * np.log10(np.square(response[1:]).sum()))
        lengths.append((response.size - 1) / RATE)
        late, early = (np.square(part).sum() for part in np.split(response[1:], [response.size // 2])[::-1])
        assert late < 0.1 * early  # it decays
    assert -3.01 <= min(ratios) < 2
    assert 12 < max(ratios) <= 15.01
    assert 0.099 <= min(lengths) < 0.2
    assert 0.6 < max(lengths) <= 0.7


def test_the_target_of_a_room_is_its_early_part() -> None:
    speech = np.zeros(RATE, np.float32)
    speech[100] = 1.0
    response = np.zeros(8000, np.float32)
    response[[0, 320, 720, 1600]] = [1.0, 0.5, 0.4, 0.3]  # 0, 20, 45 and 100 ms
    wet, target = degradation.reverberate(speech, response, RATE)
    assert wet.shape == target.shape == speech.shape
    np.testing.assert_allclose(wet[[100, 420, 820, 1700]], [1.0, 0.5, 0.4, 0.3], atol=1e-6)
    np.testing.assert_allclose(target[[100, 420, 1700]], [1.0, 0.5, 0.0], atol=1e-6)
    assert 0.15 < target[820] < 0.25  # half-way down the fade
    assert np.abs(wet[:100]).max() < 1e-6  # not delayed, not early


def test_a_short_response_is_all_early() -> None:
    wet, target = degradation.reverberate(noise(500), np.array([1.0, 0.3, -0.2], np.float32), RATE)
    np.testing.assert_array_equal(wet, target)
    np.testing.assert_allclose(wet, np.convolve(noise(500), [1.0, 0.3, -0.2])[:500], atol=1e-5)


def test_a_measured_response_is_cut_to_its_direct_sound() -> None:
    response = np.array([0, 0.001, -0.5, 0.25, 0.1], np.float32)
    np.testing.assert_allclose(degradation.trim_response(response), [-1, 0.5, 0.2], atol=1e-6)


def test_clipping_stops_at_its_share_of_the_peak() -> None:
    audio = tone(1000)
    clipped = degradation.clip(audio, 0.4)
    assert np.abs(clipped).max() == pytest.approx(0.4 * np.abs(audio).max(), rel=1e-6)
    inside = np.abs(audio) < 0.39 * np.abs(audio).max()
    np.testing.assert_array_equal(clipped[inside], audio[inside])

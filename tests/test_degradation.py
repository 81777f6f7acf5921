"""The chain of degradations: each effect against what it says it does, and the laws that all of them keep."""

import json

import numpy as np
import pytest
from recordings import hiss, voice

from audenoise import degradation
from audenoise.degradation.bands import at_rate
from audenoise.degradation.coders import rates_below
from audenoise.degradation.drawing import DRAWERS
from audenoise.errors import SignalError, SpecError
from audenoise.mixing import active_rms, rms
from audenoise.specs.degradation import BOTH_SIDES, DegradationSpec, parse_degradation

RATE = 48000
KINDS = tuple(DRAWERS)


def tone(frequency: float, n: int = RATE, rate: int = RATE, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(n) / rate)).astype(np.float32)


def impulse(n: int = RATE, place: int = 1000) -> np.ndarray:
    return (0.9 * (np.arange(n) == place)).astype(np.float32)


def gain_db(changed: np.ndarray, audio: np.ndarray, frequency: float, rate: int = RATE) -> float:
    """Gain at one frequency, from the spectra of both."""
    place = round(frequency * audio.size / rate)
    return 20 * np.log10(abs(np.fft.rfft(changed)[place]) / abs(np.fft.rfft(audio)[place]))


def delay_samples(changed: np.ndarray, audio: np.ndarray) -> int:
    """Lag of the largest cross-correlation."""
    size = 2 * max(changed.size, audio.size)
    match = np.fft.irfft(np.fft.rfft(changed, size) * np.conj(np.fft.rfft(audio, size)))
    lag = int(np.argmax(match))
    return lag if lag < size // 2 else lag - size


def strongest_hz(audio: np.ndarray, rate: int = RATE) -> float:
    """Frequency of the highest peak, between bins by a parabola over the logarithm."""
    level = np.log(np.abs(np.fft.rfft(audio * np.hanning(audio.size))) + 1e-12)
    k = int(level[1:-1].argmax()) + 1
    left, middle, right = level[k - 1 : k + 2]
    return (k + 0.5 * (left - right) / (left - 2 * middle + right)) * rate / audio.size


def only(kind: str, **settings) -> DegradationSpec:
    return parse_degradation({"effects": [{"kind": kind, "probability": 1, **settings}]})


def degrade(kind: str, audio: np.ndarray, *, rate: int = RATE, seed: int = 0, settings=None, **given):
    spec = only(kind, **(settings or {}))
    drawn = degradation.draw(spec, np.random.default_rng(seed), sample_rate=rate, n_samples=audio.size)
    return degradation.apply(drawn, audio, rate, **given)


# --- what holds for all of them -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [16000, 44100])
def test_any_length_is_kept_and_all_is_finite(kind: str, rate: int) -> None:
    for seed, n in enumerate((1, 2, 3, 127, 4001, 12345)):
        audio = voice(0.5, rate, seed=1)[-n:] if n > 3 else np.full(n, 0.3, np.float32)
        audio = np.resize(audio, n)
        before = audio.copy()
        degraded, target = degrade(kind, audio, rate=rate, seed=seed, noise=hiss(0.1, rate, seed=3))
        for each in (degraded, target):
            assert each.shape == (n,), n
            assert each.dtype == np.float32
            assert np.isfinite(each).all()
        np.testing.assert_array_equal(audio, before)


@pytest.mark.parametrize("kind", KINDS)
def test_silence_stays_silent(kind: str) -> None:
    for seed in range(3):
        degraded, target = degrade(kind, np.zeros(5001, np.float32), seed=seed, noise=hiss(1, RATE, seed=0))
        assert not degraded.any()
        assert not target.any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_bytes_also_through_json(kind: str) -> None:
    audio = voice(0.5, RATE, seed=2)
    given = {"noise": hiss(0.5, RATE, seed=1), "responses": [hiss(0.1, RATE, seed=2)]}
    settings = {"packet_loss": {"share": [0.5, 0.5]}, "dropouts": {"per_second": [50, 50]}}.get(kind, {})
    rng = np.random.default_rng(5)
    drawn = degradation.draw(only(kind, **settings), rng, sample_rate=RATE, n_samples=audio.size)
    replayed = degradation.Draw.from_dict(json.loads(json.dumps(drawn.to_dict())))
    assert replayed == drawn
    first, second = (degradation.apply(each, audio, RATE, **given) for each in (drawn, replayed))
    for one, other in zip(first, second, strict=True):
        assert one.tobytes() == other.tobytes()
    assert not np.array_equal(first[0], audio)


@pytest.mark.parametrize("kind", sorted(BOTH_SIDES))
def test_augmentation_changes_both_sides_alike(kind: str) -> None:
    audio = voice(0.5, RATE, seed=1)
    degraded, target = degrade(kind, audio, seed=1)
    np.testing.assert_array_equal(degraded, target)
    assert not np.allclose(target, audio, atol=1e-3)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - BOTH_SIDES))
def test_all_else_leaves_the_target_alone(kind: str) -> None:
    audio = voice(0.5, RATE, seed=1)
    np.testing.assert_array_equal(degrade(kind, audio, seed=1)[1], audio)


# --- the chain ----------------------------------------------------------------------------------------------


def test_probabilities_are_what_was_asked() -> None:
    spec, rng = DegradationSpec(), np.random.default_rng(0)
    draws = [degradation.draw(spec, rng, sample_rate=RATE, n_samples=RATE) for _ in range(600)]
    kinds = [step.kind for drawn in draws for step in drawn.steps]
    for effect in spec.effects:
        spread = np.sqrt(effect.probability * (1 - effect.probability) / len(draws))
        assert kinds.count(effect.kind) / len(draws) == pytest.approx(effect.probability, abs=4 * spread)
    order = [effect.kind for effect in spec.effects]
    assert all(
        order.index(a.kind) < order.index(b.kind)
        for drawn in draws
        for a, b in zip(drawn.steps, drawn.steps[1:], strict=False)
    )


def test_what_is_drawn_for_one_effect_does_not_hang_on_the_others() -> None:
    data = DegradationSpec().model_dump(mode="json")
    for effect in data["effects"]:
        effect["probability"] = 1.0
    drawn = []
    for probability in (0.0, 1.0):
        data["effects"][0]["probability"] = probability
        rng = np.random.default_rng(4)
        drawn.append(degradation.draw(parse_degradation(data), rng, sample_rate=RATE, n_samples=9))
    assert drawn[0].steps == drawn[1].steps[1:]


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_the_default_chain_goes_through_at_any_rate(rate: int) -> None:
    audio, spec = voice(1, rate, seed=4), DegradationSpec()
    for seed in range(12):
        drawn = degradation.draw(spec, np.random.default_rng(seed), sample_rate=rate, n_samples=audio.size)
        degraded, target = degradation.apply(drawn, audio, rate)
        assert degraded.shape == target.shape == audio.shape
        assert np.isfinite(degraded).all()
        assert 0.1 < rms(degraded) / rms(audio) < 3


def test_room_first_or_later_gives_back_the_same_early_part() -> None:
    audio = voice(0.5, RATE, seed=1)
    room = {"kind": "room", "probability": 1, "target": "early", "simulated": 0}
    clip = {"kind": "clip", "probability": 1, "modes": ["hard"], "share": [0.05, 0.05]}
    responses = [np.array([1, 0, 0, 0.5], np.float32)]
    for effects in ([room, clip], [clip, room]):
        spec = parse_degradation({"effects": effects})
        drawn = degradation.draw(spec, np.random.default_rng(1), sample_rate=RATE, n_samples=audio.size)
        degraded, target = degradation.apply(drawn, audio, RATE, responses=responses)
        expected = np.convolve(audio, responses[0])[: audio.size]
        np.testing.assert_allclose(target, expected * (rms(audio) / rms(expected)), atol=1e-5)
        assert not np.allclose(degraded, target, atol=1e-3)


@pytest.mark.parametrize(
    ("effect", "message"),
    [
        ({"kind": "band_limit", "cutoff_hz": [5000, 400]}, r"effects\[0\]\.cutoff_hz: must be \[low, high\]"),
        ({"kind": "clip", "share": [0, 2]}, r"effects\[0\]\.share: must be \[low, high\] within 0 to 0\.9"),
        ({"kind": "clip", "probability": 1.5}, r"effects\[0\]\.probability: must be at most 1"),
        ({"kind": "room", "simulate": 1}, r"effects\[0\]\.simulate: is not a key"),
        ({"kind": "codec", "coders": ["aac"]}, r"effects\[0\]\.coders\[0\]: must be 'mp3'"),
        ({"kind": "ban"}, r"effects\[0\]\.kind: must be 'time_stretch'"),
        ({"probability": 1}, r"effects\[0\]\.kind: is missing"),
    ],
)  # fmt: skip
def test_a_wrong_spec_is_refused_by_its_key(effect: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_degradation({"effects": [effect]})


def test_both_sides_come_first() -> None:
    with pytest.raises(SpecError, match=r"effects\[1\]\.kind: pitch_shift .* before clip"):
        parse_degradation({"effects": [{"kind": "clip"}, {"kind": "pitch_shift"}]})
    spec = DegradationSpec()
    assert parse_degradation(json.loads(json.dumps(spec.model_dump(mode="json")))) == spec


def test_a_wrong_draw_is_refused_by_its_key() -> None:
    good = {"sample_rate": RATE, "n_samples": 9, "steps": [{"kind": "time_stretch", "speed": 1.1}]}
    assert degradation.Draw.from_dict(good).to_dict() == good
    for entry, message in (
        ({"kind": "nothing"}, r"steps\[0\]\.kind: must be one of"),
        ({"kind": "time_stretch"}, r"steps\[0\]\.speed: is missing"),
        ({"kind": "time_stretch", "speed": 1, "depth": 2}, r"steps\[0\]\.depth: is no parameter"),
        ({"kind": "reverb", "wet_db": 1}, r"steps\[0\]\.damping: is missing"),
    ):
        with pytest.raises(SpecError, match=message):
            degradation.Draw.from_dict({**good, "steps": [entry]})
    with pytest.raises(SpecError, match="steps: is missing"):
        degradation.Draw.from_dict({"sample_rate": RATE, "n_samples": 9})


def test_audio_that_cannot_be_degraded_is_refused() -> None:
    drawn = degradation.Draw(RATE, 9)
    bad = np.zeros(0, np.float32), np.zeros((9, 2), np.float32), np.zeros(9, int), np.array([np.nan])
    for audio in bad:
        with pytest.raises(SignalError, match="one channel of finite floats"):
            degradation.apply(drawn, audio, RATE)
    with pytest.raises(SignalError, match="draw's, 48000 Hz"):
        degradation.apply(drawn, np.zeros(9, np.float32), 16000)


# --- rooms --------------------------------------------------------------------------------------------------


def test_a_measured_room_is_convolved_from_its_direct_sound_on() -> None:
    audio, response = voice(0.2, RATE, seed=1), np.zeros(400, np.float32)
    response[[0, 5, 50, 300]] = [0.01, -0.8, 0.4, 0.2]  # 5 samples until the direct sound, poles swapped
    wet, target = degrade("room", audio, settings={"simulated": 0}, responses=[response])
    expected = np.zeros(audio.size)
    for delay, gain in ((0, 1.0), (45, -0.5), (295, -0.25)):
        expected[delay:] += gain * audio[: audio.size - delay]
    np.testing.assert_allclose(wet, expected * rms(audio) / rms(expected), atol=1e-5)
    np.testing.assert_array_equal(target, audio)


def test_reverb_decays_as_asked_and_leaves_the_direct_sound_in_place() -> None:
    for decay_s in (0.4, 1.5):
        response = degradation.reverb_response(RATE, decay_s=decay_s, pre_delay_s=0.02, damping=0.0, seed=1)
        energy = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
        assert energy[0] == pytest.approx(1, rel=1e-3)
        assert not response[: int(0.02 * RATE)].any()
        level = 10 * np.log10(energy / energy[0] + 1e-12)
        times = [int(np.argmax(level < -drop)) / RATE for drop in (5, 35)]
        assert 2 * (times[1] - times[0]) == pytest.approx(decay_s, rel=0.15)  # Schroeder's T30
    dark, bright = (
        degradation.reverb_response(RATE, decay_s=1.0, pre_delay_s=0.0, damping=d, seed=1) for d in (0.7, 0.0)
    )
    late = slice(RATE // 4, None)
    assert strong_above(dark[late], 8000) < 0.1 * strong_above(bright[late], 8000)
    wet = degradation.algorithmic_reverb(
        impulse(), RATE, wet_db=-6.0, decay_s=1.0, pre_delay_s=0.01, damping=0.3, seed=2
    )
    assert np.abs(wet).argmax() == 1000
    assert not np.abs(wet[:999]).max() > 1e-5
    ratio_db = 10 * np.log10(np.square(wet[1001:]).sum() / wet[1000] ** 2)
    assert ratio_db == pytest.approx(-6.0, abs=0.3)


def strong_above(audio: np.ndarray, frequency: float) -> float:
    power = np.square(np.abs(np.fft.rfft(audio)))
    return float(power[round(frequency * audio.size / RATE) :].sum() / power.sum())


# --- bands --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zero_phase", [True, False])
@pytest.mark.parametrize(
    "family", ["butterworth", "chebyshev1", "chebyshev2", "elliptic", "bessel", "fir", "brickwall"]
)
def test_filters_lose_three_decibels_where_they_should(family: str, zero_phase: bool) -> None:
    click = impulse(RATE, 24000)
    for cutoff, order in ((2000.0, 3), (4000.0, 6), (15000.0, 10)):
        settings = {"cutoff_hz": cutoff, "high_pass_hz": 100.0, "zero_phase": zero_phase}
        filtered = degradation.filter_band(click, RATE, family=family, order=order, **settings)
        assert gain_db(filtered, click, cutoff) == pytest.approx(-3.0, abs=0.35)
        ripple = 1.1 if family in ("chebyshev1", "elliptic") else 0.35
        assert gain_db(filtered, click, 100.0) == pytest.approx(-3.0, abs=ripple)
        assert gain_db(filtered, click, 500.0) == pytest.approx(0.0, abs=ripple)
        assert gain_db(filtered, click, 22000.0) < -9
        late = int(np.abs(filtered).argmax()) - 24000
        assert (
            late == 0
            if zero_phase or family in ("fir", "brickwall")
            else 0 <= late < 0.35 * order * RATE / cutoff
        )
        if not zero_phase and family not in ("fir", "brickwall"):
            assert not filtered[:24000].any()  # causal: nothing comes early


@pytest.mark.parametrize("family", ["butterworth", "fir"])
def test_a_filter_without_an_upper_end_takes_the_lower_one_off(family: str) -> None:
    click = impulse(RATE, 24000)
    settings = {"cutoff_hz": 0.0, "high_pass_hz": 100.0, "zero_phase": True}
    filtered = degradation.filter_band(click, RATE, family=family, order=4, **settings)
    assert gain_db(filtered, click, 100.0) == pytest.approx(-3.0, abs=0.35)
    assert gain_db(filtered, click, 20000.0) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050])
def test_a_lower_rate_keeps_its_band_and_loses_the_rest(rate_hz: int) -> None:
    audio = hiss(1, RATE, seed=0)
    changed = degradation.resample_and_back(audio, RATE, rate_hz=rate_hz)
    power = [np.square(np.abs(np.fft.rfft(each * np.hanning(RATE)))) for each in (changed, audio)]
    kept, lost = slice(50, int(0.43 * rate_hz)), slice(int(0.52 * rate_hz), None)
    assert 10 * np.log10(power[0][kept].sum() / power[1][kept].sum()) == pytest.approx(0, abs=0.1)
    assert 10 * np.log10(power[0][lost].sum() / power[1][lost].sum()) < -60
    assert delay_samples(changed, audio) == 0
    low = tone(1000)
    edges = slice(500, -500)
    kept_tone = degradation.resample_and_back(low, RATE, rate_hz=rate_hz)
    np.testing.assert_allclose(kept_tone[edges], low[edges], atol=2e-3)


def test_the_quick_way_folds_and_a_higher_rate_changes_nothing() -> None:
    folded = degradation.resample_and_back(tone(7000), RATE, rate_hz=8000, quick=True)
    assert strongest_hz(folded) == pytest.approx(1000, abs=5)
    audio = hiss(0.1, 16000, seed=0)
    assert degradation.resample_and_back(audio, 16000, rate_hz=16000) is audio


# --- codecs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coder", list(degradation.CODERS))
def test_coders_delay_nothing_at_any_of_their_rates(coder: str) -> None:
    for rate_hz in degradation.CODERS[coder].rates_hz:
        # A voice and a click in telephone bandwidth, at a rate that asks for resampling and one that doesn't.
        for rate in {rate_hz, RATE}:
            audio = voice(0.4, rate, seed=3) + impulse(round(0.4 * rate), rate // 10)
            audio = at_rate(at_rate(audio, rate, 8000), 8000, rate)[: round(0.4 * rate)]
            for compression in (0.1, 0.98):
                coded = degradation.code(audio, rate, coder=coder, rate_hz=rate_hz, compression=compression)
                assert coded.shape == audio.shape
                assert abs(delay_samples(coded, audio)) <= max(1, rate // 16000), (rate_hz, rate, compression)
                assert np.corrcoef(coded, audio)[0, 1] > 0.7, (rate_hz, rate, compression)
                assert not np.array_equal(coded, audio)


@pytest.mark.parametrize("coder", ["mp3", "vorbis", "opus"])
def test_more_compression_costs_more(coder: str) -> None:
    audio = voice(1, RATE, seed=5) + hiss(1, RATE, seed=6) * 0.1
    errors = [
        rms(degradation.code(audio, RATE, coder=coder, rate_hz=RATE, compression=level) - audio)
        for level in (0.0, 0.99)
    ]
    assert errors[0] < 0.8 * errors[1]


def test_companding_is_the_standards() -> None:
    # G.711: 8 bits, so 256 levels at most; the largest step at full scale is about 1/32 of it.
    audio = np.linspace(-0.97, 0.97, 8000).astype(np.float32)
    for coder in ("alaw", "mulaw"):
        coded = degradation.code(audio, 8000, coder=coder, rate_hz=8000)
        assert 200 < np.unique(coded).size <= 256
        error = np.abs(coded - audio)
        assert error.max() < 1 / 32
        assert error[np.abs(audio) < 0.01].max() < 1 / 1024


def test_coders_take_what_is_above_full_scale_and_refuse_a_rate_of_another() -> None:
    loud = 4 * voice(0.3, 16000, seed=1)
    coded = degradation.code(loud, 16000, coder="vorbis", rate_hz=16000, compression=0.1)
    assert np.corrcoef(coded, loud)[0, 1] > 0.99
    assert rms(coded) == pytest.approx(rms(loud), rel=0.1)
    with pytest.raises(SignalError, match="gsm at 16000 Hz"):
        degradation.code(loud, 16000, coder="gsm", rate_hz=16000)
    assert rates_below("opus", 44100) == (8000, 12000, 16000, 24000)
    assert rates_below("gsm", 4000) == (8000,)


# --- levels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_hard_clipping_takes_its_share_of_the_samples(share: float) -> None:
    audio = hiss(1, RATE, seed=1)
    clipped = degradation.distort(audio, RATE, mode="hard", share=share)
    assert np.mean(np.abs(clipped) >= np.abs(clipped).max() * 0.999999) == pytest.approx(share, abs=1e-3)
    inside = np.abs(audio) < np.abs(clipped).max()
    np.testing.assert_array_equal(clipped[inside], audio[inside])


def test_soft_clipping_makes_odd_harmonics_and_overdrive_even_ones_too() -> None:
    audio = tone(1000)
    soft, leaning = (
        degradation.distort(audio, RATE, mode=mode, share=0.3, bias=0.9) for mode in ("soft", "overdrive")
    )
    level = [20 * np.log10(np.abs(np.fft.rfft(each)) / RATE + 1e-9) for each in (soft, leaning)]
    assert level[0][3000] > -60 > level[0][2000]
    assert level[1][2000] > -45
    assert rms(soft) == pytest.approx(rms(audio), rel=1e-4)
    assert np.abs(np.diff(np.argsort(soft[:12]))).sum() == np.abs(np.diff(np.argsort(audio[:12]))).sum()


def test_compression_is_its_ratio_and_obeys_its_times() -> None:
    # 20 dB between two halves, threshold 20 dB below the peak: a ratio of 4 leaves 5 dB.
    audio = np.concatenate(
        [tone(1000, amplitude=0.05), tone(1000, amplitude=0.5), tone(1000, amplitude=0.05)]
    )
    settings = {"threshold_db": -20.0, "ratio": 4.0, "attack_s": 0.01, "release_s": 0.1}
    squeezed = degradation.compress_dynamics(audio, RATE, **settings)
    assert rms(squeezed) == pytest.approx(rms(audio), rel=1e-4)
    gain = np.abs(squeezed).reshape(-1, 240).max(axis=1) / np.abs(audio).reshape(-1, 240).max(axis=1)
    gain_db = 20 * np.log10(gain / gain[100])
    assert gain_db[300] == pytest.approx(-15, abs=0.2)
    attack = int(np.argmax(gain_db < -15 * (1 - np.exp(-1)))) - 200
    release = int(np.argmax(gain_db[400:] > -15 * np.exp(-1)))
    assert attack * 0.005 == pytest.approx(0.01, abs=0.006)
    assert release * 0.005 == pytest.approx(0.1, abs=0.012)


# --- colour -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["peak", "low_shelf", "high_shelf"])
def test_equaliser_bands_gain_what_they_say(kind: str) -> None:
    from scipy.signal import sosfilt

    section = degradation.biquad(kind, frequency_hz=1000, gain_db=8, q=0.707, sample_rate=RATE)[np.newaxis]
    click = np.asarray(sosfilt(section, impulse(RATE, 0)))
    gains = [gain_db(click, impulse(RATE, 0), frequency) for frequency in (20, 1000, 20000)]
    wanted = {"peak": (0, 8, 0), "low_shelf": (8, 4, 0), "high_shelf": (0, 4, 8)}[kind]
    np.testing.assert_allclose(gains, wanted, atol=0.2)


def test_resonances_ring_at_their_frequency_and_keep_the_level() -> None:
    audio = hiss(1, RATE, seed=0)
    bands = [("peak", 700.0, 18.0, 10.0), ("peak", 30000.0, 18.0, 10.0)]  # the second can't be at this rate
    rung = degradation.parametric_equaliser(audio, RATE, bands=bands)
    assert rms(rung) == pytest.approx(rms(audio), rel=1e-4)
    ring = degradation.parametric_equaliser(impulse(), RATE, bands=bands)
    assert gain_db(ring, impulse(), 700) - gain_db(ring, impulse(), 5000) == pytest.approx(18, abs=0.3)


def test_a_microphone_rolls_off_and_is_linear_phase() -> None:
    settings = {"gains_db": [0.0] * 9, "low_hz": 200.0, "high_hz": 6000.0}
    heard = degradation.microphone_colour(impulse(), RATE, **settings)
    middle = gain_db(heard, impulse(), 1100)
    assert gain_db(heard, impulse(), 200) - middle == pytest.approx(-3, abs=0.1)
    assert gain_db(heard, impulse(), 6000) - middle == pytest.approx(-3, abs=0.1)
    assert gain_db(heard, impulse(), 24000 - 1) - middle == pytest.approx(-24.1, abs=0.3)
    np.testing.assert_allclose(heard[1001:1900], heard[999:100:-1], atol=1e-5)
    coloured = degradation.microphone_colour(
        impulse(), RATE, gains_db=[0, 0, 9, 0, 0, 0, 0, -9, 0], low_hz=1.0, high_hz=90000.0
    )
    nodes = np.geomspace(50, 20000, 9)
    span = gain_db(coloured, impulse(), nodes[2]) - gain_db(coloured, impulse(), nodes[7])
    assert span == pytest.approx(18, abs=0.3)


# --- what is added ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [-5.0, 20.0])
def test_noise_has_its_ratio_whatever_its_length(snr_db: float) -> None:
    audio = voice(1, RATE, seed=1)
    for seconds in (0.05, 1.0, 3.0):
        settings = {"snr_db": [snr_db, snr_db], "coloured": 0}
        degraded, _ = degrade("noise", audio, settings=settings, noise=hiss(seconds, RATE, seed=2))
        assert 20 * np.log10(active_rms(audio, RATE) / rms(degraded - audio)) == pytest.approx(
            snr_db, abs=0.01
        )
    without, _ = degrade("noise", audio, settings={"snr_db": [snr_db, snr_db]})
    assert 20 * np.log10(active_rms(audio, RATE) / rms(without - audio)) == pytest.approx(snr_db, abs=0.01)


@pytest.mark.parametrize("mains_hz", [50.0, 60.0])
def test_hum_is_harmonics_at_its_level(mains_hz: float) -> None:
    audio = voice(1, RATE, seed=1)
    settings = {"mains_hz": mains_hz, "level_db": -20.0, "harmonics": 10, "slope_db": 3.0, "seed": 3}
    hum = degradation.add_hum(audio, RATE, **settings) - audio
    assert 20 * np.log10(rms(hum) / active_rms(audio, RATE)) == pytest.approx(-20, abs=0.02)
    power = np.square(np.abs(np.fft.rfft(hum)))
    bins = (mains_hz * np.arange(1, 11)).astype(int)
    assert power[bins].sum() / power.sum() > 0.9999
    assert (power[bins] > 1e-4 * power.max()).all()
    # At 1 kHz only the harmonics below 490 Hz can be.
    low = degradation.add_hum(tone(100, 4000, 1000), 1000, **settings) - tone(100, 4000, 1000)
    assert np.isfinite(low).all()


# --- gaps ---------------------------------------------------------------------------------------------------


def test_lost_packets_have_their_share_and_their_bursts() -> None:
    lost = degradation.lost_packets(200_000, share=0.1, burst_packets=3.0, seed=0)
    assert lost.mean() == pytest.approx(0.1, abs=0.01)
    starts = int((lost[1:] & ~lost[:-1]).sum())
    assert lost.sum() / starts == pytest.approx(3.0, rel=0.15)
    assert not degradation.lost_packets(100, share=0.0, burst_packets=1.0, seed=0).any()


@pytest.mark.parametrize("repeat", [False, True])
def test_a_lost_packet_is_silence_or_the_one_before(repeat: bool) -> None:
    audio = hiss(1, RATE, seed=1)[:47777]
    settings = {"share": 0.3, "burst_packets": 2.0, "seed": 1}
    heard = degradation.lose_packets(audio, RATE, packet_s=0.02, repeat=repeat, **settings)
    lost = degradation.lost_packets(50, **settings)
    assert lost.any()
    packets, received = (np.pad(each, (0, 48000 - 47777)).reshape(50, 960) for each in (audio, heard))
    np.testing.assert_array_equal(received[~lost], packets[~lost])
    for i in np.flatnonzero(lost[:-1]):
        expected = 0.5 * received[i - 1] if repeat and i else 0
        np.testing.assert_allclose(received[i], np.broadcast_to(expected, 960), atol=1e-7)


def test_dropouts_are_as_many_and_as_deep_as_asked() -> None:
    audio = np.ones(20 * RATE, np.float32)
    settings = {"per_second": 2.0, "duration_s": (0.02, 0.02), "depth_db": 40.0, "seed": 0}
    dropped = degradation.drop_out(audio, RATE, **settings)
    assert dropped.min() == pytest.approx(0.01, rel=1e-3)
    assert (dropped < 0.02).mean() == pytest.approx(2.0 * 0.016, rel=0.35)
    assert np.abs(np.diff(dropped)).max() < 0.011  # edges of 2 ms: no click


# --- time and pitch -----------------------------------------------------------------------------------------


def test_flutter_wobbles_about_the_true_pitch_with_no_delay() -> None:
    settings = {"depths": (0.01, 0.0), "rates_hz": (2.0, 5.0), "phases": (0.0, 0.0)}
    wobbly = degradation.flutter(tone(1000), RATE, **settings)
    time = np.arange(RATE) / RATE
    place = time + 0.01 / (4 * np.pi) * np.sin(4 * np.pi * time)
    np.testing.assert_allclose(wobbly[200:-200], 0.5 * np.sin(2 * np.pi * 1000 * place)[200:-200], atol=2e-3)


@pytest.mark.parametrize("semitones", [-5.0, 3.0])
def test_pitch_moves_by_semitones(semitones: float) -> None:
    shifted = degradation.pitch_shift(tone(440), RATE, semitones=semitones)
    assert strongest_hz(shifted[2000:-2000]) == pytest.approx(440 * 2 ** (semitones / 12), rel=2e-3)
    assert rms(shifted) == pytest.approx(rms(tone(440)), rel=0.02)


@pytest.mark.parametrize("speed", [0.7, 1.4])
def test_stretched_time_keeps_the_pitch_and_moves_events(speed: float) -> None:
    n = round(RATE / speed)
    stretched = degradation.stretch_to(tone(440), n, RATE)
    assert stretched.shape == (n,)
    assert strongest_hz(stretched[2000:-2000]) == pytest.approx(440, rel=2e-3)
    assert rms(stretched) == pytest.approx(rms(tone(440)), rel=0.02)
    moved = np.abs(degradation.stretch_to(tone(440) * (np.arange(RATE) % 12000 < 6000), n, RATE))
    expected = (np.arange(n) * speed) % 12000 < 6000
    assert np.corrcoef(np.convolve(moved, np.ones(500), "same"), expected)[0, 1] > 0.9
    assert abs(delay_samples(moved - moved.mean(), expected - expected.mean())) <= 0.012 * RATE
    looped = degradation.time_stretch(tone(440), RATE, speed=speed)
    assert looped.shape == (RATE,)
    if speed > 1:
        np.testing.assert_array_equal(looped[n + 240 :], looped[240 : RATE - n])
        assert looped[n] == looped[n - 1] == 0  # no click where it is repeated


def test_formants_move_and_the_pitch_stays() -> None:
    # Pulses at 100 Hz through one resonance: its peak moves, the harmonics stay at multiples of 100 Hz.
    pulses = (np.arange(RATE) % 480 == 0).astype(np.float32)
    vowel = degradation.parametric_equaliser(pulses, RATE, bands=[("peak", 1500.0, 30.0, 3.0)])
    for ratio in (0.8, 1.25):
        moved = degradation.formant_shift(vowel, RATE, ratio=ratio)
        power = np.square(np.abs(np.fft.rfft(moved)))
        harmonics = power[100:24000:100]
        assert harmonics.sum() / power.sum() > 0.98
        assert 100 * (1 + harmonics.argmax()) == pytest.approx(1500 * ratio, abs=110)
        assert rms(moved) == pytest.approx(rms(vowel), rel=1e-3)
    np.testing.assert_allclose(degradation.formant_shift(vowel, RATE, ratio=1.0), vowel, atol=1e-4)

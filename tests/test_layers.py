"""Layers and losses against NumPy, closed forms and their own inverses."""

from typing import Any

import keras
import numpy as np
import pytest

from audenoise import spectral
from audenoise.layers import (
    ApplyOutput,
    SpectralConv2D,
    SpectralTransform,
    SpectrumFeatures,
    complex_multiply,
    compress,
    expand,
    to_numpy,
)
from audenoise.losses import (
    compressed_losses,
    denoising_losses,
    envelope_distance,
    huber,
    negative_sdr_db,
    squared_error,
    third_octave_bands,
)
from audenoise.specs import LossSpec

SIZES = [
    {"n_fft": 512, "hop_length": 256, "win_length": 512, "window": "sqrt_hann"},
    {"n_fft": 64, "hop_length": 10, "win_length": 48, "window": "hann"},  # neither divides
    {"n_fft": 32, "hop_length": 7, "win_length": 15, "window": "hamming"},
    {"n_fft": 16, "hop_length": 8, "win_length": 16, "window": "rectangular"},
]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{sizes['win_length']}/{sizes['hop_length']}")
@pytest.mark.parametrize("n_samples", [1, 255, 700])
def test_transform_is_the_numpy_one_over_the_window_sum(sizes: dict[str, Any], n_samples: int) -> None:
    transform, audio = SpectralTransform(**sizes), noise(2, n_samples)
    spectrum = to_numpy(transform.stft(keras.ops.convert_to_tensor(audio)))
    total = spectral.make_window(sizes["window"], sizes["win_length"]).sum()
    expected = spectral.stft(audio.astype(np.float64), **sizes).swapaxes(-1, -2) / total
    np.testing.assert_allclose(spectrum[..., 0] + 1j * spectrum[..., 1], expected, atol=2e-6)
    again = to_numpy(transform.istft(keras.ops.convert_to_tensor(spectrum), n_samples))
    np.testing.assert_allclose(again, audio, atol=1e-5)  # the first and the last sample too


@pytest.mark.parametrize("sizes", SIZES[:2], ids=["512", "48"])
def test_inverse_transform_of_any_spectrum_is_the_numpy_one(sizes: dict[str, Any]) -> None:
    n_samples = 700
    transform = SpectralTransform(**sizes)
    parts = noise(1, transform.frames(n_samples), sizes["n_fft"] // 2 + 1, 2)
    parts[:, :, [0, -1], 1] = 0  # what no real signal has there, libraries may treat differently
    audio = to_numpy(transform.istft(keras.ops.convert_to_tensor(parts), n_samples))
    spectrum = (parts[..., 0] + 1j * parts[..., 1]).swapaxes(-1, -2).astype(np.complex128)
    total = spectral.make_window(sizes["window"], sizes["win_length"]).sum()
    expected = spectral.istft(spectrum * total, n_samples=n_samples, **sizes)
    np.testing.assert_allclose(audio, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("exponent", [0.3, 0.5, 1.0])
def test_compress_keeps_the_phase_and_expand_is_its_inverse(exponent: float) -> None:
    phase = np.linspace(-3, 3, 50)
    magnitude = np.geomspace(1e-3, 10, 50)
    pair = np.stack([magnitude * np.cos(phase), magnitude * np.sin(phase)], -1).astype(np.float32)
    small = to_numpy(compress(keras.ops.convert_to_tensor(pair), exponent))
    np.testing.assert_allclose(np.hypot(small[:, 0], small[:, 1]), magnitude**exponent, rtol=1e-4)
    np.testing.assert_allclose(np.arctan2(small[:, 1], small[:, 0]), phase, atol=1e-5)
    np.testing.assert_allclose(
        to_numpy(expand(keras.ops.convert_to_tensor(small), exponent)), pair, rtol=1e-3
    )


def test_complex_multiply_is_numpys() -> None:
    a, b = noise(3, 4, 2), noise(3, 4, 2, seed=1)
    expected = (a[..., 0] + 1j * a[..., 1]) * (b[..., 0] + 1j * b[..., 1])
    product = to_numpy(complex_multiply(keras.ops.convert_to_tensor(a), keras.ops.convert_to_tensor(b)))
    np.testing.assert_allclose(product[..., 0] + 1j * product[..., 1], expected, rtol=1e-5, atol=1e-6)


PLAIN: dict[str, Any] = {"compression": 0.3, "range_db": (-100.0, 0.0)}


@pytest.mark.parametrize("domain", ["compressed", "linear"])
@pytest.mark.parametrize("representation", ["complex", "magnitude", "magnitude_complex", "decibel"])
@pytest.mark.parametrize("kind", ["complex_mask", "magnitude_mask", "noise", "spectrogram"])
def test_the_prediction_that_means_no_change_changes_nothing(
    kind: str, representation: str, domain: str
) -> None:
    noisy = keras.ops.convert_to_tensor(noise(1, 3, 5, 2) * 0.1)
    if kind == "complex_mask":
        prediction = np.zeros((1, 3, 5, 2), np.float32)
        prediction[..., 0] = 1
    elif kind == "magnitude_mask":
        prediction = np.ones((1, 3, 5, 1), np.float32)
    else:
        exponent = PLAIN["compression"] if domain == "compressed" else 1.0
        shown = "complex" if representation == "magnitude_complex" else representation
        features = SpectrumFeatures(representation=shown, compression=exponent, range_db=PLAIN["range_db"])
        prediction = to_numpy(features(noisy)) * (kind == "spectrogram")
    layer = ApplyOutput(kind=kind, domain=domain, representation=representation, **PLAIN)
    denoised = to_numpy(layer([noisy, keras.ops.convert_to_tensor(prediction)]))
    np.testing.assert_allclose(denoised, to_numpy(noisy), rtol=2e-3, atol=1e-6)


def test_decibel_features_are_levels_of_the_range() -> None:
    spectrum = np.zeros((1, 1, 4, 2), np.float32)
    spectrum[0, 0, :, 0] = [0.0, 1e-3, 0.1, 10.0]
    layer = SpectrumFeatures(representation="decibel", compression=1.0, range_db=(-80.0, 0.0))
    np.testing.assert_allclose(to_numpy(layer(spectrum))[0, 0, :, 0], [0, 0.25, 0.75, 1], atol=1e-5)


def test_decibel_features_with_a_scaling_are_levels_around_its_mean() -> None:
    spectrum = np.zeros((1, 1, 4, 2), np.float32)
    spectrum[0, 0, :, 0] = [0.0, 1e-3, 0.1, 10.0]
    layer = SpectrumFeatures(
        representation="decibel", compression=1.0, range_db=(-80.0, 0.0), scaling=(-46.0, 50.0)
    )
    levels = np.array([-80, -60, -20, 20])
    np.testing.assert_allclose(to_numpy(layer(spectrum))[0, 0, :, 0], (levels + 46) / 50, atol=1e-5)


@pytest.mark.parametrize("scaling", [None, (6.0, 82.0)])
@pytest.mark.parametrize(("representation", "domain"), [
    ("decibel", "compressed"), ("magnitude", "compressed"), ("magnitude", "linear"),
    ("complex", "compressed"), ("magnitude_complex", "linear"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["noise", "spectrogram"])
def test_what_should_be_predicted_gives_the_wanted_spectrum(
    kind: str, representation: str, domain: str, scaling: tuple[float, float] | None
) -> None:
    layer = ApplyOutput(kind=kind, domain=domain, representation=representation, **PLAIN, scaling=scaling)
    audio = noise(1, 3, 5, 2) * np.float32(0.1)
    quieter = audio * np.linspace(0.1, 0.9, 5, dtype=np.float32)[:, None]
    noisy, wanted = keras.ops.convert_to_tensor(audio), keras.ops.convert_to_tensor(quieter)
    prediction = layer.predicted(noisy, wanted)
    if representation in ("decibel", "magnitude"):  # the phase stays
        prediction = prediction[..., None]
    np.testing.assert_allclose(to_numpy(layer([noisy, prediction])), to_numpy(wanted), rtol=2e-3, atol=1e-6)


def test_the_noise_in_decibel_is_what_is_subtracted() -> None:
    noisy, clean = np.zeros((2, 1, 1, 3, 2), np.float32)
    noisy[..., 0], clean[..., 1] = [0.1, 0.1, 1e-7], [0.01, 0.1, 1e-3]
    layer = ApplyOutput(
        kind="noise", domain="compressed", representation="decibel", **PLAIN, scaling=(6.0, 82.0)
    )
    found = to_numpy(layer.predicted(*map(keras.ops.convert_to_tensor, (noisy, clean))))
    np.testing.assert_allclose(found[0, 0], (np.array([20, 0, -40]) - 6) / 82, atol=1e-4)


@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("causal", [True, False])
def test_convolution_sees_the_frames_it_may(causal: bool, depthwise: bool, dilation: int) -> None:
    layer = SpectralConv2D(2, (3, 3), causal=causal, depthwise=depthwise, dilation=dilation)
    x = noise(1, 20, 6, 2)
    before = to_numpy(layer(x))
    assert before.shape == (1, 20, 6, 2)
    x[:, 10] += 1
    touched = np.flatnonzero(np.abs(to_numpy(layer(x)) - before).max(axis=(0, 2, 3)))
    steps = np.array([0, 1, 2]) if causal else np.array([-1, 0, 1])
    assert touched.tolist() == (10 + steps * dilation).tolist()


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((1, 5), (1, 2)), ((3, 4), (1, 1)), ((3, 4), (2, 4)), ((2, 8), (1, 2)), ((2, 8), (2, 4))],
)
@pytest.mark.parametrize("causal", [True, False])
def test_convolution_of_a_longer_signal_begins_the_same(
    kernel: tuple[int, int], stride: tuple[int, int], causal: bool
) -> None:
    layer = SpectralConv2D(3, kernel, stride=stride, causal=causal)
    x = noise(1, 24, 17, 2)
    whole = to_numpy(layer(x))
    assert whole.shape == (1, 24 // stride[0], -(-17 // stride[1]), 3)
    assert tuple(layer.compute_output_shape((1, 24, 17, 2))) == whole.shape
    part = to_numpy(layer(x[:, :12]))
    safe = part.shape[1] - (0 if causal and stride[0] == 1 else 1)
    np.testing.assert_allclose(part[:, :safe], whole[:, :safe], atol=1e-5)


# --- losses -------------------------------------------------------------------------------------------------

SETTINGS = {"n_fft": 64, "hop_length": 32, "win_length": 64, "window": "sqrt_hann"}
ALL_TERMS = LossSpec(
    magnitude=0.3, complex=0.2, consistency=0.3, waveform=0.2, sdr=0.01, envelope=0.02, loudness=0.001
)


def test_sdr_of_known_errors() -> None:
    clean = noise(1, 4000)
    estimates = clean * np.array([[1.0], [0.9], [0.0]], np.float32)
    losses = to_numpy(negative_sdr_db(clean, estimates, clean))
    # Limited at 30 dB when perfect; an error of a tenth of the amplitude is 20 dB; silence is 0 dB.
    expected = [10 * np.log10(f / 1.001) for f in (0.001, 0.011, 1.001)]
    np.testing.assert_allclose(losses, expected, atol=1e-3)


def test_sdr_without_speech_rewards_silence() -> None:
    mixture = noise(1, 4000)
    losses = to_numpy(
        negative_sdr_db(np.zeros_like(mixture), mixture * np.array([[0], [0.1], [1]], np.float32), mixture)
    )
    np.testing.assert_allclose(losses, [0, 10 * np.log10(101), 10 * np.log10(10001)], atol=1e-2)


def test_compressed_losses_of_one_bin() -> None:
    reference, estimate = np.zeros((2, 1, 1, 1, 2), np.float32)
    reference[..., 0], estimate[..., 1] = 16.0, 81.0  # a quarter turn apart
    magnitude, complex_ = compressed_losses(reference, estimate, 0.25)
    np.testing.assert_allclose(to_numpy(magnitude), (2 - 3) ** 2, rtol=1e-4)
    np.testing.assert_allclose(to_numpy(complex_), 2**2 + 3**2, rtol=1e-4)


@pytest.mark.parametrize("level", [1.0, 1e-3])
def test_a_perfect_estimate_loses_nothing_at_any_level(level: float) -> None:
    transform, clean = SpectralTransform(**SETTINGS), noise(2, 500) * np.float32(level * 0.1)
    noisy = clean + noise(2, 500, seed=1) * np.float32(level * 0.1)
    terms = denoising_losses(noisy, clean, transform.stft(clean), transform=transform, weights=ALL_TERMS)
    for name in ("magnitude", "complex", "consistency", "waveform"):
        assert abs(float(to_numpy(terms[name]))) < 1e-6
    assert float(to_numpy(terms["sdr"])) == pytest.approx(-30, abs=0.1)


def test_the_loss_is_the_weighted_sum_and_ignores_the_level() -> None:
    transform, clean = SpectralTransform(**SETTINGS), noise(2, 500) * np.float32(0.1)
    noisy = clean + noise(2, 500, seed=1) * np.float32(0.1)
    losses = []
    for level in np.array([1, 0.03], np.float32):
        spectrum = transform.stft(noisy * level)
        terms = denoising_losses(
            noisy * level, clean * level, spectrum, transform=transform, weights=ALL_TERMS
        )
        terms = {name: float(to_numpy(term)) for name, term in terms.items()}
        total = sum(getattr(ALL_TERMS, name) * terms[name] for name in terms if name != "loss")
        assert terms["loss"] == pytest.approx(total, rel=1e-5)
        losses.append(terms["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_huber_and_squared_error_are_keras_own() -> None:
    reference, estimate = noise(4, 30), noise(4, 30, seed=1) * 3
    expected = [
        float(to_numpy(keras.losses.Huber(1.0)(a, b))) for a, b in zip(reference, estimate, strict=True)
    ]
    tensors = keras.ops.convert_to_tensor(reference), keras.ops.convert_to_tensor(estimate)
    np.testing.assert_allclose(to_numpy(huber(*tensors)), expected, rtol=1e-5)
    np.testing.assert_allclose(
        to_numpy(squared_error(*tensors)), np.mean((reference - estimate) ** 2, axis=1), rtol=1e-5
    )


@pytest.mark.parametrize("level", [1.0, 0.01])
@pytest.mark.parametrize("representation", ["decibel", "magnitude", "complex"])
def test_losses_in_the_networks_own_terms(representation: str, level: float) -> None:
    """Of levels in dB the difference itself; of spectra that of the compressed ones, at any level."""
    transform = SpectralTransform(**SETTINGS)
    clean = noise(2, 500) * np.float32(0.1 * level)
    noisy = clean + noise(2, 500, seed=1) * np.float32(0.1 * level)
    layer = ApplyOutput(
        kind="spectrogram", domain="compressed", representation=representation, compression=0.3,
        range_db=(-150.0, 0.0), scaling=(-60.0, 20.0),
    )  # fmt: skip
    weights = LossSpec(magnitude=0, complex=0, consistency=0, waveform=0, mse=2, huber=1)

    def losses(gain: float) -> dict[str, float]:
        terms = denoising_losses(
            noisy, clean, transform.stft(clean * np.float32(gain)), transform=transform, weights=weights,
            output=layer,
        )  # fmt: skip
        return {name: float(to_numpy(term)) for name, term in terms.items()}

    assert losses(1.0)["loss"] == pytest.approx(0, abs=1e-6)
    found = losses(0.1)
    assert found["loss"] == pytest.approx(2 * found["mse"] + found["huber"], rel=1e-5)
    assert found["huber"] == pytest.approx(found["mse"] / 2, rel=1e-4)  # no error beyond 1 here
    if representation == "decibel":
        assert found["mse"] == pytest.approx((20 / 20) ** 2, rel=1e-2)
    else:
        gain = 0.1 / np.sqrt(np.mean(noisy**2, axis=1))
        spectrum = np.abs(spectral.stft(clean * gain[:, None], **SETTINGS))
        scaled = (spectrum / spectral.make_window("sqrt_hann", 64).sum()) ** 0.3
        error = np.mean(np.square(scaled * (1 - 0.1**0.3)))
        assert found["mse"] == pytest.approx(error / (2 if representation == "complex" else 1), rel=1e-2)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes the gradient with TensorFlow")
@pytest.mark.parametrize("representation", ["decibel", "magnitude", "complex"])
def test_gradients_in_the_networks_own_terms_are_finite_in_silence(representation: str) -> None:
    import tensorflow as tf

    transform = SpectralTransform(**SETTINGS)
    layer = ApplyOutput(kind="noise", domain="compressed", representation=representation, **PLAIN)
    silence, spectrum = np.zeros((2, 300), np.float32), tf.Variable(transform.stft(noise(2, 300)) * 0.0)
    weights = LossSpec(magnitude=0, complex=0, consistency=0, waveform=0, mse=1, huber=1)
    for clean in (silence, noise(2, 300)):
        with tf.GradientTape() as tape:
            terms = denoising_losses(
                silence, clean, spectrum, transform=transform, weights=weights, output=layer
            )
        gradient: Any = tape.gradient(terms["loss"], spectrum)
        assert np.isfinite(gradient.numpy()).all()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes the gradient with TensorFlow")
@pytest.mark.parametrize("silent", ["noisy", "clean", "estimate", "all"])
def test_gradients_of_silence_are_finite(silent: str) -> None:
    import tensorflow as tf

    transform = SpectralTransform(**SETTINGS)
    noisy, clean, estimate = (noise(2, 300, seed=i) * np.float32(0.1) for i in range(3))
    noisy = noisy * np.float32(silent not in ("noisy", "all"))
    clean = clean * np.float32(silent not in ("clean", "noisy", "all"))
    spectrum = tf.Variable(transform.stft(estimate) * float(silent not in ("estimate", "all")))
    with tf.GradientTape() as tape:
        loss = denoising_losses(noisy, clean, spectrum, transform=transform, weights=ALL_TERMS)["loss"]
    gradient: Any = tape.gradient(loss, spectrum)
    assert np.isfinite(float(loss))
    assert np.isfinite(gradient.numpy()).all()


def test_envelope_distance_follows_what_estoi_hears():
    rng = np.random.default_rng(3)
    syllables = np.repeat(rng.uniform(0.05, 1, (1, 40)), 800, axis=1).astype(np.float32)
    speech = (syllables * rng.standard_normal((1, 32_000)) * 0.1).astype(np.float32)
    transform = SpectralTransform(n_fft=512, hop_length=256, win_length=512, window="sqrt_hann")
    bands = third_octave_bands(16_000, 512)
    assert bands.shape == (257, 15)
    assert bands.sum(axis=1).max() == 1, "a bin belongs to one band at most"

    def distance(estimate: np.ndarray) -> float:
        spectra = transform.stft(speech), transform.stft(estimate.astype(np.float32))
        return float(to_numpy(envelope_distance(*spectra, bands, n_frames=24))[0])

    noise = rng.standard_normal(speech.shape) * 0.05
    assert distance(speech) == pytest.approx(0, abs=1e-3)
    assert distance(0.1 * speech) == pytest.approx(0, abs=2e-2), "a gain changes no correlation"
    assert 0.02 < distance(speech + 0.3 * noise) < distance(speech + noise) < distance(noise)
    assert distance(noise) > 0.8
    silence = np.zeros_like(speech)
    silent = envelope_distance(transform.stft(silence), transform.stft(speech), bands, n_frames=24)
    assert float(to_numpy(silent)[0]) == 0, "without speech there is nothing to compare"

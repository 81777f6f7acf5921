"""The denoiser against closed forms and a whole-file run; its streams against the denoiser."""

import os
import pickle
from pathlib import Path

import model_folders
import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audenoise.denoiser import Denoiser
from audenoise.enhancer import Enhancer
from audenoise.errors import ModelError, SignalError
from audenoise.presets import Preset, StftSettings
from audenoise.spectral import istft, make_window, stft
from audenoise.stream import processing_settings

STFT = {"n_fft": 512, "hop_length": 256, "window": "sqrt_hann"}


def noise(n_samples: int, channels: int | None = None, *, seed: int = 0) -> np.ndarray:
    shape = n_samples if channels is None else (n_samples, channels)
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Preset]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "identity": model_folders.gain_model(folder / "identity"),
        "half": model_folders.gain_model(folder / "half", 0.5),
        "context": model_folders.context_model(folder / "context"),
        "pair": model_folders.pair_model(folder / "pair"),
        "recurrent": model_folders.recurrent_model(folder / "recurrent"),
    }


@pytest.fixture(scope="session")
def denoisers(models: dict[str, Preset]) -> dict[str, Denoiser]:
    return {name: Denoiser(preset, threads=1) for name, preset in models.items()}


def whole_file_run(preset: Preset, audio: np.ndarray) -> np.ndarray:
    """The slow twin at 16 kHz: all frames at once, through the reference transform."""
    total = make_window("sqrt_hann", 512).sum()
    spectrum = stft(audio, **STFT).T[None] / total
    session = ort.InferenceSession(preset.read_file("model.onnx"))
    feed = {"noisy": np.stack([spectrum.real, spectrum.imag], axis=-1).astype(np.float32)}
    for node in session.get_inputs()[1:]:
        feed[node.name] = np.zeros((1, *node.shape[1:]), np.float32)
    output = np.asarray(session.run(["denoised"], feed)[0])
    return istft((output[0, ..., 0] + 1j * output[0, ..., 1]).T * total, n_samples=len(audio), **STFT)


@pytest.mark.parametrize("name", ["identity", "context", "pair", "recurrent"])
@pytest.mark.parametrize("n_samples", [1, 300, 16000 * 7 + 77])
def test_blocks_give_the_result_of_a_whole_file_run(
    models: dict[str, Preset], denoisers: dict[str, Denoiser], name: str, n_samples: int
) -> None:
    audio = noise(n_samples)
    expected = whole_file_run(models[name], audio)
    np.testing.assert_allclose(denoisers[name].denoise(audio, 16000), expected, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["context", "pair", "recurrent"]),
    rate=st.sampled_from([8000, 16000, 22050, 44100, 48000]),
    blocks=st.lists(st.integers(0, 9000), max_size=12),
    block_s=st.sampled_from([0.0, 0.1, None]),
    strength=st.sampled_from([1.0, 0.3]),
)
def test_stream_equals_offline_for_any_split(
    denoisers: dict[str, Denoiser],
    name: str,
    rate: int,
    blocks: list[int],
    block_s: float | None,
    strength: float,
) -> None:
    audio = noise(sum(blocks) + 1, 2)
    stream = denoisers[name].stream(rate, 2, block_s=block_s, strength=strength)
    parts = [stream.process(part) for part in np.split(audio, np.cumsum(blocks))]
    streamed = np.concatenate([*parts, stream.flush()])
    np.testing.assert_allclose(streamed, denoisers[name].denoise(audio, rate, strength=strength), atol=1e-6)


@pytest.mark.parametrize("make", [model_folders.context_model, model_folders.pair_model])
def test_the_split_shows_where_the_metadata_lies(make, tmp_path: Path) -> None:
    """Proof that the test above can fail: without the declared context, blocks change the result."""
    preset = make(tmp_path / "model")
    lying = {**preset.metadata, "context_frames": {"left": 0, "right": 0}}
    model_folders.write_metadata(preset.folder, lying)
    audio, denoiser = noise(20000), Denoiser.from_preset(preset.folder)
    stream = denoiser.stream(16000)
    streamed = np.concatenate([*(stream.process(part) for part in np.split(audio, 10)), stream.flush()])
    assert np.abs(streamed - denoiser.denoise(audio, 16000)).max() > 1e-3


@settings(max_examples=40, deadline=None)
@given(
    rate=st.sampled_from([1000, 8000, 12000, 16000, 24000, 48000, 96000]),
    n_samples=st.one_of(st.integers(1, 600), st.integers(1, 20000)),
    channels=st.sampled_from([None, 1, 2, 8]),
)
def test_identity_returns_every_sample(
    denoisers: dict[str, Denoiser], rate: int, n_samples: int, channels: int | None
) -> None:
    audio = noise(n_samples, channels)
    result = denoisers["identity"].denoise(audio, rate)
    assert result.shape == audio.shape
    np.testing.assert_allclose(result, audio, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(rate=st.integers(1000, 200_000), n_samples=st.integers(1, 3000))
def test_any_rate_keeps_the_length(denoisers: dict[str, Denoiser], rate: int, n_samples: int) -> None:
    assert denoisers["identity"].denoise(noise(n_samples), rate).shape == (n_samples,)


@pytest.mark.parametrize("rate", [11025, 11117, 44100, 59786])
def test_rates_that_do_not_fit_have_no_delay_and_no_gain(denoisers: dict[str, Denoiser], rate: int) -> None:
    time = np.arange(rate * 4) / rate
    tone = (0.3 * np.sin(2 * np.pi * 0.3 * rate * time + 0.5)).astype(np.float32)
    result = denoisers["identity"].denoise(tone, rate)
    middle = slice(rate // 10, -rate // 10)
    np.testing.assert_allclose(result[middle], tone[middle], atol=1e-4)


def test_processing_settings() -> None:
    model = StftSettings(512, 256, 512, "sqrt_hann")

    def sizes(rate: int) -> tuple[int, int]:
        processing_rate, scaled = processing_settings(rate, 16000, model)
        assert scaled.win_length == scaled.n_fft == 2 * scaled.hop_length
        assert scaled.n_fft / processing_rate == pytest.approx(512 / 16000, rel=3e-3)
        return processing_rate, scaled.n_fft

    assert {rate: sizes(rate) for rate in (8000, 22050, 44100, 48000, 96000, 7999, 59786)} == {
        8000: (8000, 256),
        22050: (22050, 704),
        44100: (44100, 1408),
        48000: (48000, 1536),
        96000: (96000, 3072),
        7999: (7999, 256),
        59786: (96000, 3072),  # 1913 samples and their neighbours are slow to transform
    }


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("max_attenuation_db", [None, 0.0, 12.0])
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_strength_and_limit_in_closed_form(
    denoisers: dict[str, Denoiser], strength: float, max_attenuation_db: float | None, rate: int
) -> None:
    audio = noise(30000, 2)
    kept = 0.0 if max_attenuation_db is None else 10 ** (-max_attenuation_db / 20)
    limited = audio * kept + (1 - kept) * 0.5 * audio
    expected = audio + strength * (limited - audio)
    result = denoisers["half"].denoise(audio, rate, strength=strength, max_attenuation_db=max_attenuation_db)
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_strength_zero_changes_nothing_even_when_resampling(denoisers: dict[str, Denoiser]) -> None:
    audio = noise(50000)
    np.testing.assert_array_equal(denoisers["half"].denoise(audio, 44100, strength=0.0), audio)


def test_above_the_models_band_its_top_band_decides(tmp_path: Path) -> None:
    gains = np.ones(model_folders.BINS)
    gains[150:] = 0.25  # from 4.7 kHz
    denoiser = Denoiser(model_folders.band_gain_model(tmp_path / "model", gains))
    time = np.arange(48000) / 48000
    low, high = (0.1 * np.sin(2 * np.pi * frequency * time) for frequency in (1000, 15000))
    result = denoiser.denoise((low + high + noise(48000)).astype(np.float32), 48000)
    spectrum = np.abs(np.fft.rfft(result[2000:-2000] * np.hanning(44000)))
    before = np.abs(np.fft.rfft((low + high)[2000:-2000] * np.hanning(44000)))
    for frequency, gain in ((1000, 1.0), (15000, 0.25)):
        peak = round(frequency * 44000 / 48000)
        band = slice(peak - 8, peak + 9)
        assert spectrum[band].max() / before[band].max() == pytest.approx(gain, abs=0.02)


def test_silence_stays_silent(tmp_path: Path) -> None:
    denoiser = Denoiser(model_folders.offset_model(tmp_path / "model"))
    audio = np.zeros((40000, 2), np.float32)
    assert not denoiser.denoise(audio, 44100).any()
    audio[20000:20100, 0] = 0.5
    result = denoiser.denoise(audio, 16000)
    assert result[20000:20100, 0].any()
    assert not result[:, 1].any()
    assert not result[:19000].any()


@pytest.mark.parametrize(("dtype", "scale"), [("i2", 2**15), ("i4", 2**31), (">i2", 2**15), (">i4", 2**31)])
def test_integers_are_scaled(denoisers: dict[str, Denoiser], dtype: str, scale: int) -> None:
    levels = (noise(5000) * scale).astype(dtype)
    result = denoisers["identity"].denoise(levels, 16000)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, levels / scale, atol=1e-6)


def test_float64_is_taken_and_not_changed(denoisers: dict[str, Denoiser]) -> None:
    audio = noise(5000, 2).astype(np.float64)
    before = audio.copy()
    assert denoisers["half"].denoise(audio, 16000, strength=0.5).dtype == np.float32
    np.testing.assert_array_equal(audio, before)


@pytest.mark.parametrize(
    ("audio", "says"),
    [
        (np.zeros(0, np.float32), "at least one sample"),
        (np.zeros((0, 2), np.float32), "at least one sample"),
        (np.zeros((5, 0), np.float32), "at least one sample"),
        (np.array([0.0, np.nan]), "sample 1 is NaN or infinite"),
        (np.array([0.0, 0.0, np.inf], np.float32), "sample 2 is NaN or infinite"),
        (np.array([1e300]), "NaN or infinite"),
        (np.zeros((2, 2, 2), np.float32), "shape"),
        (np.zeros(5, np.uint8), "uint8"),
        (np.zeros(5, np.complex64), "complex64"),
        (np.zeros((2, 16000), np.float32), "transpose"),
        ([0.0, 0.0], "list"),
        (np.full(1000, 3e38, np.float32), "too large"),
    ],
)
def test_unusable_audio_is_refused(denoisers: dict[str, Denoiser], audio, says: str) -> None:
    with pytest.raises(SignalError, match=says):
        denoisers["recurrent"].denoise(audio, 16000)


@pytest.mark.parametrize(
    "parameters",
    [
        {"sample_rate": 0},
        {"sample_rate": 16000.5},
        {"sample_rate": "48000"},
        {"sample_rate": 16000, "strength": None},
        {"sample_rate": 16000, "strength": 1.1},
        {"sample_rate": 16000, "strength": float("nan")},
        {"sample_rate": 16000, "max_attenuation_db": -1.0},
        {"sample_rate": 16000, "channels": 0},
        {"sample_rate": 16000, "block_s": -1.0},
    ],
)
def test_unusable_parameters_are_refused(denoisers: dict[str, Denoiser], parameters: dict) -> None:
    with pytest.raises(SignalError, match="Received"):
        denoisers["identity"].stream(**parameters)


def test_a_refused_block_leaves_the_stream_as_it_was(denoisers: dict[str, Denoiser]) -> None:
    audio, stream = noise(9000), denoisers["recurrent"].stream(16000)
    first = stream.process(audio[:4000])
    with pytest.raises(SignalError):
        stream.process(np.full(100, np.nan, np.float32))
    with pytest.raises(SignalError):
        stream.process(np.zeros((100, 2), np.float32))
    result = np.concatenate([first, stream.process(audio[4000:]), stream.flush()])
    np.testing.assert_allclose(result, denoisers["recurrent"].denoise(audio, 16000), atol=1e-6)


def test_flush_and_reset_make_the_stream_new(denoisers: dict[str, Denoiser]) -> None:
    audio, stream = noise(9000), denoisers["recurrent"].stream(44100)
    expected = denoisers["recurrent"].denoise(audio, 44100)
    assert len(stream.flush()) == 0
    stream.process(noise(5000, seed=1))
    stream.reset()
    for _ in range(2):
        result = np.concatenate([stream.process(audio), stream.flush(), stream.flush()])
        np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["identity", "context", "pair"])
@pytest.mark.parametrize("rate", [16000, 48000])
def test_the_stream_trails_by_its_latency_at_most(
    denoisers: dict[str, Denoiser], name: str, rate: int
) -> None:
    stream = denoisers[name].stream(rate)
    received = sent = 0
    trails = []
    for part in np.array_split(noise(rate), 300):
        received, sent = received + len(part), sent + len(stream.process(part))
        trails.append(received - sent)
    assert max(trails) <= stream.latency_samples
    assert stream.latency_samples - max(trails) < rate * 0.016  # the bound is within a hop of the truth


def test_a_graph_that_is_no_denoiser_is_refused(tmp_path: Path) -> None:
    wrong_bins = model_folders.gain_model(tmp_path / "bins", bins=129)
    with pytest.raises(ModelError, match=r"bins.*model.onnx.*257 bins"):
        Denoiser(wrong_bins)
    damaged = model_folders.gain_model(tmp_path / "damaged")
    (damaged.folder / "model.onnx").write_bytes(b"no graph")
    rewritten = model_folders.write_metadata(damaged.folder, damaged.metadata)
    with pytest.raises(ModelError, match=r"damaged.*model.onnx can't be loaded"):
        Denoiser(rewritten)
    stateful = model_folders.recurrent_model(tmp_path / "stateful")
    context = {**stateful.metadata, "context_frames": {"left": 2, "right": 2}}
    with pytest.raises(ModelError, match="has states"):
        Denoiser(model_folders.write_metadata(stateful.folder, context))
    odd = model_folders.gain_model(tmp_path / "odd")
    window = {
        **odd.metadata,
        "stft": {"n_fft": 512, "hop_length": 256, "win_length": 512, "window": "kaiser"},
    }
    with pytest.raises(ModelError, match=r"odd.*metadata.json: stft: .*kaiser"):
        Denoiser(model_folders.write_metadata(odd.folder, window))


def test_audio_beyond_full_scale_is_denoised_like_audio_within() -> None:
    denoiser = Denoiser.from_preset("small", threads=1)
    audio = noise(16000, 2)
    loudest = np.abs(audio).max()
    expected = denoiser.denoise(audio / loudest, 16000)
    for gain in (30.0, 32768.0):  # the latter: 16-bit numbers as floats
        found = denoiser.denoise((gain * audio).astype(np.float64), 16000)
        assert np.abs(found / (gain * loudest) - expected).max() < 1e-5
    assert np.abs(expected).max() < 0.5 * np.abs(audio / loudest).max()  # noise is turned down at all


def test_a_stream_that_is_told_the_peak_does_the_same() -> None:
    denoiser = Denoiser.from_preset("small", threads=1)
    audio = 500.0 * noise(8000)
    stream = denoiser.stream(16000, peak=float(np.abs(audio).max()), strength=0.8)
    found = np.concatenate([stream.process(audio[:3000]), stream.process(audio[3000:]), stream.flush()])
    np.testing.assert_allclose(found, denoiser.denoise(audio, 16000, strength=0.8), atol=1e-3)
    for bad in (-1.0, "loud", None):
        with pytest.raises(SignalError, match="peak must be a number of at least 0"):
            denoiser.stream(16000, peak=bad)  # pyright: ignore[reportArgumentType]


def test_threads_are_no_more_than_the_cores_this_process_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for allowed, threads in (({3}, 1), (set(range(8)), 2)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, allowed=allowed: allowed, raising=False)
        assert Denoiser.from_preset("small").threads == threads


@pytest.mark.parametrize("kind", [Denoiser, Enhancer])
def test_it_says_what_it_is_and_can_be_sent_to_another_process(kind: type[Denoiser | Enhancer]) -> None:
    first = kind.from_preset(threads=1)
    assert repr(first) == f"{kind.__name__}({str(first.preset.folder)!r}, threads=1)"
    again = pickle.loads(pickle.dumps(first))
    assert repr(again) == repr(first)
    audio = noise(4000)
    apply = "denoise" if kind is Denoiser else "enhance"
    pair = [getattr(each, apply)(audio, 16000) for each in (first, again)]
    np.testing.assert_array_equal(*pair)

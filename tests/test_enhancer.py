"""A published enhancer: the graph, seams, rates, channels, files and the command."""

import json
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import soundfile
from enhancer_specs import RATE, tiny
from model_folders import gain_enhancer, gain_model
from recordings import hiss, voice

from audenoise.architectures.enhancer import build_generator
from audenoise.audio import read_audio, resample
from audenoise.cli import main
from audenoise.enhancer import HUSH_DB, Enhancer, frame_features, restrained
from audenoise.enhancer_batch import EnhanceSettings, enhance_file, load_tools
from audenoise.enhancing.publishing import publish_enhancer
from audenoise.enhancing.runs import prepare_enhancer_run
from audenoise.errors import AudioFileError, ModelError, SignalError
from audenoise.file_plan import FilePair
from audenoise.half_weights import round_to_half
from audenoise.layers import SpectralTransform, ops, to_numpy
from audenoise.presets import load_preset
from audenoise.stream import DenoiserStream


def trained(run: Path, spec) -> keras.Model:
    """A run folder whose generator does something."""
    keras.utils.set_random_seed(5)
    generator = build_generator(spec)
    rng = np.random.default_rng(0)
    for name in ("mel_change", "mask", "phase"):
        layer = generator.get_layer(name)
        layer.kernel.assign(rng.normal(0, 0.3, layer.kernel.shape))
        layer.bias.assign(rng.normal(0, 0.3, layer.bias.shape))
    state = prepare_enhancer_run(run, spec, resume=False)
    state.epoch = state.best_epoch = 1
    state.write(run)
    generator.save_weights(run / "best.weights.h5")
    return generator


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[Path, keras.Model]:
    folder = tmp_path_factory.mktemp("published")
    generator = trained(folder / "run", tiny())
    target = folder / "model"
    arguments = ["publish", str(folder / "run"), str(target), "--licence", "MIT", "--data", "made up"]
    assert main(arguments) == 0
    round_to_half(generator)  # as the folder keeps it
    return target, generator


@pytest.fixture(scope="module")
def enhancer(published) -> Enhancer:
    return Enhancer.from_preset(published[0])


def test_the_model_folder_says_what_it_is(published) -> None:
    preset = load_preset(published[0])
    preset.verify()
    assert sorted(preset.files) == ["model.onnx", "model.weights.h5", "spec.yaml"]
    assert preset.metadata["kind"] == "enhancer"
    assert (preset.sample_rate, preset.context_left, preset.context_right) == (RATE, 3, 3)
    assert preset.metadata["keras_onnx_difference"] < 1e-4


def test_the_graph_does_what_the_network_does(
    published, enhancer: Enhancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audenoise.enhancer.restrained", lambda heard, enhanced, power_scale: enhanced)
    spec, audio = tiny(), voice(0.5, RATE, seed=0) + hiss(0.5, RATE, seed=1)  # nowhere silent
    transform = SpectralTransform.of(spec.stft, spec.sample_rate)
    features = frame_features(audio, RATE, hop_length=32, win_length=128)
    shown = {
        "spectrum": transform.stft(ops.convert_to_tensor(audio[None])),
        "conditioning": ops.convert_to_tensor(features[None]),
    }
    expected = to_numpy(transform.istft(published[1](shown)["spectrum"], audio.size))[0]
    assert np.abs(expected - audio).max() > 0.05
    np.testing.assert_allclose(enhancer.run(audio[:, None])[:, 0], expected, atol=1e-4)


@pytest.mark.parametrize("piece_s", [0.1, 0.37])
def test_pieces_make_the_whole(enhancer: Enhancer, piece_s: float) -> None:
    audio = np.stack([voice(2.0, RATE, seed=1), hiss(2.0, RATE, seed=2)], axis=1)[:-5]
    whole = enhancer.run(audio)
    stream = enhancer.stream(RATE, 2, piece_s=piece_s)
    cuts = np.sort(np.random.default_rng(0).integers(0, len(audio), 30))
    for _ in range(2):  # after `flush` it is as new
        parts = [stream.process(block) for block in np.split(audio, cuts)]
        assert sum(map(len, parts)) > len(audio) / 2  # it comes out on the way
        pieces = np.concatenate([*parts, stream.flush()])
        np.testing.assert_allclose(pieces, whole, atol=1e-4)
    assert len(stream.flush()) == 0


def test_threads_share_the_pieces_and_change_nothing(published) -> None:
    audio = np.stack([voice(40.0, RATE, seed=1), hiss(40.0, RATE, seed=2)], axis=1)
    results = {}
    for threads in (1, 3):
        enhancer, seen = Enhancer.from_preset(published[0], threads=threads), set()
        run = enhancer.run

        def watched(piece: np.ndarray, run=run, seen=seen) -> np.ndarray:
            seen.add(threading.current_thread().name)
            return run(piece)

        enhancer.run = watched  # type: ignore[method-assign]
        results[threads] = enhancer.enhance(audio, RATE)
        assert bool(seen - {threading.current_thread().name}) == (threads > 1)
    np.testing.assert_array_equal(results[1], results[3])
    with pytest.raises(ModelError, match="threads must be at least 1"):
        Enhancer.from_preset(published[0], threads=0)


@pytest.mark.parametrize("sample_rate", [1000, RATE, 11025, 44100])
@pytest.mark.parametrize("n_samples", [1, 7, 3000])
def test_any_rate_and_length(enhancer: Enhancer, sample_rate: int, n_samples: int) -> None:
    audio = hiss(n_samples / sample_rate, sample_rate, seed=0)
    assert enhancer.enhance(audio, sample_rate, output_rate=sample_rate).shape == audio.shape
    made = enhancer.enhance(np.stack([audio, audio], axis=1), sample_rate)
    assert made.shape == (int(n_samples * RATE / sample_rate + 0.5), 2)
    np.testing.assert_allclose(made[:, 0], made[:, 1], atol=1e-6)


def test_amount_goes_from_what_came_in_to_what_is_made_of_it(enhancer: Enhancer) -> None:
    audio = voice(1.0, RATE, seed=3)
    none, half, full = (enhancer.enhance(audio, RATE, amount=amount) for amount in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(none, audio)
    np.testing.assert_allclose(half, (audio + full) / 2, atol=1e-6)
    assert not enhancer.enhance(np.zeros(4000, np.float32), RATE).any()
    ints = np.round(audio * 2**15).astype(np.int16)
    same = enhancer.enhance((ints / 2**15).astype(np.float32), RATE)
    np.testing.assert_array_equal(enhancer.enhance(ints, RATE), same)


def test_what_cannot_be_enhanced_is_one_line(enhancer: Enhancer, published, tmp_path: Path) -> None:
    for audio, message in (
        (np.zeros(0, np.float32), "at least one sample"),
        (np.array([0, np.nan], np.float32), "sample 1 is NaN"),
        (np.zeros((2, 2, 2)), r"\(samples,\) or"),
    ):
        with pytest.raises(SignalError, match=message):
            enhancer.enhance(audio, RATE)
    parameters: dict[str, list[Any]] = {
        "amount": [2, -0.1, float("nan"), "half", None],
        "output_rate": [0, 10, 8000.5, float("nan"), "8000"],
    }
    for name, values in parameters.items():
        for value in values:
            with pytest.raises(SignalError, match=rf"{name} must be a .*Received: {value!r}$"):
                enhancer.enhance(np.zeros(9, np.float32), RATE, **{name: value})
    for rate in ("8000", None, 0):
        with pytest.raises(SignalError, match=r"^sample_rate must be a whole number"):
            enhancer.enhance(np.zeros(9, np.float32), rate)  # pyright: ignore[reportArgumentType]
    scalars: dict[str, Any] = {"sample_rate": np.int64(RATE), "amount": np.float32(0.5)}
    assert enhancer.enhance(np.zeros(9, np.float32), **scalars).size == 9
    gain_model(tmp_path / "denoiser")
    with pytest.raises(ModelError, match="is no enhancer's; use `audenoise predict`"):
        Enhancer.from_preset(tmp_path / "denoiser")
    with pytest.raises(ModelError, match="model: exists already; add --overwrite"):
        publish_enhancer(published[0].parent / "run", published[0], description="", licence="", data=[])


def test_files_keep_their_names_channels_and_duration(published, tmp_path: Path, capsys) -> None:
    source, model = tmp_path / "in", ["--model", str(published[0])]
    (source / "deep").mkdir(parents=True)
    stereo = np.stack([voice(1.3, 16000, seed=0), voice(1.3, 16000, seed=1)], axis=1)
    soundfile.write(source / "stereo.flac", stereo, 16000)
    soundfile.write(source / "deep/call.wav", voice(0.7, RATE, seed=2), RATE, subtype="ULAW")
    (source / "broken.wav").write_bytes(b"RIFF no")
    command = ["enhance", str(source), "-o", str(tmp_path / "out"), *model, "--no-denoise"]
    assert main(command) == 1
    err = capsys.readouterr().err
    assert "broken.wav" in err
    assert "2 enhanced, 0 kept, 1 failed" in err
    made, rate = read_audio(tmp_path / "out/stereo.flac")
    assert (made.shape, rate) == ((round(1.3 * RATE), 2), RATE)
    stored, _ = read_audio(source / "stereo.flac")
    expected = Enhancer.from_preset(published[0]).enhance(stored, 16000)
    np.testing.assert_allclose(made, np.clip(expected, -1, 1), atol=2e-3)
    assert soundfile.info(tmp_path / "out/deep/call.wav").subtype == "PCM_16"
    (source / "broken.wav").unlink()
    assert main(command) == 0
    assert "kept existing" in capsys.readouterr().err


def test_what_is_denoised_ahead_is_what_is_denoised_in_turn(published, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("audenoise.enhancer_batch.work_samples", lambda *_: 3001)
    source, settings = tmp_path / "in.wav", EnhanceSettings(model=published[0], denoiser="standard")
    soundfile.write(source, np.stack([voice(4.0, 16000, seed=i) for i in (0, 1)], axis=1), 16000)
    seconds: list[float] = []
    made = {}
    for threads in (1, 2):
        target = tmp_path / f"{threads}.wav"
        enhance_file(
            load_tools(settings, threads), FilePair(source, target), settings, on_progress=seconds.append
        )
        made[threads] = target.read_bytes()
    assert made[1] == made[2]
    assert sum(seconds) == pytest.approx(2 * 4.0)
    # What goes wrong there is said here, and nothing is left behind.
    process, blocks = DenoiserStream.process, []

    def fail(stream: DenoiserStream, block: np.ndarray) -> np.ndarray:
        blocks.append(block)
        if len(blocks) == 9:
            raise SignalError("the block is odd")
        return process(stream, block)

    monkeypatch.setattr(DenoiserStream, "process", fail)
    with pytest.raises(AudioFileError, match=r"in\.wav: the block is odd"):
        enhance_file(load_tools(settings, 2), FilePair(source, tmp_path / "3.wav"), settings)
    assert len(blocks) == 9
    assert {path.name for path in tmp_path.iterdir()} == {"1.wav", "2.wav", "in.wav"}
    assert not [each for each in threading.enumerate() if each.name.startswith("audenoise-ahead")]


def test_peaks_that_come_back_are_told_of_and_fit_with_a_gain(tmp_path: Path, capsys) -> None:
    model = gain_enhancer(tmp_path / "model", 1.5)
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    tone = 0.9 * np.sin(2 * np.pi * 300 * np.arange(24000) / 48000)
    soundfile.write(source, np.stack([tone, 0.1 * tone], axis=1), 48000)
    command = ["enhance", str(source), "-o", str(target), "--model", str(model.folder), "--no-denoise"]
    assert main([*command, "--amount", "0"]) == 0
    assert capsys.readouterr().err == f"audenoise: wrote {target}\n"  # as the recording is, it fits
    assert main([*command, "--overwrite", "--quiet"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "samples in " in line
    assert "up to 2.6 dB over full scale; --gain-db -2.7 --overwrite" in line
    assert main([*command, "--overwrite", "--gain-db", "-2.7", "-q"]) == 0
    assert capsys.readouterr().err == ""
    made, _ = read_audio(target)
    expected = 1.5 * 10 ** (-2.7 / 20) * np.stack([tone, 0.1 * tone], axis=1)
    np.testing.assert_allclose(made[600:-600], expected[600:-600], atol=1e-3)
    # Beside the command: what was clipped comes back from a single file.
    settings = EnhanceSettings(model=model.folder, denoise=False, overwrite=True)
    clipped = enhance_file(load_tools(settings), FilePair(source, target), settings)
    assert clipped is not None
    assert clipped.target == target
    assert clipped.peak == pytest.approx(1.35, rel=1e-2)


def test_a_recording_is_denoised_first_and_comes_out_at_the_rate_that_is_asked_for(
    published, tmp_path: Path, capsys
) -> None:
    gain_model(tmp_path / "half", 0.5)
    audio = voice(1.0, 16000, seed=4)
    soundfile.write(tmp_path / "in.wav", audio, 16000, subtype="FLOAT")
    command = [
        "enhance",
        str(tmp_path / "in.wav"),
        "-o",
        str(tmp_path / "out.wav"),
        "--model",
        str(published[0]),
    ]
    options = ["--denoiser", str(tmp_path / "half"), "--amount", "0", "--sample-rate", "16000"]
    assert main([*command, *options]) == 0
    made, rate = read_audio(tmp_path / "out.wav")
    assert rate == 16000
    expected = resample(resample(0.5 * audio, 16000, RATE), RATE, 16000)
    np.testing.assert_allclose(made[:, 0], expected, atol=1e-4)
    assert main(command) == 1
    assert "kept existing" in capsys.readouterr().err
    assert main([*command, "--model", str(tmp_path / "half"), "--overwrite"]) == 1
    assert "is no enhancer's" in capsys.readouterr().err
    assert json.loads((published[0] / "metadata.json").read_text())["data"] == ["made up"]


def test_little_is_added_to_frames_in_which_there_is_little() -> None:
    rng = np.random.default_rng(4)

    def frames(level_db: float) -> np.ndarray:
        parts = rng.standard_normal((2, 1, 40, 33))
        spectrum = parts[0] + 1j * parts[1]
        return (spectrum * 10 ** (level_db / 20) / np.sqrt(np.square(np.abs(spectrum)).sum(2).mean())).astype(
            np.complex64
        )

    def level_db(spectrum: np.ndarray) -> float:
        return 10 * np.log10(np.square(np.abs(spectrum)).sum(2).mean())

    added = frames(-50)
    assert level_db(restrained(frames(-95), frames(-95) + added, 1.0)) == pytest.approx(HUSH_DB, abs=0.5)
    silent, spoken = frames(-73), frames(-40)
    quiet = level_db(restrained(silent, silent + added, 1.0) - silent)
    assert -73 < quiet < -62
    np.testing.assert_allclose(restrained(spoken, spoken + added, 1.0), spoken + added, atol=1e-7)
    # A loud frame lets its neighbours be.
    spoken[:, :20] = silent[:, :20]
    found = restrained(spoken, spoken + added, 1.0) - spoken
    np.testing.assert_allclose(found[:, 17:], added[:, 17:], atol=1e-6)
    assert level_db(found[:, :15]) < -62


def test_audio_beyond_full_scale_is_enhanced_like_audio_within(enhancer: Enhancer) -> None:
    audio = np.random.default_rng(7).standard_normal((8000, 2)).astype(np.float32)
    loudest = np.abs(audio).max()
    expected = enhancer.enhance(audio / loudest, 16000)
    found = enhancer.enhance(32768.0 * audio, 16000)
    assert np.abs(found / (32768.0 * loudest) - expected).max() < 1e-4

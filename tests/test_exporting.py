"""Exported graphs against `Denoiser`, in the runtimes that they are for, and the examples beside them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
from architecture_specs import SPECS
from model_folders import context_model, gain_enhancer, gain_model, pair_model, recurrent_model

from audenoise import exporting
from audenoise.architectures.summary import build_checked, context_frames
from audenoise.cli import main
from audenoise.denoiser import Denoiser
from audenoise.errors import ModelError
from audenoise.exporting import FORMATS, export_model
from audenoise.exporting.checks import run_onnx
from audenoise.exporting.streaming import StreamingNetwork
from audenoise.exporting.transform import analysis_matrix, delay_samples, synthesis_matrix
from audenoise.layers import to_numpy
from audenoise.onnx_export import to_onnx
from audenoise.presets import Preset, StftSettings, write_metadata
from audenoise.publishing import WEIGHTS_FILE
from audenoise.specs import ModelSpec, dump_spec, parse_spec
from audenoise.spectral import WINDOWS, istft, make_window, stft

CHECKOUT = Path(__file__).parents[1]
SAMPLE = CHECKOUT / "data" / "samples" / "noisy_fan.wav"
CAUSAL = [name for name, spec in SPECS.items() if spec.get("causal", True)]
needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="KERAS_BACKEND is another one"
)


def network_of(name: str) -> tuple[keras.Model, ModelSpec]:
    """A network with weights that leave no part of it without effect."""
    keras.utils.set_random_seed(0)
    spec = parse_spec(SPECS[name])
    network = build_checked(spec)
    rng = np.random.default_rng(1)
    for variable in network.variables:
        value = to_numpy(variable)
        if value.ndim == 1:  # biases and norms, which begin as zeros and ones
            variable.assign(value + rng.uniform(0.01, 0.2, value.shape).astype("float32"))
    return network, spec


def preset_of(name: str, folder: Path) -> Preset:
    """A published model folder of such a network."""
    network, spec = network_of(name)
    folder.mkdir()
    (folder / "spec.yaml").write_text(dump_spec(spec))
    network.save_weights(folder / WEIGHTS_FILE)
    (folder / "model.onnx").write_bytes(to_onnx(network).SerializeToString())
    context = context_frames(network, spec)
    return write_metadata(
        folder,
        {
            "name": folder.name,
            "description": "a test",
            "licence": "CC0 1.0",
            "sample_rate": spec.sample_rate,
            "stft": {
                "n_fft": spec.stft.n_fft,
                "hop_length": spec.stft.hop_length,
                "win_length": spec.stft.window_samples,
                "window": spec.stft.window,
            },
            "context_frames": {"left": context.left, "right": context.right, "multiple": context.multiple},
        },
    )


def stereo_sample(folder: Path) -> Path:
    """Two different channels, of a length that is no multiple of anything."""
    audio, rate = soundfile.read(SAMPLE, dtype="float32", frames=40_001)
    path = folder / "noisy.wav"
    soundfile.write(path, np.stack([audio, audio[::-1] * 0.5], axis=1), rate, subtype="FLOAT")
    return path


# The transform


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("n_fft", "hop", "win"), [(64, 32, 64), (64, 16, 60), (128, 25, 100)])
def test_the_matrices_are_the_transform(window: str, n_fft: int, hop: int, win: int) -> None:
    settings = StftSettings(n_fft=n_fft, hop_length=hop, win_length=win, window=window)
    sizes = {"n_fft": n_fft, "hop_length": hop, "win_length": win, "window": window}
    audio = np.random.default_rng(0).standard_normal(hop * 20)
    spectrum = stft(audio, **sizes)
    padded = np.pad(audio, (delay_samples(settings), win))
    analysis, synthesis = analysis_matrix(settings), synthesis_matrix(settings)
    rows = np.stack([padded[k * hop : k * hop + win] @ analysis for k in range(spectrum.shape[1])])
    complex_rows = rows.reshape(len(rows), -1, 2) @ np.array([1, 1j])
    window_sum = make_window(window, win).sum()
    np.testing.assert_allclose(complex_rows.T * window_sum, spectrum, atol=2e-5 * np.abs(spectrum).max())
    total = np.zeros(len(padded) + win)
    for k, row in enumerate(rows):
        total[k * hop : k * hop + win] += row @ synthesis
    start = delay_samples(settings)
    expected = istft(spectrum, n_samples=len(audio), **sizes)
    np.testing.assert_allclose(total[start : start + len(audio)], expected, atol=2e-5)


# ONNX


@pytest.mark.parametrize("name", SPECS)
def test_onnx_graphs_give_what_predict_gives(name: str, tmp_path: Path) -> None:
    preset_of(name, tmp_path / "model")
    result = export_model(tmp_path / "model", tmp_path / "out", format="onnx")
    assert result.difference < 2e-5
    assert sorted(path.name for path in result.folder.iterdir()) == sorted(result.files)


@pytest.mark.parametrize("make", [gain_model, context_model, pair_model, recurrent_model])
def test_onnx_graphs_of_known_arithmetic(make, tmp_path: Path) -> None:
    preset = make(tmp_path / "model")
    folder = export_model(preset.folder, tmp_path / "out", format="onnx").folder
    settings = json.loads((folder / "settings.json").read_text())
    audio = np.random.default_rng(5).uniform(-0.5, 0.5, 30_003).astype(np.float32)
    expected = audio if make is gain_model else Denoiser(preset).denoise(audio, 16000)
    np.testing.assert_allclose(run_onnx(folder / "model.onnx", settings, audio), expected, atol=2e-6)


def test_onnx_blocks_may_have_any_number_of_hops(tmp_path: Path) -> None:
    preset_of("full_band", tmp_path / "model")
    folder = export_model(tmp_path / "model", tmp_path / "out", format="onnx").folder
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    audio = np.random.default_rng(5).uniform(-0.5, 0.5, (3, 64 * 50)).astype(np.float32)
    zeros = {i.name: np.zeros((3, *i.shape[1:]), np.float32) for i in session.get_inputs()[1:]}
    whole = np.asarray(session.run(None, {"audio": audio, **zeros})[0])
    states, parts, start = zeros, [], 0
    for hops in (1, 1, 7, 20, 2, 19):
        denoised, *after = session.run(None, {"audio": audio[:, start : start + hops * 64], **states})
        states = dict(zip(states, after, strict=True))
        parts.append(denoised)
        start += hops * 64
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5 * np.abs(whole).max())


def test_a_graph_that_looks_ahead_takes_a_file_in_the_blocks_that_predict_takes(tmp_path: Path) -> None:
    preset = preset_of("bidirectional", tmp_path / "model")
    folder = export_model(preset.folder, tmp_path / "out", format="onnx").folder
    settings = json.loads((folder / "settings.json").read_text())
    block, ahead = settings["block_samples"], settings["ahead_samples"]
    assert ahead == preset.context_right * preset.stft.hop_length > 0
    audio = np.random.default_rng(5).uniform(-0.5, 0.5, 3 * block + 777).astype(np.float32)
    expected = Denoiser(preset).denoise(audio, preset.sample_rate)
    got = run_onnx(folder / "model.onnx", settings, audio)
    np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())
    # One that is shown less of what comes makes something else of it.
    blind = run_onnx(folder / "model.onnx", {**settings, "ahead_samples": settings["hop_length"]}, audio)
    assert np.abs(blind - expected).max() > 1e-4 * np.abs(expected).max()


def test_onnx_metadata_says_what_a_program_must_know(tmp_path: Path) -> None:
    folder = export_model("standard", tmp_path / "out", format="onnx").folder
    graph = onnx.load(folder / "model.onnx")
    properties = {each.key: each.value for each in graph.metadata_props}
    assert properties["sample_rate"] == "16000"
    assert properties["delay_samples"] == "256"
    assert json.loads(properties["stft"])["window"] == "sqrt_hann"
    assert properties["licence"]
    settings = json.loads((folder / "settings.json").read_text())
    assert {info.name for info in graph.graph.input} == {
        "audio",
        *(f"{name}_in" for name in settings["states"]),
    }


def test_silence_stays_silent(tmp_path: Path) -> None:
    preset_of("magnitude_complex_noise", tmp_path / "model")
    folder = export_model(tmp_path / "model", tmp_path / "out", format="onnx").folder
    settings = json.loads((folder / "settings.json").read_text())
    assert not run_onnx(folder / "model.onnx", settings, np.zeros(5000, np.float32)).any()


def test_a_phase_that_is_found_afterwards_is_said_to_be_left_out(tmp_path: Path) -> None:
    preset = gain_model(tmp_path / "model", 0.5)
    write_metadata(preset.folder, {**preset.metadata, "phase": "griffin_lim"})
    lines: list[str] = []
    export_model(preset.folder, tmp_path / "out", format="onnx", report=lines.append)
    assert "keeps the noisy phase" in lines[0]


def test_what_is_no_export_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gain_model(tmp_path / "model", 0.5)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    (mine / "settings.json").write_text('{"theme": "dark"}')
    with pytest.raises(ModelError, match="is no export, so it is not replaced"):
        export_model(tmp_path / "model", mine, format="onnx", overwrite=True)
    assert sorted(path.name for path in mine.iterdir()) == ["settings.json", "thesis.txt"]
    out = export_model(tmp_path / "model", tmp_path / "out", format="onnx").folder
    (out / "dist").mkdir()
    (out / "dist" / "ort.js").write_text("for the page")
    (out / "model.onnx").write_text("old")
    monkeypatch.chdir(out)
    export_model(tmp_path / "model", ".", format="onnx", overwrite=True)
    assert (out / "dist" / "ort.js").read_text() == "for the page"
    onnx.load(out / "model.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "model", "out"]


# Keras, step by step


@pytest.mark.parametrize("unrolled", [False, True])
@pytest.mark.parametrize("name", CAUSAL)
def test_steps_of_a_network_are_the_network(name: str, unrolled: bool) -> None:
    network, spec = network_of(name)
    settings = StftSettings(spec.stft.n_fft, spec.stft.hop_length, spec.stft.window_samples, spec.stft.window)
    streaming = StreamingNetwork(network, settings, unrolled=unrolled)
    hop, delay = settings.hop_length, delay_samples(settings)
    audio = np.random.default_rng(2).uniform(-0.5, 0.5, (2, 12 * hop)).astype(np.float32)
    states = {name: np.zeros((2, *shape), np.float32) for name, shape in streaming.state_shapes.items()}
    parts = []
    for start, end in ((0, 1), (1, 2), (2, 9), (9, 12)):
        denoised, states = streaming(audio[:, start * hop : end * hop], states)
        parts.append(to_numpy(denoised))
    sizes: dict[str, Any] = {"n_fft": settings.n_fft, "hop_length": hop}
    window_sum = np.float32(make_window(settings.window, settings.win_length).sum())
    spectrum = np.asarray(stft(audio, **sizes)).swapaxes(1, 2) / window_sum
    noisy = np.ascontiguousarray(spectrum).view(np.float32).reshape(*spectrum.shape, 2)
    output = to_numpy(network(noisy, training=False)) * window_sum
    whole = np.ascontiguousarray(output).view(np.complex64)[..., 0].swapaxes(1, 2)
    expected = istft(whole, n_samples=12 * hop, **sizes)[:, : 12 * hop - delay]
    got = np.concatenate(parts, axis=1)[:, delay:]
    np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())


# LiteRT and SavedModel


@needs_tensorflow
@pytest.mark.parametrize("name", ["full_band", "gru", "causal_time_kernels"])
def test_litert_needs_builtin_operators_only_and_gives_what_predict_gives(name: str, tmp_path: Path) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    preset_of(name, tmp_path / "model")
    result = export_model(tmp_path / "model", tmp_path / "out", format="litert", frames=3)
    assert result.difference < 1e-4
    # The runtime alone, without TensorFlow's operators, allocates all of it.
    runtime = interpreter.Interpreter(str(result.folder / "model.tflite"))
    runtime.allocate_tensors()
    operators = {each["op_name"] for each in runtime._get_ops_details()}
    assert not {each for each in operators if each.startswith(("Flex", "VAR", "READ_VARIABLE"))}


@needs_tensorflow
@pytest.mark.parametrize("name", ["full_band", "time_strides"])
def test_saved_models_give_what_predict_gives(name: str, tmp_path: Path) -> None:
    preset_of(name, tmp_path / "model")
    result = export_model(tmp_path / "model", tmp_path / "out", format="saved-model")
    assert result.difference < 1e-4
    states = json.loads((result.folder / "settings.json").read_text())["states"]
    assert bool(states) == (name in CAUSAL)


@needs_tensorflow
def test_litert_refuses_what_looks_ahead(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    preset_of("time_strides", tmp_path / "model")
    with pytest.raises(ModelError, match=r"looks ahead.*--format onnx"):
        export_model(tmp_path / "model", tmp_path / "out", format="litert")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# The examples


@pytest.mark.parametrize("format", FORMATS)
def test_the_python_examples_run_and_give_what_predict_gives(format: str, tmp_path: Path) -> None:
    if format != "onnx" and keras.backend.backend() != "tensorflow":
        pytest.skip("KERAS_BACKEND is another one")
    if format == "litert":
        pytest.importorskip("ai_edge_litert")
    noisy, model = stereo_sample(tmp_path), str(tmp_path / "model")
    preset_of("full_band", tmp_path / "model")
    assert main(["export", model, "--format", format, "--out", str(tmp_path / "out")]) == 0
    assert main(["predict", str(noisy), "--model", model, "-o", str(tmp_path / "expected.wav")]) == 0
    example = next((tmp_path / "out").glob("denoise_*.py"))
    assert "audenoise" not in example.read_text()
    run = [sys.executable, "-I", str(example), str(noisy), str(tmp_path / "got.wav")]
    subprocess.run(run, check=True, capture_output=True, cwd=tmp_path)
    expected, _ = soundfile.read(tmp_path / "expected.wav", dtype="float32")
    got, rate = soundfile.read(tmp_path / "got.wav", dtype="float32")
    assert (got.shape, rate) == (expected.shape, 16000)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(got, np.clip(expected, -1, 1), atol=1e-4)  # the example writes 16 bits


def test_the_examples_say_in_one_line_what_they_cannot_do(tmp_path: Path) -> None:
    export_model("standard", tmp_path / "out", format="onnx")

    def says(*arguments: str) -> str:
        run = [sys.executable, "out/denoise_onnx.py", *arguments]
        result = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.stderr
        return result.stderr

    soundfile.write(tmp_path / "a.wav", np.zeros(100), 8000)
    advice = 'ffmpeg -i "a.wav" -ar 16000 resampled.wav'
    expected = f"a.wav has 8000 Hz; this model takes 16000 Hz, resample it first: {advice}\n"
    assert says("a.wav", "b.wav") == expected
    assert says().startswith("usage: python denoise_onnx.py NOISY.wav CLEAN.wav, beside model.onnx")
    assert says("none.wav", "b.wav") == "none.wav: no such file\n"
    assert says("a.wav", "a.wav") == "a.wav: exists already; choose another name\n"
    assert says("a.wav", "b") == "b: must end in .wav or .flac, in a folder that is there\n"
    assert says("a.wav", "none/b.wav").startswith("none/b.wav: must end")
    (tmp_path / "a.wav").write_text("no audio")
    assert says("a.wav", "b.wav") == "Error opening 'a.wav': Format not recognised.\n"
    # The others do it in the same lines.
    examples = Path(exporting.__file__).parent / "examples"
    texts = [path.read_text(encoding="utf-8") for path in examples.glob("denoise_*.py")]
    heads = {text[text.index("if len(sys.argv)") : text.index("resample it first")] for text in texts}
    assert (len(texts), len(heads)) == (3, 1)


class _Scripts(HTMLParser):
    """Collects scripts, and checks that all that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.sources: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        if tag not in ("meta", "input"):
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")
            self.sources.append(given.get("src") or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data


def test_the_page_is_whole_and_its_scripts_parse(tmp_path: Path) -> None:
    folder = export_model("standard", tmp_path / "out", format="onnx").folder
    page = _Scripts((folder / "denoise.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert page.sources[0].startswith("https://cdn.jsdelivr.net/npm/onnxruntime-web@")
    script = "\n".join(page.scripts)
    assert {word.split('"')[0] for word in script.split('show("')[1:]} <= page.ids
    # What the page reads of settings.json is there.
    settings = json.loads((folder / "settings.json").read_text())
    wanted = {"hop_length", "delay_samples", "block_samples", "ahead_samples", "states", "sample_rate"}
    assert wanted <= settings.keys()
    if node := shutil.which("node"):
        (tmp_path / "page.js").write_text(script, encoding="utf-8")
        subprocess.run([node, "--check", str(tmp_path / "page.js")], check=True, capture_output=True)


_STUB = """
const settings = JSON.parse(require("fs").readFileSync(process.argv[2]));
const names = Object.keys(settings.states), delay = settings.delay_samples;
class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
let past = new Float32Array(delay), calls = 0;
// In place of ONNX Runtime: gives back the audio as late as a graph does, and counts in the states.
const session = { run: async feeds => {
  const { data, dims } = feeds.audio, joined = new Float32Array(delay + data.length), results = {};
  if (dims.join() !== `1,${data.length}` || data.length % settings.hop_length) throw new Error("audio");
  for (const name of names) {
    const { data: state, dims: shape } = feeds[name + "_in"];
    if (shape.join() !== [1, ...settings.states[name]].join()) throw new Error("shape of " + name);
    if (state.some(value => value !== calls)) throw new Error("state of " + name);
    results[name + "_out"] = new Tensor("float32", state.map(value => value + 1), shape);
  }
  calls += 1;
  joined.set(past); joined.set(data, delay);
  past = joined.slice(data.length);
  results.denoised = { data: joined.slice(0, data.length) };
  return results;
} };
const shares = [];
(async () => {
  for (const length of [50001, 1, settings.hop_length]) {
    past = new Float32Array(delay); calls = 0;
    const audio = Float32Array.from({ length }, (_, i) => Math.sin(i));
    const out = await denoise({ Tensor }, session, settings, audio, share => shares.push(share));
    if (out.length !== length || out.some((value, i) => value !== audio[i])) throw new Error("of " + length);
    if (shares.pop() !== 1) throw new Error("progress");
    if (length === 50001) console.log(calls, names.length);
  }
})();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js")
@pytest.mark.parametrize(("make", "calls"), [(recurrent_model, 4), (context_model, 1)])
def test_the_page_s_function_keeps_states_length_and_delay(
    make: Callable[[Path], Preset], calls: int, tmp_path: Path
) -> None:
    folder = export_model(make(tmp_path / "model").folder, tmp_path / "out", format="onnx").folder
    page = _Scripts((folder / "denoise.html").read_text(encoding="utf-8"))
    (function,) = (script for script in page.scripts if "async function denoise(" in script)
    (tmp_path / "run.js").write_text(function + _STUB, encoding="utf-8")
    run = ["node", str(tmp_path / "run.js"), str(folder / "settings.json")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    n_states = len(json.loads((folder / "settings.json").read_text())["states"])
    assert done.stdout.split() == [str(calls), str(n_states)]


# Refusals


def test_what_cannot_be_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = gain_model(tmp_path / "model")
    with pytest.raises(ModelError, match=r"one of onnx, litert, saved-model\. Received: coreml"):
        export_model(preset.folder, tmp_path / "out", format="coreml")
    with pytest.raises(ModelError, match="frames must be from 1"):
        export_model(preset.folder, tmp_path / "out", format="litert", frames=0)
    with pytest.raises(ModelError, match="name a folder"):
        export_model(preset.folder, tmp_path / "out.onnx", format="onnx")
    with pytest.raises(ModelError, match="no model called"):
        export_model("no-such-model", tmp_path / "out", format="onnx")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ModelError, match="exists already; add --overwrite"):
        export_model(preset.folder, tmp_path / "mine", format="onnx")
    with pytest.raises(ModelError, match="is no export, so it is not replaced"):
        export_model(preset.folder, tmp_path / "mine", format="onnx", overwrite=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"needs ai-edge-litert: pip install 'audenoise\[litert\]'"):
        export_model(preset.folder, tmp_path / "out", format="litert")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "model"]


@pytest.mark.parametrize("format", FORMATS)
def test_an_enhancer_is_refused_before_any_framework_loads(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = gain_enhancer(tmp_path / "model", 0.5)
    monkeypatch.setattr("audenoise.cli_export.load_keras", lambda: pytest.fail("loads Keras"))
    arguments = ["export", str(preset.folder), "--format", format, "--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "is an enhancer, and only denoisers are exported; its model.onnx is the graph" in line
    assert "spectrum (batch, frames, 257, 2) in, enhanced (batch, frames, 257, 2) out" in line
    with pytest.raises(ModelError, match="is an enhancer"):
        export_model(preset.folder, tmp_path / "out", format=format)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_graph_that_differs_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = gain_model(tmp_path / "model")
    wrong = replace(FORMATS["onnx"], run=lambda path, settings, audio: audio * 1.001)
    monkeypatch.setitem(FORMATS, "onnx", wrong)
    with pytest.raises(ModelError, match=r"differ by 1\.0e-03 of the peak"):
        export_model(preset.folder, tmp_path / "out", format="onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_earlier_export_is_replaced_on_request(tmp_path: Path) -> None:
    preset = gain_model(tmp_path / "model")
    export_model(preset.folder, tmp_path / "out", format="onnx")
    (tmp_path / "out" / "denoise.html").unlink()
    export_model(preset.folder, tmp_path / "out", format="onnx", overwrite=True)
    assert (tmp_path / "out" / "denoise.html").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out"]


def test_exporting_onnx_loads_no_framework(tmp_path: Path) -> None:
    code = (
        "import sys; from audenoise.exporting import export_model; "
        f"export_model('standard', {str(tmp_path / 'out')!r}, format='onnx'); "
        "sys.exit(bool({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

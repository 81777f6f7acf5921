#!/usr/bin/env python3
"""Other forms of a model's graph, in time and in quality against the one that ships.

    python benchmarks/graph_variants.py --pairs PAIRS --model standard [--files 20] [--turns 10]

- fusion: ONNX Runtime's levels of graph optimisation, all of them in the graph that ships;
- 8 bit: weights of products, or of products and convolutions, in int8, activations quantised as they come
  (ONNX Runtime has no such GRU);
- float16: computed with, not only kept (GRUs stay in float32: ONNX Runtime has no other on a processor);
- OpenVINO, in float32 and bfloat16, where `pip install openvino` was run.

One thread. Time is processor time, so that others on the machine do no harm: the least of the turns that the
variants take, on noisy recordings of the pairs in a row. Quality is the mean over the pairs, each by itself.
"""

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime

from audenoise.audio import find_audio, read_audio
from audenoise.errors import AudenoiseError, DataError
from audenoise.metrics import pesq_wideband, si_sdr_db, snr_db
from audenoise.network import Network
from audenoise.presets import Preset, load_preset
from audenoise.spectral import istft, make_window, stft

Feed = dict[str, np.ndarray]
Runner = Callable[[Feed], np.ndarray]
_LEVELS = onnxruntime.GraphOptimizationLevel
_TIMED_S = 4.0
"""About as much as a block of a long file."""


def session_of(path: Path, level: onnxruntime.GraphOptimizationLevel = _LEVELS.ORT_ENABLE_ALL) -> Runner:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda feed: np.asarray(session.run(["denoised"], feed)[0])


def variants(graph: Path, folder: Path) -> Iterator[tuple[str, Runner]]:
    """Each variant, the one that ships first."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.float16 import convert_float_to_float16

    yield "as it ships", session_of(graph)
    for name, level in (
        ("fusion: none", _LEVELS.ORT_DISABLE_ALL),
        ("fusion: basic", _LEVELS.ORT_ENABLE_BASIC),
        ("fusion: extended", _LEVELS.ORT_ENABLE_EXTENDED),
    ):
        yield name, session_of(graph, level)
    options = onnxruntime.SessionOptions()  # kernels that are kept in float16 become float32 here
    options.graph_optimization_level = _LEVELS.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "plain.onnx")
    onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    for kinds in (["MatMul"], ["MatMul", "Conv"]):
        path = folder / f"{'-'.join(kinds)}.onnx"
        quantize_dynamic(
            folder / "plain.onnx",
            path,
            op_types_to_quantize=kinds,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        yield f"8 bit: {' and '.join(kinds)}", session_of(path)
    half = convert_float_to_float16(
        onnx.load(folder / "plain.onnx"), keep_io_types=True, op_block_list=["GRU", "Log", "Exp"]
    )
    onnx.save(half, folder / "half.onnx")
    yield "float16", session_of(folder / "half.onnx")
    if importlib.util.find_spec("openvino"):
        for precision in ("f32", "bf16"):
            yield f"OpenVINO, {precision}", by_openvino(graph, precision)


def by_openvino(graph: Path, precision: str) -> Runner:
    import openvino  # pyright: ignore[reportMissingImports]

    hints = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(graph, "CPU", hints)
    denoised = next(output for output in compiled.outputs if "denoised" in output.get_names())
    return lambda feed: compiled(feed)[denoised]


class Spectra:
    """Audio to what a preset's graph is fed, and back."""

    def __init__(self, preset: Preset) -> None:
        sizes = preset.stft
        self._network = Network(preset, threads=1)
        self._sizes = {"n_fft": sizes.n_fft, "hop_length": sizes.hop_length, "window": sizes.window}
        self._sizes["win_length"] = sizes.win_length
        self._gain = float(make_window(sizes.window, sizes.win_length).sum())

    def feed(self, audio: np.ndarray) -> Feed:
        spectrum = np.ascontiguousarray((stft(audio, **self._sizes).T / self._gain)[np.newaxis], np.complex64)
        return self._network.values(spectrum, self._network.initial_states(1))

    def audio(self, denoised: np.ndarray, length: int) -> np.ndarray:
        spectrum = (denoised[0, ..., 0] + 1j * denoised[0, ..., 1]).T * self._gain
        return istft(spectrum, **self._sizes, n_samples=length)


def read_pairs(folder: Path, count: int, sample_rate: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Noisy and clean, spread over the folder."""
    paths = sorted(find_audio(folder / "noisy"))
    if not paths:
        raise DataError(f"{folder}: has no recordings in noisy/")
    pairs = []
    for path in paths[:: max(1, len(paths) // count)][:count]:
        both = [
            read_audio(folder / side / path.name, sample_rate=sample_rate)[0] for side in ("noisy", "clean")
        ]
        pairs.append((both[0][:, 0], both[1][:, 0]))
    return pairs


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, required=True, help="folder with noisy/ and clean/")
    parser.add_argument("--model", default="standard", help="published model")
    parser.add_argument("--files", type=int, default=20, help="pairs for the quality")
    parser.add_argument("--turns", type=int, default=10, help="the least time of them counts")
    options = parser.parse_args()
    try:
        preset = load_preset(options.model)
        pairs = read_pairs(options.pairs, options.files, preset.sample_rate)
        spectra = Spectra(preset)
        print(table(preset, spectra, pairs, options.turns))
    except AudenoiseError as error:
        print(f"graph_variants.py: {error}", file=sys.stderr)
        return 1
    return 0


def table(preset: Preset, spectra: Spectra, pairs: list[tuple[np.ndarray, np.ndarray]], turns: int) -> str:
    long = np.concatenate([noisy for noisy, _ in pairs])[: round(_TIMED_S * preset.sample_rate)]
    timed = spectra.feed(long)
    with tempfile.TemporaryDirectory() as folder:
        runners = dict(variants(preset.folder / "model.onnx", Path(folder)))
    least = dict.fromkeys(runners, float("inf"))
    for run in runners.values():
        run(timed)  # warms up
    for _ in range(turns):
        for name, run in runners.items():
            begun = time.process_time()
            run(timed)
            least[name] = min(least[name], time.process_time() - begun)
    shipped, *_ = least
    lines = [
        f"{preset.name}: the graph alone, {_TIMED_S:g} s at once on one thread, and {len(pairs)} pairs",
        "",
        "| graph | ms per second of audio | of the time | differs by, dB | WB-PESQ | SI-SDR dB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    feeds = [spectra.feed(noisy) for noisy, _ in pairs]
    references: list[np.ndarray] = []
    for name, run in runners.items():
        outputs = [
            spectra.audio(run(feed), len(noisy)) for feed, (noisy, _) in zip(feeds, pairs, strict=True)
        ]
        references = references or outputs
        distance = np.median([snr_db(ours, theirs) for ours, theirs in zip(references, outputs, strict=True)])
        scores = [
            (pesq_wideband(clean, made, preset.sample_rate), si_sdr_db(clean, made))
            for (_, clean), made in zip(pairs, outputs, strict=True)
        ]
        pesq, si_sdr = np.mean(scores, axis=0)
        lines.append(
            f"| {name} | {1e3 * least[name] / _TIMED_S:.1f} | {100 * least[name] / least[shipped]:.0f} % "
            f"| {'' if name == shipped else f'{-distance:.0f}'} | {pesq:.3f} | {si_sdr:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

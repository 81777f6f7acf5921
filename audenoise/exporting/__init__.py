"""Published models for other runtimes: ONNX, LiteRT and SavedModel graphs that take and give audio.

Every export is run beside `Denoiser` before it is written, and comes with an example that runs.
"""

import dataclasses
import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from audenoise.denoiser import Denoiser
from audenoise.errors import ModelError
from audenoise.exporting.checks import run_litert, run_onnx, run_saved_model
from audenoise.exporting.transform import check_exportable, delay_samples
from audenoise.presets import GRAPH_FILE, Preset, load_preset
from audenoise.stream import file_block_frames

__all__ = ["FORMATS", "Exported", "export_model", "load_exportable"]

SETTINGS_FILE = "settings.json"
_EXAMPLE_BLOCK_S = 1.0
_CHECK_S = 2.0


@dataclass(frozen=True)
class _Format:
    graph: str
    examples: tuple[str, ...]
    tolerance: float
    run: Callable[[Path, dict[str, Any], np.ndarray], np.ndarray]
    needs: str | None = None


FORMATS: dict[str, _Format] = {
    "onnx": _Format("model.onnx", ("denoise_onnx.py", "denoise.html"), 1e-4, run_onnx),
    "litert": _Format("model.tflite", ("denoise_litert.py",), 1e-3, run_litert, "ai_edge_litert"),
    "saved-model": _Format("saved_model", ("denoise_saved_model.py",), 1e-4, run_saved_model, "tensorflow"),
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    folder : Path
    files : tuple of str
        Names in it.
    difference : float
        Between the exported graph and `Denoiser`, relative to the peak.
    """

    folder: Path
    files: tuple[str, ...]
    difference: float


def export_model(
    model: str | os.PathLike[str] | None,
    target: str | os.PathLike[str],
    *,
    format: str,
    frames: int = 1,
    overwrite: bool = False,
    report: Callable[[str], object] | None = None,
) -> Exported:
    """Write a published model for another runtime.

    The graph takes ``audio`` (batch, samples) at the model's rate and gives ``denoised``, window less hop
    samples later; all state goes in and comes out, so that blocks continue where the last one ended.

    Parameters
    ----------
    model : str or PathLike
        Name of a bundled model, or path to a model folder. Default: the standard model.
    target : str or PathLike
        Folder, made here: the graph, settings.json and an example.
    format : str
        One of `FORMATS`.
    frames : int
        For LiteRT, whose graphs are of fixed size: frames in each call. 1 has the lowest latency.
    overwrite : bool
        Replace what an earlier export made; other files in its folder stay.
    report : callable, optional
        Called with each line worth telling.

    Raises
    ------
    ModelError
        If the model is missing, damaged or an enhancer, the format is unknown or can't express it, a package
        is missing, the folder exists, or the exported graph gives other audio than `Denoiser`.
    """
    if format not in FORMATS:
        raise ModelError(f"format must be one of {', '.join(FORMATS)}. Received: {format}")
    if not 1 <= frames <= 1000:
        raise ModelError(f"frames must be from 1 to 1000. Received: {frames}")
    kind, target, tell = FORMATS[format], Path(os.path.abspath(target)), report or (lambda line: None)
    preset = load_exportable(model)
    _refuse_other_folder(target, overwrite=overwrite)
    if kind.needs and importlib.util.find_spec(kind.needs) is None:
        extra = "'audenoise[litert]'" if format == "litert" else kind.needs
        raise ModelError(f"--format {format} needs {kind.needs.replace('_', '-')}: pip install {extra}")
    check_exportable(preset)
    partial = target.with_name(f".{target.name}.partial{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        settings = _write_graph(preset, partial / kind.graph, format=format, frames=frames)
        difference = _difference(preset, kind, partial, settings)
        if not difference < kind.tolerance:
            raise ModelError(
                f"{preset.name}: {format} and audenoise differ by {difference:.1e} of the peak "
                f"(allowed: {kind.tolerance:.0e}); not exported"
            )
        settings["difference"] = float(f"{difference:.1e}")
        text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
        (partial / SETTINGS_FILE).write_text(text, encoding="utf-8")
        for name in kind.examples:
            (partial / name).write_bytes((files("audenoise.exporting") / "examples" / name).read_bytes())
        _replace(target, partial)
    except OSError as error:
        raise ModelError(f"{target}: can't be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if preset.context_right and format == "saved-model":
        tell(
            f"{preset.name}: predict lets it hear {_ahead_s(preset):.1f} s ahead; the SavedModel hears it all"
        )
    if preset.phase != "network":
        tell(f"{preset.name}: predict finds a phase by Griffin-Lim; the exported graph keeps the noisy phase")
    return Exported(target, (kind.graph, SETTINGS_FILE, *kind.examples), difference)


def _ahead_s(preset: Preset) -> float:
    return preset.context_right * preset.stft.hop_length / preset.sample_rate


def load_exportable(model: str | os.PathLike[str] | None = None) -> Preset:
    """Load a model as `load_preset` does, if it is one to export: no framework is needed to say so.

    Raises
    ------
    ModelError
        If the model is missing, damaged, or an enhancer, whose published graph is all there is: the line says
        what that takes and gives.
    """
    preset = load_preset(model)
    if not preset.is_enhancer:
        return preset
    import onnx

    content = preset.read_file(GRAPH_FILE)
    try:
        graph = onnx.load_model_from_string(content).graph
    except Exception as error:  # protobuf's errors have no name of onnx's
        raise ModelError(f"{preset.folder}: {GRAPH_FILE} is no ONNX graph") from error
    inputs = " and ".join(_shown(each) for each in graph.input)
    outputs = " and ".join(_shown(each) for each in graph.output)
    raise ModelError(
        f"{preset.folder}: is an enhancer, and only denoisers are exported; its {GRAPH_FILE} is the graph "
        f"for ONNX Runtime: {inputs} in, {outputs} out (float32 spectra at {preset.sample_rate} Hz)"
    )


def _shown(value: Any) -> str:
    axes = (each.dim_param or str(each.dim_value) for each in value.type.tensor_type.shape.dim)
    return f"{value.name} ({', '.join(axes)})"


def _refuse_other_folder(target: Path, *, overwrite: bool) -> None:
    if target.suffix.lower() in (".onnx", ".tflite"):
        raise ModelError(f"{target}: name a folder; the graph is written into it beside its example")
    if not target.exists():
        return
    if not overwrite:
        raise ModelError(f"{target}: exists already; add --overwrite to replace it")
    try:
        settings = json.loads((target / SETTINGS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = None
    if not (isinstance(settings, dict) and settings.keys() >= {"format", "model_sha256", "delay_samples"}):
        raise ModelError(f"{target}: is no export, so it is not replaced")


def _write_graph(preset: Preset, path: Path, *, format: str, frames: int) -> dict[str, Any]:
    ahead = 0
    settings: dict[str, Any] = {
        "name": preset.name,
        "description": preset.description,
        "licence": preset.licence,
        "format": format,
        "sample_rate": preset.sample_rate,
        "hop_length": preset.stft.hop_length,
        "delay_samples": delay_samples(preset.stft),
        "stft": dataclasses.asdict(preset.stft),
        "model_sha256": preset.files,
    }
    if format == "onnx":
        from audenoise.exporting.onnx_audio import AHEAD, audio_graph, state_shapes

        graph = audio_graph(preset, settings)
        path.write_bytes(graph.SerializeToString())
        states, ahead = state_shapes(graph), preset.context_right
        per_block = round(_EXAMPLE_BLOCK_S * preset.sample_rate / preset.stft.hop_length)
        if any(each.name == AHEAD for each in graph.graph.input):
            per_block = file_block_frames(preset, has_states=True)  # what it sees ahead depends on the block
        elif (preset.context_left, preset.context_right, preset.context_multiple) != (0, 0, 1):
            # A network that looks back and ahead without states needs all of the signal at once.
            per_block = ahead = 0
    elif (backend := _keras_backend()) != "tensorflow":
        raise ModelError(f"TensorFlow writes this format; run with KERAS_BACKEND=tensorflow, not {backend}")
    elif format == "litert":
        from audenoise.exporting.tensorflow_formats import write_litert

        states, per_block = write_litert(preset, path, frames=frames), frames
    else:
        from audenoise.exporting.tensorflow_formats import write_saved_model

        states, per_block = write_saved_model(preset, path), 0
    hop = preset.stft.hop_length
    return {**settings, "block_samples": per_block * hop, "ahead_samples": ahead * hop, "states": states}


def _keras_backend() -> str:
    import keras

    return keras.backend.backend()


def _difference(preset: Preset, kind: _Format, folder: Path, settings: dict[str, Any]) -> float:
    """Largest difference to `Denoiser` over its peak, for noise that swells, pauses and swells again."""
    # Beyond a block, where what is heard of what comes depends on it.
    seams = settings["block_samples"] + settings["ahead_samples"] if settings["ahead_samples"] else 0
    n_samples = round(_CHECK_S * preset.sample_rate) + 17 + seams
    swell = np.abs(np.sin(np.linspace(0, 2 * np.pi, n_samples))) ** 2
    swell[n_samples // 3 : n_samples // 2] = 0.0
    audio = (np.random.default_rng(0).standard_normal(n_samples) * 0.1 * swell).astype(np.float32)
    # As the graph can do it: without a phase found afterwards.
    expected = Denoiser(dataclasses.replace(preset, phase="network")).denoise(audio, preset.sample_rate)
    got = kind.run(folder / kind.graph, settings, audio)
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-9))


def _replace(target: Path, partial: Path) -> None:
    if not target.exists():
        partial.rename(target)
        return
    old = target.with_name(f".{target.name}.old{os.getpid()}")
    target.rename(old)
    partial.rename(target)
    made = {SETTINGS_FILE} | {name for kind in FORMATS.values() for name in (kind.graph, *kind.examples)}
    for path in old.iterdir():
        if path.name not in made:
            path.rename(target / path.name)
    shutil.rmtree(old)

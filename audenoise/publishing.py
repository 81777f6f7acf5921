# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportAttributeAccessIssue=false
"""From a training run to a model folder that `predict` can use."""

import csv
import datetime
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from audenoise.architectures.summary import build_checked, context_frames, macs_per_second
from audenoise.callbacks import COLLAPSE_DB, RunState
from audenoise.errors import ModelError, TrainingError, brief
from audenoise.half_weights import graph_of, save_weights
from audenoise.layers import to_numpy
from audenoise.model_folders import WEIGHTS_FILE, check_target, new_model_folder
from audenoise.onnx_export import to_onnx
from audenoise.presets import load_preset, write_metadata
from audenoise.specs import ModelSpec, dump_spec, load_spec, parse_spec, spec_to_dict

PARITY = 1e-4


def load_keras_model(folder: str | Path) -> tuple[keras.Model, ModelSpec]:
    """The Keras network of a model folder, with its weights.

    Parameters
    ----------
    folder : str or Path
        Name of a bundled model or path to a model folder.

    Raises
    ------
    ModelError
        If a file is missing, changed or does not fit the spec.
    """
    preset = load_preset(folder)
    preset.verify()
    spec = load_spec(preset.folder / "spec.yaml")
    network = build_checked(spec, source=str(preset.folder / "spec.yaml"))
    _load_weights(network, preset.folder / WEIGHTS_FILE)
    return network, spec


def _load_weights(network: keras.Model, weights: Path) -> None:
    try:
        network.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        reason = brief(error)
        raise ModelError(f"{weights}: does not fit spec.yaml ({reason})") from None


def parity_error(network: keras.Model, graph: bytes, *, frames: int = 150, seed: int = 0) -> float:
    """Largest difference between the Keras network and its ONNX graph, relative to the output's peak.

    Noise at three levels is run through both, the graph in blocks of uneven length with its state carried
    where it has one, and with all that comes where it looks ahead.
    """
    import onnxruntime

    rng = np.random.default_rng(seed)
    bins = network.input.shape[2]
    levels = np.array([1e-3, 3e-2, 1.0])[:, None, None, None]
    noisy = (rng.standard_normal((3, frames, bins, 2)) * levels * 0.1).astype(np.float32)
    expected = to_numpy(network(noisy, training=False))
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    inputs = {each.name: each.shape for each in session.get_inputs() if each.name != "noisy"}
    ahead = inputs.pop("ahead", None) is not None
    states = {name: np.zeros((3, *shape[1:]), np.float32) for name, shape in inputs.items()}
    cuts = (0, 1, 40, frames) if states else (0, frames)
    pieces = []
    for start, end in itertools.pairwise(cuts):
        shown = {"noisy": noisy[:, start : frames if ahead else end], **states}
        if ahead:
            shown["ahead"] = np.array([frames - end], np.int64)
        denoised, *after = session.run(None, shown)
        pieces.append(np.asarray(denoised)[:, : end - start])
        states = dict(zip(states, after, strict=True))
    return float(np.abs(np.concatenate(pieces, axis=1) - expected).max() / np.abs(expected).max())


def scores_of(measured: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What to keep of a file of scores: the means of this model, if it is of benchmarks/quality.py.

    Raises
    ------
    ModelError
        If the file is of that kind and the model is not in it.
    """
    if "systems" not in measured:
        return dict(measured)
    for system in measured["systems"]:
        if system["name"] in ("audenoise", f"audenoise {name}"):
            kept = {key: system[key] for key in ("mean", "by_snr_db") if key in system}
            return {"pairs": len(system["pairs"]), **kept}
    raise ModelError(f"the scores have no row audenoise or 'audenoise {name}'")


def doubts(run: Path) -> list[str]:
    """What speaks against publishing a run's best weights: a line for each reason, none for a sound run."""
    state, log = RunState.read(run), run / "log.csv"
    try:
        with log.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["epoch"]) + 1 == state.best_epoch]
        level_db = float(rows[-1]["val_level_db"])
    except (OSError, LookupError, ValueError):
        return []  # of another audenoise, or without the log
    if level_db >= COLLAPSE_DB:
        return []
    return [
        f"{run}: the output of its best epoch lies {-level_db:.0f} dB below the speech: near silence. Train "
        "longer (--resume --epochs N); a first model needs some thousand steps"
    ]


def publish(
    run: Path,
    target: Path,
    *,
    description: str,
    licence: str,
    data: list[str],
    scores: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    half: bool = True,
) -> float:
    """Write a model folder from a run's best weights.

    Parameters
    ----------
    run : Path
        A run folder of `audenoise train`.
    target : Path
        The new folder; its name is the model's name.
    description, licence : str
        Kept in the metadata.
    data : list of str
        What the model was trained on, with attributions.
    scores : mapping, optional
        Measured scores, such as the JSON of ``benchmarks/quality.py`` (see `scores_of`); nothing is added.
    overwrite : bool
        Replace an existing model folder.
    half : bool
        Round the kernels to float16 and keep them so: half the size (see `audenoise.half_weights`).

    Returns
    -------
    float
        The difference between Keras and ONNX that was found, relative to the output's peak.

    Raises
    ------
    TrainingError
        If the run has no best weights yet.
    ModelError
        If the folder exists, or Keras and ONNX differ by more than 1e-4.
    """
    weights = run / "best.weights.h5"
    if not weights.exists():
        raise TrainingError(f"{run}: holds no best.weights.h5; train for at least one epoch first")
    check_target(target, overwrite=overwrite)
    spec = parse_spec({**spec_to_dict(load_spec(run / "spec.yaml")), "name": target.name}, source=str(target))
    state = RunState.read(run)
    network = build_checked(spec, source=str(run / "spec.yaml"))
    _load_weights(network, weights)
    graph = graph_of(network, to_onnx, half=half)
    error = parity_error(network, graph)
    if not error < PARITY:
        raise ModelError(
            f"{run}: Keras and ONNX differ by {error:.1e} (allowed: {PARITY:.0e}); not published"
        )
    context = context_frames(network, spec)
    recipe = spec.training
    steps = state.best_epoch * recipe.steps_per_epoch
    metadata = {
        "name": target.name,
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "description": description,
        "licence": licence,
        "sample_rate": spec.sample_rate,
        "stft": {
            "n_fft": spec.stft.n_fft,
            "hop_length": spec.stft.hop_length,
            "win_length": spec.stft.window_samples,
            "window": spec.stft.window,
        },
        "phase": "griffin_lim" if spec.output.phase == "griffin_lim" else "network",
        "context_frames": {"left": context.left, "right": context.right, "multiple": context.multiple},
        "parameters": network.count_params(),
        "weights": "float16" if half else "float32",
        "macs_per_second": macs_per_second(network, spec),
        "training": {
            "epochs": state.best_epoch,
            "steps": steps,
            "hours_of_audio": round(steps * recipe.batch_size * recipe.crop_s / 3600, 2),
            "wall_hours": round(state.seconds / 3600, 2),
            "validation_loss": state.best_loss,
            "seed": recipe.seed,
            "backend": keras.backend.backend(),
        },
        "data": data,
        "scores": scores_of(scores or {}, target.name),
        "keras_onnx_difference": error,
    }
    with new_model_folder(target, n_bytes=10 * network.count_params() + 1_000_000) as folder:
        (folder / "spec.yaml").write_text(dump_spec(spec), encoding="utf-8")
        save_weights(network, folder / WEIGHTS_FILE, half=half)
        (folder / "model.onnx").write_bytes(graph)
        write_metadata(folder, metadata)
    return error

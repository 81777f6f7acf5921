# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
"""From a training run to a model folder that `audenoise enhance` can use."""

import datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np

from audenoise.architectures.enhancer import build_generator, generator_macs_per_second
from audenoise.enhancing.onnx_graph import generator_to_onnx
from audenoise.enhancing.runs import BEST_FILE
from audenoise.errors import ModelError, TrainingError, brief
from audenoise.half_weights import graph_of, save_weights
from audenoise.layers import to_numpy
from audenoise.model_folders import WEIGHTS_FILE, check_target, new_model_folder
from audenoise.presets import write_metadata
from audenoise.run_folders import RunState
from audenoise.specs.enhancer import EnhancerSpec, dump_enhancer_spec, load_enhancer_spec

PARITY = 1e-4


def enhancer_parity(generator: keras.Model, graph: bytes, *, frames: int = 60, seed: int = 0) -> float:
    """Largest difference between the Keras network and its ONNX graph, relative to the output's peak.

    Noise at three levels is run through both.
    """
    import onnxruntime

    rng = np.random.default_rng(seed)
    bins = generator.input["spectrum"].shape[2]
    levels = np.array([1e-4, 3e-3, 0.1])[:, None, None, None]
    shown = {"spectrum": (rng.standard_normal((3, frames, bins, 2)) * levels).astype(np.float32)}
    if "conditioning" in generator.input:
        shown["conditioning"] = rng.random((3, frames, 4)).astype(np.float32)
    expected = to_numpy(generator(shown, training=False)["spectrum"])
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    enhanced = np.asarray(session.run(["enhanced"], shown)[0])
    return float(np.abs(enhanced - expected).max() / np.abs(expected).max())


def publish_enhancer(
    run: Path,
    target: Path,
    *,
    description: str,
    licence: str,
    data: list[str],
    scores: dict[str, Any] | None = None,
    overwrite: bool = False,
    half: bool = True,
) -> float:
    """Write a model folder from a run's best weights.

    Parameters
    ----------
    run : Path
        A run folder of `audenoise train-enhancer`.
    target : Path
        The new folder; its name is the model's name.
    description, licence : str
        Kept in the metadata.
    data : list of str
        What the model was trained on, with attributions.
    scores : dict, optional
        Measured scores.
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
    weights = run / BEST_FILE
    if not weights.exists():
        raise TrainingError(f"{run}: holds no {BEST_FILE}; train for at least one epoch first")
    check_target(target, overwrite=overwrite)
    spec = load_enhancer_spec(run / "spec.yaml").model_copy(update={"name": target.name})
    generator = build_generator(spec)
    try:
        generator.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        reason = brief(error)
        raise ModelError(f"{weights}: does not fit spec.yaml ({reason})") from None
    graph = graph_of(generator, generator_to_onnx, half=half)
    difference = enhancer_parity(generator, graph)
    if not difference < PARITY:
        raise ModelError(f"{run}: Keras and ONNX differ by {difference:.1e} (allowed: {PARITY:.0e})")
    metadata = _metadata(spec, RunState.read(run), generator)
    metadata |= {"description": description, "licence": licence, "data": data, "scores": scores or {}}
    metadata |= {"keras_onnx_difference": difference, "weights": "float16" if half else "float32"}
    with new_model_folder(target, n_bytes=10 * generator.count_params() + 1_000_000) as folder:
        (folder / "spec.yaml").write_text(dump_enhancer_spec(spec), encoding="utf-8")
        save_weights(generator, folder / WEIGHTS_FILE, half=half)
        (folder / "model.onnx").write_bytes(graph)
        write_metadata(folder, metadata)
    return difference


def _metadata(spec: EnhancerSpec, state: RunState, generator: keras.Model) -> dict[str, Any]:
    recipe, stft, reach = spec.training, spec.stft, spec.generator.reach_frames
    steps = state.best_epoch * recipe.steps_per_epoch
    return {
        "name": spec.name,
        "kind": "enhancer",
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "sample_rate": spec.sample_rate,
        "stft": {
            "n_fft": stft.n_fft,
            "hop_length": stft.hop_length,
            "win_length": stft.window_samples,
            "window": stft.window,
        },
        "context_frames": {"left": reach, "right": reach, "multiple": 1},
        "parameters": generator.count_params(),
        "macs_per_second": generator_macs_per_second(generator, spec),
        "training": {
            "epochs": state.best_epoch,
            "steps": steps,
            "adversarial_from_step": spec.schedule.adversarial_from_step,
            "hours_of_audio": round(steps * recipe.batch_size * recipe.crop_s / 3600, 2),
            "wall_hours": round(state.seconds / 3600, 2),
            recipe.scored_by: state.best_loss,
            "seed": recipe.seed,
            "backend": keras.backend.backend(),
        },
    }

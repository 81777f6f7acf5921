"""Run an exported graph in its own runtime, the way its example does."""

from pathlib import Path
from typing import Any

import numpy as np


def _padded(settings: dict[str, Any], audio: np.ndarray, multiple: int) -> np.ndarray:
    delay = settings["delay_samples"]
    return np.pad(audio, (0, delay + -(len(audio) + delay) % multiple))


def _zeros(settings: dict[str, Any], suffix: str = "") -> dict[str, np.ndarray]:
    return {
        f"{name}{suffix}": np.zeros((1, *shape), np.float32) for name, shape in settings["states"].items()
    }


def run_onnx(path: Path, settings: dict[str, Any], audio: np.ndarray) -> np.ndarray:
    """Denoise one channel: (samples,) → (samples,)."""
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    padded = _padded(settings, audio, settings["hop_length"])
    states, parts = _zeros(settings, "_in"), []
    outputs = ["denoised", *(f"{name}_out" for name in settings["states"])]
    hop, ahead = settings["hop_length"], settings["ahead_samples"]
    block = settings["block_samples"] or len(padded)
    for start in range(0, len(padded), block):
        shown = padded[None, start : start + block + ahead]
        more = {"ahead": np.array([max(0, shown.shape[1] - block) // hop])} if ahead else {}
        denoised, *after = session.run(outputs, {"audio": shown, **more, **states})
        states = dict(zip(states, after, strict=True))
        parts.append(denoised[0])
    return np.concatenate(parts)[settings["delay_samples"] :][: len(audio)]


def run_litert(path: Path, settings: dict[str, Any], audio: np.ndarray) -> np.ndarray:
    """The same for LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    process: Any = Interpreter(str(path), num_threads=1).get_signature_runner("process")
    padded = _padded(settings, audio, settings["block_samples"])
    states, parts = _zeros(settings), []
    for start in range(0, len(padded), settings["block_samples"]):
        states = process(audio=padded[None, start : start + settings["block_samples"]], **states)
        parts.append(states.pop("denoised")[0])
    return np.concatenate(parts)[settings["delay_samples"] :][: len(audio)]


def run_saved_model(path: Path, settings: dict[str, Any], audio: np.ndarray) -> np.ndarray:
    """The same for a SavedModel; NaN where blocks, if it takes any, come out otherwise than the whole."""
    import tensorflow as tf

    signatures: Any = tf.saved_model.load(str(path)).signatures  # pyright: ignore[reportAttributeAccessIssue]
    whole = signatures["denoise"](audio=tf.constant(audio[None]))["denoised"].numpy()[0]
    if not settings["states"]:
        return whole
    padded = _padded(settings, audio, settings["hop_length"])
    states: dict[str, Any] = {name: tf.constant(zeros) for name, zeros in _zeros(settings).items()}
    parts = []
    for start, end in ((0, 1), (1, 8), (8, None)):
        block = slice(start * settings["hop_length"], end and end * settings["hop_length"])
        states = dict(signatures["process"](audio=tf.constant(padded[None, block]), **states))
        parts.append(states.pop("denoised").numpy()[0])
    blockwise = np.concatenate(parts)[settings["delay_samples"] :][: len(audio)]
    return np.where(np.abs(blockwise - whole) > 1e-4, np.nan, whole)

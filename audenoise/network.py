"""A model's ONNX graph: loaded from checked bytes, checked against the metadata, run block by block."""

from collections.abc import Mapping

import numpy as np
import onnxruntime as ort

from audenoise.errors import ModelError
from audenoise.presets import GRAPH_FILE, Preset

_FLOAT = "tensor(float)"
_MAX_STATE_SIZE = 1 << 24  # numbers per channel


class Network:
    """The graph of a model folder.

    Parameters
    ----------
    preset : Preset
    threads : int
        At least 1.

    Attributes
    ----------
    preset : Preset
    bins : int
        Frequencies of a frame: n_fft // 2 + 1.

    Raises
    ------
    ModelError
        If the graph is damaged, or its inputs and outputs aren't those of a denoiser with this metadata.
    """

    def __init__(self, preset: Preset, *, threads: int) -> None:
        self.preset = preset
        self.bins = preset.stft.n_fft // 2 + 1
        self._where = f"{preset.folder}: {GRAPH_FILE}"
        if threads < 1:
            raise ModelError(f"threads must be at least 1. Received: {threads}")
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # what goes wrong is raised as well
        # From bytes: they are the ones that were checked, and a graph without a path can't reach other files.
        content = preset.read_file(GRAPH_FILE)
        try:
            # Without the fallback, which prints that it tries the same again.
            self._session = ort.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # onnxruntime's errors have no common base
            raise ModelError(f"{self._where} can't be loaded ({_first_line(error)})") from error
        try:
            self._states = self._checked_states()
        except UnicodeDecodeError as error:  # names of axes are decoded when the shape is asked for
            raise ModelError(f"{self._where} has a name that is not text ({error.reason})") from error
        self._outputs = ["denoised", *(f"{name}_out" for name in self._states)]

    def initial_states(self, batch: int) -> dict[str, np.ndarray]:
        """Return the states before the first frame: zeros, by input name."""
        return {f"{name}_in": np.zeros((batch, *shape), np.float32) for name, shape in self._states.items()}

    def run(
        self, noisy: np.ndarray, states: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Denoise consecutive frames.

        Parameters
        ----------
        noisy : np.ndarray
            complex64, (batch, frames, bins), C-contiguous: spectra over the sum of the window.
        states : Mapping
            As `initial_states` or the last run returned them.

        Returns
        -------
        denoised : np.ndarray
            complex64, (batch, frames, bins).
        states : dict
            For the next run.

        Raises
        ------
        ModelError
            If the graph fails or answers in another shape.
        """
        parts = noisy.view(np.float32).reshape(*noisy.shape, 2)
        try:
            results = self._session.run(self._outputs, {"noisy": parts, **states})
        except Exception as error:
            raise ModelError(f"{self._where} failed to run ({_first_line(error)})") from error
        denoised = np.ascontiguousarray(results[0])
        if denoised.shape != parts.shape:
            raise ModelError(f"{self._where} returned shape {denoised.shape} for {parts.shape}")
        new_states = {
            f"{name}_in": np.asarray(value) for name, value in zip(self._states, results[1:], strict=True)
        }
        return denoised.view(np.complex64)[..., 0], new_states

    def _checked_states(self) -> dict[str, tuple[int, ...]]:
        """Return the states' names and shapes without the batch, after a look at all inputs and outputs."""
        inputs = {node.name: node for node in self._session.get_inputs()}
        outputs = {node.name: node for node in self._session.get_outputs()}
        for nodes, name in ((inputs, "noisy"), (outputs, "denoised")):
            node = nodes.pop(name, None)
            if node is None or node.type != _FLOAT or len(node.shape) != 4:
                raise ModelError(f"{self._where} needs {name} as float32 (batch, frames, bins, 2)")
            fixed = [size if isinstance(size, int) else None for size in node.shape]
            if fixed[0] is not None or fixed[1] is not None:
                raise ModelError(
                    f"{self._where}: batch and frames of {name} must be free. Received: {node.shape}"
                )
            if fixed[2] not in (self.bins, None) or fixed[3] not in (2, None):
                raise ModelError(
                    f"{self._where}: {name} must have {self.bins} bins of 2 numbers, from the metadata's "
                    f"stft.n_fft. Received: {node.shape}"
                )
        states = {}
        for name, node in inputs.items():
            shape = tuple(node.shape[1:])
            state = name.removesuffix("_in")
            sizes_known = all(isinstance(size, int) and size >= 1 for size in shape)
            if name == state or node.type != _FLOAT or isinstance(node.shape[0], int) or not sizes_known:
                raise ModelError(
                    f"{self._where}: {name} is no state of shape (batch, fixed sizes) called ..._in"
                )
            if int(np.prod(shape, dtype=np.float64)) > _MAX_STATE_SIZE:
                raise ModelError(f"{self._where}: state {name} is too large. Received: {node.shape}")
            if f"{state}_out" not in outputs:
                raise ModelError(f"{self._where}: state {name} has no output {state}_out")
            states[state] = shape
        if states and (self.preset.context_left or self.preset.context_right):
            raise ModelError(f"{self._where} has states; then context_frames in the metadata must be 0 and 0")
        return states


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]

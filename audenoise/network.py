"""A model's ONNX graph: loaded from checked bytes, checked against the metadata, run block by block."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime as ort

from audenoise.errors import ModelError
from audenoise.onnx_session import first_line, open_session
from audenoise.presets import GRAPH_FILE, Preset

_FLOAT = "tensor(float)"
_MAX_STATE_SIZE = 1 << 24  # numbers per channel
_WORTH_CUTTING_S = 120.0
"""Seconds of audio from which on cutting the graph (half a second) is made up for."""
Values = dict[str, np.ndarray]


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
    looks_ahead : bool
        Whether blocks with states come with frames that are only looked at.

    Raises
    ------
    ModelError
        If the graph is damaged, or its inputs and outputs aren't those of a denoiser with this metadata.
    """

    def __init__(self, preset: Preset, *, threads: int) -> None:
        self.preset = preset
        self.bins = preset.stft.n_fft // 2 + 1
        self._where = f"{preset.folder}: {GRAPH_FILE}"
        self._threads = threads
        self._session = open_session(preset.read_file(GRAPH_FILE), self._where, threads=threads)
        try:
            self._states = self._checked_states()
        except UnicodeDecodeError as error:  # names of axes are decoded when the shape is asked for
            raise ModelError(f"{self._where} has a name that is not text ({error.reason})") from error
        self._outputs = ["denoised", *(f"{name}_out" for name in self._states)]
        self._halves: list[tuple[ort.InferenceSession, list[str], list[str]]] = []
        self._lock, self._seconds = threading.Lock(), 0.0
        self._cutting: threading.Thread | None = None

    @property
    def has_states(self) -> bool:
        """Whether a block goes on from the one before; otherwise it comes with frames around it."""
        return bool(self._states)

    def in_halves(self, batch: int) -> bool:
        """Whether `begin` and `finish` can be used: with threads for both, once enough audio was expected."""
        return bool(self._halves) and (batch <= self._threads or not self._runs_are_long)

    @property
    def _runs_are_long(self) -> bool:
        # With surroundings they have to be, so that these pay: too long for several channels at once.
        return self.preset.context_left + self.preset.context_right > 0

    def expect(self, seconds: float) -> None:
        """Count audio that will come, all channels together; where there is enough of it, cut the graph.

        That takes half a second, in a thread of its own.
        """
        if self._threads < 2 or not self._states:
            return
        with self._lock:
            self._seconds += seconds
            if self._cutting is None and self._seconds >= _WORTH_CUTTING_S:
                self._cutting = threading.Thread(target=self._cut, name="audenoise-cutting")
                self._cutting.start()

    def _cut(self) -> None:
        from audenoise.graph_halves import halves_of  # imports onnx, which takes a while

        try:
            self._halves = [
                (
                    open_session(half.content, self._where, threads=self._threads // 2),
                    list(half.inputs),
                    list(half.outputs),
                )
                for half in halves_of(self.preset.read_file(GRAPH_FILE)) or ()
            ]
        except Exception:  # whatever a graph of others may hold: as a whole it runs
            self._halves = []

    def initial_states(self, batch: int) -> Values:
        """Return the states before the first frame: zeros, by input name."""
        return {f"{name}_in": np.zeros((batch, *shape), np.float32) for name, shape in self._states.items()}

    def run(self, noisy: np.ndarray, states: Values, ahead: int = 0) -> np.ndarray:
        """Denoise consecutive frames.

        Parameters
        ----------
        noisy : np.ndarray
            complex64, (batch, frames, bins), C-contiguous: spectra over the sum of the window.
        states : dict
            As `initial_states` returned them; changed to those for the next run.
        ahead : int, optional
            Frames at the end to be looked at only, if it `looks_ahead`: the next run begins with them.

        Returns
        -------
        np.ndarray
            complex64, (batch, frames, bins).

        Raises
        ------
        ModelError
            If the graph fails or answers in another shape.
        """

        def run(noisy: np.ndarray, states: Values) -> np.ndarray:
            values = self.values(noisy, states, ahead)
            return self._denoised(self._results(self._session, self._outputs, values, states), noisy.shape)

        return _together(self._apart(run, self._parted(noisy), states))

    def _parted(self, noisy: np.ndarray) -> list[np.ndarray]:
        """What is run at once: all channels, or each by itself."""
        return np.split(noisy, len(noisy)) if self._runs_are_long else [noisy]

    def _apart(self, work: Callable[[Any, Values], Any], items: list[Any], states: Values) -> list[Any]:
        """What `work` makes of each item and the states of its channel, which it may change.

        As many at a time as there are threads, where there are more than these: fewer go faster one by one.
        """
        if len(items) == 1:
            return [work(items[0], states)]

        def one(i: int) -> tuple[Any, Values]:
            before = {name: value[i : i + 1] for name, value in states.items()}
            after = dict(before)
            done = work(items[i], after)
            return done, {name: value for name, value in after.items() if value is not before[name]}

        if len(items) > self._threads > 1:
            with ThreadPoolExecutor(self._threads, "audenoise-channel") as pool:
                results = list(pool.map(one, range(len(items))))
        else:
            results = [one(i) for i in range(len(items))]
        done, changed = zip(*results, strict=True)
        states.update({name: np.concatenate([own[name] for own in changed]) for name in changed[0]})
        return list(done)

    def values(self, noisy: np.ndarray, states: Values, ahead: int = 0) -> Values:
        """What the graph is fed in `run`, by input name."""
        values = {"noisy": _parts(noisy), **states}
        return {**values, "ahead": np.array([ahead], np.int64)} if self.looks_ahead else values

    def begin(self, noisy: np.ndarray, states: Values, ahead: int = 0) -> list[Values]:
        """The first half of `run`, where `in_halves`; another thread may be in `finish` with these states.

        Returns
        -------
        list of dict
            What `finish` wants.
        """
        session, inputs, outputs = self._halves[0]

        def begin(noisy: np.ndarray, states: Values) -> Values:
            values = self.values(noisy, states, ahead)
            results = self._results(session, outputs, {name: values[name] for name in inputs}, states)
            return {**{name: values[name] for name in values if name not in states}, **results}

        return self._apart(begin, self._parted(noisy), states)

    def finish(self, begun: list[Values], states: Values) -> np.ndarray:
        """The second half of `run`, for the blocks in their order; returns what `run` does."""
        session, inputs, outputs = self._halves[1]

        def finish(begun: Values, states: Values) -> np.ndarray:
            values = {name: begun[name] if name in begun else states[name] for name in inputs}
            return self._denoised(self._results(session, outputs, values, states), begun["noisy"].shape[:3])

        return _together(self._apart(finish, begun, states))

    def _results(
        self,
        session: ort.InferenceSession,
        outputs: list[str],
        values: Mapping[str, np.ndarray],
        states: Values,
    ) -> Values:
        """What a session makes of values; new states go to `states`."""
        try:
            found = session.run(outputs, values, self._run_options(session))
        except Exception as error:
            raise ModelError(f"{self._where} failed to run ({first_line(error)})") from error
        results = {name: np.asarray(value) for name, value in zip(outputs, found, strict=True)}
        for name in self._states:
            if f"{name}_out" in results:
                states[f"{name}_in"] = results.pop(f"{name}_out")
        return results

    def _run_options(self, session: ort.InferenceSession) -> ort.RunOptions | None:
        """Long runs as a whole give their memory back once halves are about to take over."""
        if session is not self._session or self._cutting is None or not self._runs_are_long:
            return None
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return options

    def _denoised(self, results: Values, shape: tuple[int, ...]) -> np.ndarray:
        denoised = np.ascontiguousarray(results["denoised"])
        if denoised.shape != (*shape, 2):
            raise ModelError(f"{self._where} returned shape {denoised.shape} for {(*shape, 2)}")
        return denoised.view(np.complex64)[..., 0]

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
        ahead = inputs.pop("ahead", None)
        self.looks_ahead = ahead is not None
        if ahead is not None and (ahead.type != "tensor(int64)" or ahead.shape != [1]):
            raise ModelError(f"{self._where}: ahead must be int64 of shape (1,). Received: {ahead.shape}")
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
        preset = self.preset
        if states and (preset.context_left or (preset.context_right and not self.looks_ahead)):
            most = "0 on the left" if self.looks_ahead else "0 and 0"
            raise ModelError(f"{self._where} has states; then context_frames in the metadata must be {most}")
        if self.looks_ahead and not states:
            raise ModelError(f"{self._where} has an input ahead, but no states that it could be for")
        return states


def _together(channels: list[np.ndarray]) -> np.ndarray:
    return channels[0] if len(channels) == 1 else np.concatenate(channels)


def _parts(spectra: np.ndarray) -> np.ndarray:
    return spectra.view(np.float32).reshape(*spectra.shape, 2)

# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportAttributeAccessIssue=false
"""A Keras network that takes audio in blocks: what its layers must remember goes in and comes out as tensors.

`training` needs whole crops only, so the layers know no state. Three kinds of layers have any: recurrences
along frames, causal convolutions over several frames, and the overlapping windows of the transform.
"""

from typing import Any

import keras

from audenoise import layers as own
from audenoise.exporting.transform import analysis_matrix, delay_samples, synthesis_matrix
from audenoise.presets import StftSettings

ops: Any = keras.ops
States = dict[str, Any]


class StreamingNetwork:
    """Audio in, audio out, for a network of `audenoise.architectures`.

    Parameters
    ----------
    network : keras.Model
    stft : StftSettings
    unrolled : bool
        Write recurrences out step by step, for runtimes that have no loops; the number of frames must be
        fixed then.

    Attributes
    ----------
    causal : bool
        Whether blocks may be given one after the other. Otherwise each call must have the whole signal.
    state_shapes : dict
        By name, without the batch; zeros at the start.
    """

    def __init__(self, network: keras.Model, stft: StftSettings, *, unrolled: bool = False) -> None:
        self._network, self._stft, self._unrolled = network, stft, unrolled
        self._analysis, self._synthesis = analysis_matrix(stft), synthesis_matrix(stft)
        convolutions = [each for each in network.operations if isinstance(each, own.SpectralConv2D)]
        self.causal = all(each.causal for each in convolutions)
        delay = delay_samples(stft)
        self.state_shapes: dict[str, tuple[int, ...]] = {"past": (delay,), "tail": (delay,)}
        if self.causal:
            self.state_shapes |= {
                layer.name: shape
                for layer in network.operations
                if (shape := _state_shape(layer)) is not None
            }

    def __call__(self, audio: Any, states: States) -> tuple[Any, States]:
        """Denoise consecutive samples.

        Parameters
        ----------
        audio : tensor
            (batch, samples), a multiple of the hop.
        states : dict
            Name → (batch, …).

        Returns
        -------
        denoised : tensor
            (batch, samples), window less hop samples later.
        states : dict
            For the next call.
        """
        delay, hop, bins = delay_samples(self._stft), self._stft.hop_length, self._stft.n_fft // 2 + 1
        after = dict(states)
        joined = ops.concatenate([states["past"], audio], axis=1)
        after["past"] = joined[:, -delay:]
        frames = ops.conv(joined[..., None], self._analysis[:, None], strides=hop, padding="valid")
        noisy = ops.reshape(frames, (-1, ops.shape(frames)[1], bins, 2))
        denoised = self._run(noisy, after)
        sounding = ops.max(ops.abs(noisy), axis=(2, 3), keepdims=True) > 0
        denoised = denoised * ops.cast(sounding, "float32")
        rows = ops.reshape(denoised, (-1, ops.shape(denoised)[1], 2 * bins))
        fresh = ops.conv_transpose(rows, self._synthesis.T[:, None], strides=hop, padding="valid")[..., 0]
        n_samples = ops.shape(audio)[1]
        total = fresh + ops.pad(states["tail"], ((0, 0), (0, n_samples)))
        after["tail"] = total[:, n_samples:]
        return total[:, :n_samples], after

    def _run(self, noisy: Any, states: States) -> Any:
        values: dict[int, Any] = {id(self._network.input): noisy}
        for layer in self._network.operations:
            if isinstance(layer, keras.layers.InputLayer):
                continue
            inputs = layer.input if isinstance(layer.input, list) else [layer.input]
            given = [values[id(each)] for each in inputs]
            values[id(layer.output)] = self._layer(layer, given if len(given) > 1 else given[0], states)
        return values[id(self._network.output)]

    def _layer(self, layer: Any, x: Any, states: States) -> Any:
        if layer.name in states:
            if isinstance(layer, own.SpectralConv2D):
                return self._convolution(layer, x, states)
            if isinstance(layer, own.FullBandGRU):
                return self._full_band(layer, x, states)
            return self._along_frames(layer, x, states)
        if self._unrolled and isinstance(layer, own.AxisGRU):
            return self._along_bands(layer, x)
        return layer(x)

    def _convolution(self, layer: own.SpectralConv2D, x: Any, states: States) -> Any:
        (before, _), frequency = layer.paddings(x.shape[2])
        x = ops.concatenate([states[layer.name], x], axis=1)
        states[layer.name] = x[:, -before:]
        return layer.convolution(ops.pad(x, ((0, 0), (0, 0), frequency, (0, 0))))

    def _along_frames(self, layer: own.AxisGRU, x: Any, states: States) -> Any:
        bands, channels, units = x.shape[2], x.shape[3], layer.units
        n_frames = ops.shape(x)[1]
        rows = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, n_frames, channels))
        y, last = self._gru(layer.forward, rows, ops.reshape(states[layer.name], (-1, units)))
        states[layer.name] = ops.reshape(last, (-1, bands, units))
        return ops.transpose(ops.reshape(y, (-1, bands, n_frames, units)), (0, 2, 1, 3))

    def _full_band(self, layer: own.FullBandGRU, x: Any, states: States) -> Any:
        bands, channels = x.shape[2], x.shape[3]
        n_frames = ops.shape(x)[1]
        rows = ops.reshape(layer.reduce(x), (-1, n_frames, bands * layer.reduced))
        y, states[layer.name] = self._gru(layer.recurrence, rows, states[layer.name])
        return ops.reshape(layer.spread(y), (-1, n_frames, bands, channels))

    def _along_bands(self, layer: own.AxisGRU, x: Any) -> Any:
        n_frames, bands, channels = ops.shape(x)[1], x.shape[2], x.shape[3]
        rows = ops.reshape(x, (-1, bands, channels))
        zeros = ops.zeros_like(rows[:, 0, :1]) * ops.zeros((1, layer.units))
        y, _ = self._gru(layer.forward, rows, zeros)
        if layer.backward is not None:
            backward, _ = self._gru(layer.backward, ops.flip(rows, axis=1), zeros)
            y = ops.concatenate([y, ops.flip(backward, axis=1)], axis=-1)
        return ops.reshape(y, (-1, n_frames, bands, y.shape[-1]))

    def _gru(self, layer: keras.layers.GRU, x: Any, state: Any) -> tuple[Any, Any]:
        """(rows, steps, features) and (rows, units) → (rows, steps, units) and the last state."""
        if not self._unrolled:
            y = layer(x, initial_state=state)
            return y, y[:, -1]
        outputs = []
        for step in range(x.shape[1]):
            state, _ = layer.cell(x[:, step], [state])
            outputs.append(state)
        return ops.stack(outputs, axis=1), state


def _state_shape(layer: Any) -> tuple[int, ...] | None:
    if isinstance(layer, own.AxisGRU) and layer.axis == "frames":
        return layer.input.shape[2], layer.units
    if isinstance(layer, own.FullBandGRU):
        return (layer.units,)
    if isinstance(layer, own.SpectralConv2D):
        (before, _), _ = layer.paddings(layer.input.shape[2])
        return (before, *layer.input.shape[2:]) if before else None
    return None

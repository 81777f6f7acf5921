# pyright: reportMissingImports=false
"""The U-Net of `audenoise.architectures.unet` in PyTorch, for specs like those of standard and small."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F

from audenoise.errors import SpecError
from audenoise.layers import TINY_POWER
from audenoise.specs import ModelSpec, RecurrentBottleneck
from native_training.operators import (
    ACTIVATIONS,
    Bands,
    Convolution,
    FirstConvolution,
    Norm,
    Recurrence,
    dense,
)

MOMENTUM, EPSILON = 0.97, 1e-5
"""Of the batch norms, as in `audenoise.architectures.unet`."""


def check(spec: ModelSpec) -> None:
    """Raise `SpecError` with the first key of a spec that this network can't follow."""
    encoder, kind = spec.encoder, spec.bottleneck
    conditions = {
        "input.representation: complex": spec.input.representation == "complex",
        "output.kind: complex_mask": spec.output.kind == "complex_mask",
        "output.domain: compressed": spec.output.domain == "compressed",
        "output.activation: linear": spec.output.activation == "linear",
        "output.stages: none": not spec.output.stages,
        "skip: concatenate before": (spec.skip.kind, spec.skip.position) == ("concatenate", "before"),
        "upsampling: transposed": spec.upsampling == "transposed",
        "bottleneck.kind: recurrent": kind.kind == "recurrent",
        "bottleneck.across_bands: full_band": getattr(kind, "across_bands", "") == "full_band",
        "bottleneck.norm: batch": getattr(kind, "norm", "") == "batch",
        "bottleneck.bands: a number": bool(getattr(kind, "bands", 0)),
        "encoder[0].stride: [1, half of the taps]": encoder[0].stride == (1, encoder[0].kernel[1] // 2),
        "encoder[0].kernel: one frame": encoder[0].kernel[0] == 1,
        "encoder[1].stride: [1, 1]": all(stage.stride == (1, 1) for stage in encoder[1:]),
    }
    for i, stage in enumerate((*encoder, *spec.decoder_stages)):
        key = f"encoder[{i}]" if i < len(encoder) else f"decoder[{i - len(encoder)}]"
        conditions |= {
            f"{key}.convolutions: 1": stage.convolutions == 1,
            f"{key}.norm: batch, at each": (stage.norm, stage.norm_position) == ("batch", "each"),
            f"{key}.pool: none": stage.pool == (1, 1),
            f"{key}.dropout: 0": not stage.dropout,
            f"{key}.activation: {' or '.join(ACTIVATIONS)}": stage.activation in ACTIVATIONS,
        }
    for condition, holds in conditions.items():
        if not holds:
            raise SpecError(f"{condition} is all that native training knows; use `audenoise train`")


class Network(torch.nn.Module):
    """(batch, frames, bins, 2) → the same shape, as `audenoise.architectures.build_network` makes it.

    Parameters
    ----------
    spec : ModelSpec
    weights : mapping of str to ndarray
        Path of a Keras variable → value.
    """

    def __init__(self, spec: ModelSpec, weights: Mapping[str, np.ndarray]):
        super().__init__()
        check(spec)
        self.spec = spec
        self.learnt = torch.nn.ParameterDict()
        for path, value in weights.items():
            tensor, name = torch.tensor(np.asarray(value, np.float32)), path.replace("/", "|")
            if "moving_" in path:
                self.register_buffer(name, tensor)
            elif "seed_generator" not in path:
                self.learnt[name] = torch.nn.Parameter(tensor)

    def weights(self) -> dict[str, np.ndarray]:
        """As given to the constructor."""
        tensors = (*self.learnt.items(), *self.named_buffers())
        return {name.replace("|", "/"): tensor.detach().numpy().copy() for name, tensor in tensors}

    def _get(self, *path: str):
        return self.learnt["|".join(path)]

    def _norm(self, x, name: str, residual=None, activation: str = "linear"):
        gamma, beta = self._get(name, "gamma"), self._get(name, "beta")
        mean, variance = (self.get_buffer(f"{name}|moving_{what}") for what in ("mean", "variance"))
        if self.training:
            out, *batch = Norm.apply(x, gamma, beta, residual, ACTIVATIONS[activation], EPSILON)
            for running, value in zip((mean, variance), batch, strict=True):
                running.mul_(MOMENTUM).add_(value, alpha=1 - MOMENTUM)
            return out
        out = (x - mean) * (gamma * torch.rsqrt(variance + EPSILON)) + beta
        out = {"linear": lambda y: y, "elu": F.elu, "relu": F.relu}[activation](out)
        return out if residual is None else out + residual

    def _dense(self, x, *name: str):
        return dense(x, self._get(*name, "kernel"), self._get(*name, "bias"))

    def _bands(self, x, name: str):
        return Bands.apply(x, self._get(name, "kernel"), self._get(name, "bias"))

    def _both_ways(self, x, name: str):
        y = self._gru(x, name, "forward")
        if not cast(RecurrentBottleneck, self.spec.bottleneck).bidirectional:
            return y
        return torch.cat([y, self._gru(x.flip(1), name, "backward").flip(1)], -1)

    def _gru(self, x, *name: str):
        kernel, recurrent, biases = (
            self._get(*name, "gru_cell", what) for what in ("kernel", "recurrent_kernel", "bias")
        )
        return Recurrence.apply(dense(x, kernel, biases[0]), recurrent, biases[1])

    def _convolution(self, x, name: str, *, stride: int = 1, skip=None, first: bool = False):
        kernel, bias = (self._get(name, "convolution", what) for what in ("kernel", "bias"))
        if first:
            return FirstConvolution.apply(x, kernel[0], bias, stride)
        n_frames, taps, _, filters = kernel.shape
        if n_frames > 1:  # what lies in other frames becomes channels
            before = (n_frames - 1) if self.spec.causal else (n_frames - 1) // 2
            parts = kernel.split([x.shape[-1], *([] if skip is None else [skip.shape[-1]])], dim=2)
            kernel = torch.cat([part.transpose(0, 1).reshape(taps, -1, filters) for part in parts], 1)
            x = _with_frames_around(x, n_frames, before)
            skip = None if skip is None else _with_frames_around(skip, n_frames, before)
            return Convolution.apply(x, skip, kernel, bias)
        return Convolution.apply(x, skip, kernel[0], bias)

    def _up(self, x, name: str, *, factor: int, bins: int):
        """A transposed convolution whose taps are twice its stride: each output is a sum of two products."""
        kernel, bias = self._get(name, "kernel")[0], self._get(name, "bias")  # (taps, filters, channels)
        taps, filters, channels = kernel.shape
        parts = dense(x, kernel.reshape(taps * filters, channels).t(), torch.zeros(taps * filters))
        return _overlapped(parts, bias, factor, bins)

    def forward(self, noisy):
        spec = self.spec
        kind: Any = spec.bottleneck
        features = _compressed(noisy, spec.input.compression).contiguous()
        x, skips = features, []
        for i, stage in enumerate(spec.encoder):
            name = f"encoder{i + 1}"
            y = self._convolution(x, f"{name}_conv1", stride=stage.stride[1], first=i == 0)
            residual = x if stage.residual and i and x.shape == y.shape else None
            x = self._norm(y, f"{name}_norm1", residual, stage.activation)
            skips.append(x)
        x = self._norm(self._dense(self._bands(x, "to_bands"), "to_channels"), "to_norm")
        x = x + self._get("position", "position")
        for i in range(kind.blocks):
            name = f"block{i + 1}"
            y = self._dense(self._both_ways(x, f"{name}_time"), f"{name}_time_dense")
            x = self._norm(y, f"{name}_time_norm", x)
            y = self._dense(x, f"{name}_bands", "reduce").flatten(2)[:, :, None]
            y = self._dense(self._gru(y, f"{name}_bands", "recurrence"), f"{name}_bands", "spread")
            x = self._norm(y.reshape(x.shape), f"{name}_bands_norm", x)
        x = self._bands(self._dense(x, "from_channels"), "from_bands")
        for i, stage in enumerate(spec.decoder_stages):
            name = f"decoder{i + 1}"
            y = self._convolution(x, f"{name}_conv1", skip=skips[-1 - i])
            x = self._norm(y, f"{name}_norm1", None, stage.activation)
        x = self._up(x, f"{name}_up", factor=spec.encoder[0].stride[1], bins=features.shape[2])
        return _masked(features, x, spec.input.compression)


def _with_frames_around(x, count: int, before: int):
    """(batch, frames, bins, channels) → (…, count · channels): those of `before` frames earlier first."""
    frames = x.shape[1]
    padded = F.pad(x, (0, 0, 0, 0, before, count - 1 - before))
    return torch.cat([padded[:, i : i + frames] for i in range(count)], -1)


def _compressed(spectrum, exponent: float):
    return spectrum * (spectrum.square().sum(-1, keepdim=True) + TINY_POWER) ** ((exponent - 1) / 2)


@torch.compile
def _overlapped(parts, bias, factor: int, bins: int):
    batch, frames, width, _ = parts.shape
    parts = parts.reshape(batch, frames, width, 2, factor, -1)
    early, late = (parts[:, :, :, i].reshape(batch, frames, width * factor, -1) for i in range(2))
    full = F.pad(early, (0, 0, 0, factor)) + F.pad(late, (0, 0, factor, 0))
    start = factor // 2
    return full[:, :, start : start + bins] + bias


@torch.compile
def _masked(features, mask, exponent: float):
    a, b = features.unbind(-1)
    c, d = mask.unbind(-1)
    real, imag = a * c - b * d, a * d + b * c
    gain = torch.exp((1 / exponent - 1) / 2 * torch.log(real.square() + imag.square() + TINY_POWER))
    return torch.stack([real * gain, imag * gain], -1)

# pyright: reportMissingImports=false
"""The kernels as differentiable functions of PyTorch; float32 tensors, channels last."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch.utils import cpp_extension

from audenoise.errors import AudenoiseError

ACTIVATIONS = {"linear": 0, "elu": 1, "relu": 2}
_NEEDED = ("avx2", "fma")


def _build():
    flags = Path("/proc/cpuinfo").read_text().split() if sys.platform == "linux" else []
    missing = [flag for flag in _NEEDED if flag not in flags]
    if missing:
        raise AudenoiseError(
            f"this processor lacks {', '.join(missing)}; train with `audenoise train` instead"
        )
    # ninja, which compiles, lies beside Python.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    name = "audenoise_native_training"
    made_for = f"{sys.implementation.cache_tag}_{torch.__version__}"
    folder = Path(cpp_extension.get_default_build_root()) / f"{name}_{made_for}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        # PyTorch's own lock outlives a process that is killed while it compiles, and is waited for for ever.
        (folder / "lock").unlink(missing_ok=True)
        return cpp_extension.load(
            name,
            [str(Path(__file__).with_name("kernels.cpp"))],
            extra_cflags=["-O3", "-march=native", "-ffast-math", "-fopenmp", "-std=c++20"],
            extra_ldflags=["-fopenmp"],
            build_directory=str(folder),
        )


kernels: Any = _build()
if not kernels.ready():
    raise AudenoiseError("the system lets no process use AMX; train with `audenoise train` instead")


class Recurrence(torch.autograd.Function):
    """A GRU after its input's product: (batch, frames, bands, 3 units) → (batch, frames, bands, units)."""

    @staticmethod
    def forward(ctx, inputs, kernel, bias):
        out, gates, candidates = kernels.gru_forward(inputs, kernel, bias)
        ctx.save_for_backward(out, gates, candidates, kernel)
        return out

    @staticmethod
    def backward(ctx, *slopes):
        return tuple(kernels.gru_backward(slopes[0], *ctx.saved_tensors))


class Norm(torch.autograd.Function):
    """Batch norm over all but the last axis, an activation, a residual: (…, channels), and the statistics."""

    @staticmethod
    def forward(ctx, x, gamma, beta, residual, activation, epsilon):
        x, residual = x.contiguous(), None if residual is None else residual.contiguous()
        out, mean, variance = kernels.norm_forward(x, gamma, beta, residual, activation, epsilon)
        ctx.save_for_backward(x, mean, variance, gamma, beta)
        ctx.settings = activation, epsilon, residual is not None
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    def backward(ctx, *slopes):
        activation, epsilon, residual = ctx.settings
        found = kernels.norm_backward(slopes[0], *ctx.saved_tensors, activation, epsilon)
        return *found, slopes[0] if residual else None, None, None


class Convolution(torch.autograd.Function):
    """1 × k over (…, bins, channels), a skip's channels appended."""

    @staticmethod
    def forward(ctx, x, skip, kernel, bias):
        x, skip = x.contiguous(), None if skip is None else skip.contiguous()
        ctx.save_for_backward(x, skip, kernel)
        return kernels.conv_forward(x, skip, kernel, bias, 1)

    @staticmethod
    def backward(ctx, *slopes):
        x, skip, kernel = ctx.saved_tensors
        d_x, d_skip, d_kernel, d_bias = kernels.conv_backward(slopes[0], x, skip, kernel)
        return d_x, None if skip is None else d_skip, d_kernel, d_bias


class FirstConvolution(torch.autograd.Function):
    """As `Convolution`, with a stride, of an input that nothing was learnt for."""

    @staticmethod
    def forward(ctx, x, kernel, bias, stride):
        x = x.contiguous()
        ctx.save_for_backward(x, kernel)
        ctx.stride = stride
        return kernels.conv_forward(x, None, kernel, bias, stride)

    @staticmethod
    def backward(ctx, *slopes):
        return None, *kernels.conv_backward_kernel(slopes[0], *ctx.saved_tensors, ctx.stride), None


def _product(forward, backward):
    """A function of input, kernel and bias by two kernels."""

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, kernel, bias):
            x = x.contiguous()
            ctx.save_for_backward(x, kernel)
            return forward(x, kernel, bias)

        @staticmethod
        def backward(ctx, *slopes):
            return tuple(backward(slopes[0], *ctx.saved_tensors))

    return Product


def _dense(x, kernel, bias):
    return torch.addmm(bias, x.reshape(-1, x.shape[-1]), kernel).reshape(*x.shape[:-1], -1)


in_bfloat16 = hasattr(kernels, "dense_forward")
"""Whether products are; else they are float32 like everything."""
dense = _product(kernels.dense_forward, kernels.dense_backward).apply if in_bfloat16 else _dense
Bands = _product(kernels.bands_forward, kernels.bands_backward)
"""(…, bins, channels) → (…, bands, channels)."""

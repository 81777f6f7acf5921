"""Weights kept in half precision: half the size of a model's files, single precision again where they run.

A network's kernels are rounded to the nearest float16 (relative error below 2**-11) and computed with as
float32. Vectors, such as biases and statistics of norms, are small and may be tiny, so they stay as they are.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from audenoise.layers import to_numpy

MIN_SIZE = 256
PACKED_SIZE = 4096  # below it, HDF5's bookkeeping is larger than what packing saves


def graph_of(network: Any, translate: Callable[[Any], onnx.ModelProto], *, half: bool) -> bytes:
    """A network's ONNX graph; with `half` its kernels are rounded before, in place, and kept as float16."""
    if half:
        round_to_half(network)
    model = translate(network)
    if half:
        halve_graph(model)
    return model.SerializeToString()


def save_weights(network: Any, weights: Path, *, half: bool) -> None:
    """Save a network's weights; with `half` what has been rounded is kept as float16."""
    network.save_weights(weights)
    if half:
        halve_file(weights)


def _is_kernel(array: np.ndarray) -> bool:
    return array.dtype == np.float32 and array.ndim >= 2 and array.size >= MIN_SIZE


def _rounded(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(np.float32)


def survives_half(array: np.ndarray) -> bool:
    """Whether an array is worth keeping as float16 and loses nothing there."""
    return _is_kernel(array) and np.array_equal(_rounded(array), array)


def round_to_half(network: Any) -> None:
    """Round a network's kernels (two and more axes, 256 values and more) to float16, in place.

    Parameters
    ----------
    network : keras.Model
        A kernel with values that float16 can't hold, beyond 65,504, stays as it is.
    """
    for variable in network.weights:
        array = to_numpy(variable)
        if _is_kernel(array) and np.isfinite(rounded := _rounded(array)).all():
            variable.assign(rounded)


def halve_graph(model: onnx.ModelProto) -> None:
    """Store a graph's constants that lose nothing by it as float16, each cast back where it enters, in place.

    ONNX Runtime casts once, when it loads the graph, and computes in float32 as before.
    """
    casts = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if not survives_half(array):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)


def halve_file(weights: Path) -> None:
    """Rewrite a Keras weights file (HDF5), the arrays that lose nothing by it as float16.

    Keras gives them their own precision back when it loads them.
    """
    import h5py

    smaller = weights.with_name(f"{weights.name}.half")
    with h5py.File(weights, "r") as source, h5py.File(smaller, "w") as target:

        def write(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group):
                copy = target.require_group(name)
            else:
                array = item[()]
                keep = np.float16 if isinstance(array, np.ndarray) and survives_half(array) else item.dtype
                packed = {"compression": "gzip", "shuffle": True} if item.size >= PACKED_SIZE else {}
                copy = target.create_dataset(name, data=array, dtype=keep, **packed)
            copy.attrs.update(item.attrs)

        target.attrs.update(source.attrs)
        source.visititems(write)
    smaller.replace(weights)

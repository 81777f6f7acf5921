"""The nodes, constants and states of an ONNX graph that is being written."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from audenoise.layers import to_numpy

OPSET = 18


class Graph:
    """A graph in the making.

    Attributes
    ----------
    frames : str
        The number of frames, a vector of one value.
    stateful : bool
        Whether recurrences and causal convolutions go on from the block before.
    kept : tuple of str
        Where states are not those of the last frame but of an earlier one: its index and the next.
    sequences : set of str
        Values that are (frames, batch, frequency, channels), as recurrences have them; all others are (batch,
        channels, frames, frequency), as convolutions have them.
    scaled : dict
        Products with a kernel → what writes them times a factor plus an offset for each channel.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[bytes, onnx.TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.frames = ""
        self.stateful = True
        self.kept: tuple[str, str] | None = None
        self.sequences: set[str] = set()
        self.scaled: dict[str, Callable[[np.ndarray, np.ndarray], str]] = {}
        self._turned: dict[str, str] = {}
        self._count = 0

    def add(self, op: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> Any:
        names = [f"v{self._count + i}" for i in range(outputs)]
        self._count += outputs
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        array = np.ascontiguousarray(value, dtype)
        key = str((array.dtype, array.shape)).encode() + array.tobytes()
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(array, f"c{len(self.constants)}")
        return self.constants[key].name

    def weight(self, variable: Any, *order: int) -> str:
        array = to_numpy(variable)
        return self.constant(array.transpose(order) if order else array)

    def shape(self, *sizes: int | str) -> str:
        """A shape for Reshape: numbers as in ONNX (0 keeps, -1 infers), names for values of the graph."""
        if all(isinstance(size, int) for size in sizes):
            return self.constant(sizes, np.int64)
        parts = [size if isinstance(size, str) else self.constant([size], np.int64) for size in sizes]
        return self.add("Concat", parts, axis=0)

    def transpose(self, x: str, *order: int) -> str:
        return self.add("Transpose", [x], perm=list(order))

    def sequence(self, x: str) -> str:
        """A value as (frames, batch, frequency, channels)."""
        return x if x in self.sequences else self._other_layout(x, 2, 0, 3, 1)

    def image(self, x: str) -> str:
        """A value as (batch, channels, frames, frequency)."""
        return self._other_layout(x, 1, 3, 0, 2) if x in self.sequences else x

    def _other_layout(self, x: str, *order: int) -> str:
        if x not in self._turned:
            turned = self.transpose(x, *order)
            self._turned |= {x: turned, turned: x}
            if x not in self.sequences:
                self.sequences.add(turned)
        return self._turned[x]

    def reshape(self, x: str, *sizes: int | str) -> str:
        return self.add("Reshape", [x, self.shape(*sizes)])

    def slice(self, x: str, axis: int, *, start: int, end: int | str) -> str:
        bound = end if isinstance(end, str) else self.constant([end], np.int64)
        return self.add(
            "Slice", [x, self.constant([start], np.int64), bound, self.constant([axis], np.int64)]
        )

    def state(self, name: str, *sizes: int) -> str:
        """Declare a state input of shape (batch, *sizes)."""
        self.inputs.append(info(f"{name}_in", "batch", *sizes))
        return f"{name}_in"

    def look_ahead(self) -> None:
        """Declare the input ``ahead``: how many frames come at the end to be looked at only."""
        self.inputs.append(helper.make_tensor_value_info("ahead", TensorProto.INT64, [1]))
        end = self.add("Sub", [self.frames, "ahead"])
        self.kept = self.add("Sub", [end, self.constant([1], np.int64)]), end

    def last_kept(self, sequence: str, last: str) -> str:
        """The state to go on from: of a recurrence's (frames, …) outputs, and the one of the last frame."""
        if self.kept is None:
            return last
        start, end = self.kept
        return self.add("Slice", [sequence, start, end, self.constant([0], np.int64)])

    def last_frames(self, x: str, count: int) -> str:
        """The state to go on from: of (…, frames, frequency) that begins with `count` frames of the block
        before, as many of the last ones that are kept."""
        if self.kept is None:
            return self.slice(x, 2, start=-count, end=np.iinfo(np.int64).max)
        start = self.kept[1]
        end = self.add("Add", [start, self.constant([count], np.int64)])
        return self.add("Slice", [x, start, end, self.constant([2], np.int64)])

    def next_state(self, name: str, value: str, *sizes: int) -> None:
        self.nodes.append(helper.make_node("Identity", [value], [f"{name}_out"]))
        self.outputs.append(info(f"{name}_out", "batch", *sizes))

    def model(self, name: str) -> onnx.ModelProto:
        """The finished graph, without what its outputs don't need."""
        needed, nodes = {output.name for output in self.outputs}, []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                nodes.append(node)
                needed |= set(node.input)
        constants = [constant for constant in self.constants.values() if constant.name in needed]
        proto = helper.make_graph(nodes[::-1], name, self.inputs, self.outputs, constants)
        model = helper.make_model(
            proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="audenoise"
        )
        model.ir_version = 9
        onnx.checker.check_model(model)
        return model


def info(name: str, *sizes: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(sizes))

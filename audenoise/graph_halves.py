"""A recurrent network's graph cut into two that follow each other, so that two threads can run it.

While the second half works on one block of frames, the first is at the next: each keeps the states of its
own recurrences, so the results are those of the whole.
"""

from dataclasses import dataclass

import onnx
from onnx import helper, shape_inference


@dataclass(frozen=True)
class Half:
    """A part of a graph, as ONNX Runtime loads it.

    Attributes
    ----------
    content : bytes
    inputs : tuple of str
        Those of the whole graph among them are called as they are there.
    outputs : tuple of str
        As well.
    """

    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def halves_of(content: bytes) -> tuple[Half, Half] | None:
    """Cut a graph before the middle one of its recurrences.

    Parameters
    ----------
    content : bytes
        A graph as `audenoise.onnx_export.to_onnx` writes it.

    Returns
    -------
    tuple of Half or None
        What the second takes of the first is among the outputs of one and the inputs of the other. None where
        there are not two recurrences to part, one after the other.
    """
    model = shape_inference.infer_shapes(onnx.load_from_string(content))
    graph = model.graph
    recurrences = [node for node in graph.node if node.op_type == "GRU"]
    if len(recurrences) < 2:
        return None
    given = {value.name for value in graph.input}
    stored = {tensor.name for tensor in graph.initializer}
    made = {name: i for i, node in enumerate(graph.node) for name in node.output}

    def behind(*names: str, known: frozenset[str] = frozenset()) -> set[int]:
        """The nodes that values come from, not beyond `known` ones."""
        found: set[int] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in made and name not in known and made[name] not in found:
                found.add(made[name])
                waiting += graph.node[made[name]].input
        return found

    def is_constant(name: str) -> bool:
        nodes = [graph.node[i] for i in behind(name)]
        return not any(used in given for node in nodes for used in (*node.input, name))

    early = behind(recurrences[len(recurrences) // 2].input[0])
    if not any(graph.node[i].op_type == "GRU" for i in early):
        return None
    heavy = {i for i, node in enumerate(graph.node) if node.op_type in ("GRU", "Conv", "MatMul")}
    outputs = [value.name for value in graph.output]
    first_outputs = [name for name in outputs if behind(name) & heavy <= early]
    second_outputs = [name for name in outputs if name not in first_outputs]
    first_nodes = early | behind(*first_outputs)
    early_values = {name for i in early for name in graph.node[i].output}
    late = behind(*second_outputs, known=frozenset(early_values))
    crossing = sorted(
        {name for i in late for name in graph.node[i].input if name in early_values and not is_constant(name)}
    )
    second_nodes = behind(*second_outputs, known=frozenset(crossing))
    kinds = {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}

    def part(nodes: set[int], ends: list[str], taken: list[str]) -> Half:
        chosen = [graph.node[i] for i in sorted(nodes)]
        used = {name for node in chosen for name in node.input}
        inputs = [value.name for value in graph.input if value.name in used] + taken
        proto = helper.make_graph(
            chosen,
            graph.name,
            [kinds[name] for name in inputs],
            [kinds[name] for name in ends],
            [tensor for tensor in graph.initializer if tensor.name in used & stored],
        )
        whole = helper.make_model(proto, opset_imports=model.opset_import, ir_version=model.ir_version)
        return Half(whole.SerializeToString(), tuple(inputs), tuple(ends))

    return (
        part(first_nodes, first_outputs + crossing, []),
        part(second_nodes, second_outputs, crossing),
    )

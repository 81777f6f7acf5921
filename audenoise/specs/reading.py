"""Specs as dictionaries and files: read, checked, changed and written."""

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from audenoise.errors import SpecError, brief
from audenoise.specs.explain import explain, short
from audenoise.specs.model import ModelSpec
from audenoise.specs.old import OldSpec, is_old
from audenoise.specs.stages import RecurrentBottleneck

MAX_SPEC_BYTES = 100_000
_MAX_VALUES = 10_000  # so many are parsed in about a second


def parse_spec(data: Any, *, source: str = "spec") -> ModelSpec:
    """Turn a dictionary into a checked spec.

    Parameters
    ----------
    data : dict
        As read from YAML or JSON. The old form with ``downsampling``, ``valley`` and ``upsampling`` is
        translated, see `audenoise.specs.old`; errors name the old keys.
    source : str
        Named at the start of an error, such as the file.

    Raises
    ------
    SpecError
        Names the key: ``encoder[2].filters: must be at least 1. Received: 0``.

    Examples
    --------
    >>> spec = parse_spec({"encoder": [{"filters": 8}], "bottleneck": {"kind": "recurrent"}})
    >>> spec.sample_rate
    16000
    """
    if not isinstance(data, dict):
        raise SpecError(f"{source}: must be a dictionary of keys. Received: {short(data)}")
    old_keys: dict[str, str] = {}
    try:
        if is_old(data):
            old = OldSpec.model_validate(data)
            data, old_keys = old.translated(), old.old_keys()
        return ModelSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(explain(error, source, old_keys)) from None


class _OneLevelLoader(yaml.SafeLoader):
    """Safe YAML without aliases: a spec never needs them, and they can blow a small file up."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        self._values += 1
        if self._values > _MAX_VALUES:
            raise yaml.YAMLError(f"has more than {_MAX_VALUES} values")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_document(path: str | Path) -> Any:
    """Read a YAML or JSON file as plain data, with no aliases and of 100 kB at most.

    Raises
    ------
    SpecError
        If the file is missing, too large, empty, or not YAML or JSON.
    """
    path = Path(path)
    try:
        # Not by the file's size, which is 0 for a pipe or a device.
        with open(path, "rb") as file:
            content = file.read(MAX_SPEC_BYTES + 1)
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(content) > MAX_SPEC_BYTES:
        raise SpecError(f"{path}: is larger than {MAX_SPEC_BYTES // 1000} kB, so it is no spec")
    try:
        text = content.decode("utf-8")
        # JSON is nearly YAML, but for tabs.
        is_json = text.strip() and path.suffix.lower() == ".json"
        data = (
            json.loads(text, object_pairs_hook=_once_each)
            if is_json
            else yaml.load(text, Loader=_OneLevelLoader)
        )
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise SpecError(f"{path}: is not valid YAML or JSON: {_reason(error)}") from None
    if data is None:
        raise SpecError(f"{path}: is empty")
    return data


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The dictionary of a JSON object; ValueError if a key is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _reason(error: Exception) -> str:
    """Where a document is wrong and why, without the lines that YAML draws around the place."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        why = ", ".join(part for part in (error.context, error.problem) if part)
        return f"line {mark.line + 1}, column {mark.column + 1}: {why[:200]}"
    return brief(error, 200)


def load_spec(path: str | Path) -> ModelSpec:
    """Read a spec from a YAML or JSON file.

    Raises
    ------
    SpecError
        If the file is missing, too large, not YAML or JSON, or not a valid spec.
    """
    return parse_spec(load_document(path), source=str(path))


def same_network(first: ModelSpec, second: ModelSpec) -> bool:
    """Whether the weights of one spec fit the other: all but name, loss, mixing and (pre-)training is equal.

    A scaling that is still to be measured fits any.
    """
    free = {"name", "loss", "mixing", "training", "pretraining"}
    both = first.with_scaling_of(second), second.with_scaling_of(first)
    return both[0].model_dump(exclude=free) == both[1].model_dump(exclude=free)


def grows_from(spec: ModelSpec, smaller: ModelSpec) -> bool:
    """Whether a network is another one and more: further bottleneck blocks, GRUs over time that also run
    backwards, kernels over more frames, or several of these."""
    ours, theirs = spec.bottleneck, smaller.bottleneck
    if not (isinstance(ours, RecurrentBottleneck) and isinstance(theirs, RecurrentBottleneck)):
        return False
    if spec.causal != smaller.causal and any(stage.kernel[0] > 1 for stage in _stages(smaller)):
        return False  # the same kernels see other frames
    more = [ours.blocks - theirs.blocks, ours.bidirectional - theirs.bidirectional]
    kept = {"blocks": theirs.blocks, "bidirectional": theirs.bidirectional}
    cut: dict[str, object] = {"bottleneck": ours.model_copy(update=kept), "causal": smaller.causal}
    for key, stages, given in (
        ("encoder", spec.encoder, smaller.encoder),
        ("decoder", spec.decoder, smaller.decoder),
    ):
        if stages is None or given is None or len(stages) != len(given):
            continue  # equal, or another network
        more += [stage.kernel[0] - old.kernel[0] for stage, old in zip(stages, given, strict=True)]
        cut[key] = tuple(
            stage.model_copy(update={"kernel": (old.kernel[0], stage.kernel[1])})
            if stage.stride[0] == 1
            else stage
            for stage, old in zip(stages, given, strict=True)
        )
    return min(more) >= 0 and max(more) > 0 and same_network(spec.model_copy(update=cut), smaller)


def _stages(spec: ModelSpec) -> tuple:
    return (*spec.encoder, *spec.decoder_stages, *spec.output.stages, spec.output)


RECIPES = Path(__file__).parents[1] / "recipes"


def load_recipe(name_or_path: str | Path) -> ModelSpec:
    """Read a spec by path, or a shipped recipe by name (such as ``standard``).

    Raises
    ------
    SpecError
        If there is neither such a file nor such a recipe, or the spec is not valid.
    """
    shipped = RECIPES / f"{name_or_path}.yaml"
    if Path(name_or_path).suffix or not shipped.is_file():
        if not Path(name_or_path).is_file():
            names = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
            raise SpecError(f"{name_or_path}: no such spec file; shipped recipes: {names}")
        return load_spec(name_or_path)
    return load_spec(shipped)


def override_training(spec: ModelSpec, overrides: dict[str, Any]) -> ModelSpec:
    """The spec with some keys of its `training` section replaced; keys with the value None are left alone.

    Raises
    ------
    SpecError
        If a value is not valid.
    """
    data = spec_to_dict(spec)
    data["training"].update({key: value for key, value in overrides.items() if value is not None})
    return parse_spec(data)


def spec_to_dict(spec: ModelSpec) -> dict[str, Any]:
    """The dictionary form; `parse_spec` gives the same spec back."""
    return spec.model_dump(mode="json")


def dump_spec(spec: ModelSpec) -> str:
    """The YAML form, in the order of the schema."""
    return yaml.safe_dump(spec_to_dict(spec), sort_keys=False, allow_unicode=True, default_flow_style=None)

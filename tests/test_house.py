"""The rules of the house: who may import whom, what stays unloaded, what library code never does.

The rules are read off the source by functions that take it as text, so that they can be shown to fail.
"""

import ast
import doctest
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from model_folders import gain_model

import audenoise

PACKAGE = Path(audenoise.__file__).parent
CHECKOUT = Path(__file__).parents[1]

# A room is a module or folder directly in audenoise/. It imports only from rows above its own: never from its
# own row, never from below. The side says what a room may load when it is imported:
#   plain  the standard library and plain rooms
#   numpy  anything but a deep-learning framework
#   keras  anything
#   cli    what plain may, click and cli rooms, so that --help starts at once
RANKS: list[tuple[str, str]] = [
    ("plain", "allocation durations errors interrupts processors"),
    ("plain", "addresses"),
    ("plain", "cluster html_pages keras_loading locks model_folders"),
    ("plain", "hosts workers"),
    ("numpy", "array_types specs"),
    ("numpy", "audio spectral mixing metrics spaces"),
    ("numpy", "degradation conditioning"),
    ("numpy", "enhancement_metrics"),
    ("numpy", "presets baselines downloads phase scaling mixtures file_plan plotting shards bandwidth"),
    ("numpy", "graph_halves onnx_session"),
    ("numpy", "corpus network validation crops run_folders"),
    ("numpy", "stream searches sources masking"),
    ("numpy", "shifts"),
    ("numpy", "denoiser enhancer"),
    ("numpy", "batch live enhancer_pairs model_check"),
    ("numpy", "evaluation enhancer_batch"),
    ("numpy", "app listening reports"),
    ("plain", "__init__"),
    ("keras", "layers devices datasets training_log optimizers"),
    ("keras", "callbacks loudness"),
    ("keras", "losses onnx_graph half_weights"),
    ("keras", "architectures denoising_model enhancer_losses"),
    ("keras", "encoder_weights onnx_export"),
    ("keras", "growing"),
    ("keras", "training enhancing"),
    ("keras", "publishing tuning pretraining"),
    ("keras", "exporting"),
    ("cli", "cli_options"),
    ("cli", "cli_app cli_completion cli_datasets cli_download cli_enhancer cli_evaluation cli_export"),
    ("cli", "cli_listen cli_report"),
    ("cli", "cli_inspect cli_live cli_models cli_pretraining cli_training cli_tuning"),
    ("cli", "cli"),
    ("cli", "__main__"),
]
RANK = {room: rank for rank, (_, rooms) in enumerate(RANKS) for room in rooms.split()}
SIDE = {room: side for side, rooms in RANKS for room in rooms.split()}

FRAMEWORKS = {"jax", "keras", "keras_tuner", "tensorflow", "tf2onnx", "torch"}
# These also run where there is no TensorFlow.
BACKEND_NEUTRAL = {
    "architectures",
    "callbacks",
    "denoising_model",
    "encoder_weights",
    "enhancer_losses",
    "enhancing",
    "layers",
    "losses",
    "loudness",
    "optimizers",
    "pretraining",
    "training",
    "training_log",
}
UNPICKLERS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
UNSAFE_ARGUMENTS = {"allow_pickle=True", "safe_mode=False", "weights_only=False"}
# Keras says what these take.
KERAS_METHODS = {"compute_loss"}
DISTRIBUTIONS = {
    "ai_edge_litert": "ai-edge-litert",
    "grpc": "grpcio",
    "keras_tuner": "keras-tuner",
    "yaml": "pyyaml",
}


@dataclass(frozen=True)
class Import:
    """`target` is dotted; `deferred` means inside a function or for the type checker only."""

    where: str
    room: str
    target: str
    deferred: bool

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]

    @property
    def target_room(self) -> str | None:
        parts = self.target.split(".")
        if parts[0] != "audenoise":
            return None
        return parts[1] if len(parts) > 1 and parts[1] in RANK else "__init__"


def package_sources() -> dict[str, str]:
    """Return path relative to the package → source."""
    return {
        path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imports_of(path: str, source: str) -> Iterator[Import]:
    room = path.split("/")[0].removesuffix(".py")
    package = ["audenoise", *path.split("/")[:-1]]

    def visit(node: ast.AST, deferred: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            else:
                base = package[: len(package) - node.level + 1] if node.level else []
                start = ".".join([*base, *filter(None, [node.module])])
                targets = [f"{start}.{alias.name}" for alias in node.names]
            for target in targets:
                yield Import(f"{path}:{node.lineno}", room, target, deferred)
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            deferred = True
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for child in node.body:
                yield from visit(child, True)
            for child in node.orelse:
                yield from visit(child, deferred)
            return
        for child in ast.iter_child_nodes(node):
            yield from visit(child, deferred)

    return visit(ast.parse(source), False)


def all_imports(sources: dict[str, str]) -> Iterator[Import]:
    for path, source in sources.items():
        yield from imports_of(path, source)


def wrong_directions(sources: dict[str, str]) -> list[str]:
    rooms = {path.split("/")[0].removesuffix(".py") for path in sources}
    found = [f"{room}: not in RANKS" for room in sorted(rooms - RANK.keys())]
    for each in all_imports({path: text for path, text in sources.items() if not found}):
        target = each.target_room
        if target not in (None, each.room) and RANK[target] >= RANK[each.room]:
            found.append(f"{each.where}: {each.room} imports {each.target}")
    return found


def heavy_imports(sources: dict[str, str]) -> list[str]:
    found = []
    for each in all_imports(sources):
        side, target_side = SIDE.get(each.room, "numpy"), SIDE.get(each.target_room or "")
        plain = each.top in sys.stdlib_module_names or target_side == "plain"
        allowed = {
            "plain": plain,
            "numpy": each.top not in FRAMEWORKS,
            "keras": True,
            "cli": plain or each.top == "click" or target_side == "cli",
        }[side]
        needs_tensorflow = each.top == "tensorflow" and each.room in BACKEND_NEUTRAL
        if needs_tensorflow or not (allowed or each.deferred):
            found.append(f"{each.where}: {each.room} imports {each.target}")
    return found


def forbidden_code(sources: dict[str, str]) -> list[str]:
    found = [
        f"{each.where}: imports {each.target}"
        for each in all_imports(sources)
        if each.top in UNPICKLERS or each.target == "__future__.annotations"
    ]
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Assert | ast.Global):
                found.append(f"{path}:{node.lineno}: {type(node).__name__.lower()} statement")
            if isinstance(node, ast.keyword) and ast.unparse(node) in UNSAFE_ARGUMENTS:
                found.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    return found


def long_positional_lists(sources: dict[str, str]) -> list[str]:
    """Find public functions with more than three positional parameters; click calls its own by keyword."""

    def public(nodes: list[ast.stmt]) -> Iterator[ast.FunctionDef]:
        for node in nodes:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from public(node.body)
            if isinstance(node, ast.FunctionDef) and (node.name == "__init__" or node.name[0] != "_"):
                yield node

    found = []
    for path, source in sources.items():
        if SIDE.get(path.split("/")[0].removesuffix(".py")) == "cli":
            continue
        for node in public(ast.parse(source).body):
            names = [each.arg for each in [*node.args.posonlyargs, *node.args.args]]
            names = names[1:] if names[:1] in (["self"], ["cls"]) else names
            if len(names) > 3 and node.name not in KERAS_METHODS:
                found.append(f"{path}:{node.lineno}: {node.name}({', '.join(names)})")
    return found


def undeclared_imports(sources: dict[str, str], declared: set[str]) -> list[str]:
    return [
        f"{each.where}: {each.top} is not a dependency in pyproject.toml"
        for each in all_imports(sources)
        if each.top not in sys.stdlib_module_names
        and each.top != "audenoise"
        and DISTRIBUTIONS.get(each.top, each.top) not in declared
    ]


def modules_loaded_by(code: str, *arguments: str) -> set[str]:
    """Return the names of the top-level modules that a fresh Python has loaded after `code`."""
    report = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}", *arguments], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(run.stdout.splitlines()[-1])}


RUN_COMMAND = "import sys; from audenoise.cli import main; code = main(sys.argv[1:]); code and sys.exit(code)"
HEAVY = {"keras", "librosa", "matplotlib", "pydantic", "scipy", "tensorflow"}


def test_rooms_import_from_the_left_only() -> None:
    assert wrong_directions(package_sources()) == []


def test_only_the_keras_side_loads_frameworks_and_the_command_line_loads_nothing_heavy() -> None:
    assert heavy_imports(package_sources()) == []


def test_library_code_has_no_asserts_globals_or_pickles() -> None:
    assert forbidden_code(package_sources()) == []


def test_more_than_three_parameters_are_keyword_only() -> None:
    assert long_positional_lists(package_sources()) == []


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"]]
    for extra in ("app", "cluster", "metrics", "benchmarks", "live", "litert", "jax", "media"):
        wanted += extras[extra]
    declared = {re.split(r"[\[<>=!~; ]", each)[0] for each in wanted}
    assert undeclared_imports(package_sources(), declared) == []


def test_the_image_installs_a_part_of_the_declared_dependencies() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {*project["dependencies"], *project["optional-dependencies"]["app"]}
    wanted = set(re.findall(r'"([a-z]+>=[0-9.]+)"', (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")))
    assert wanted - declared == set()
    assert {"numpy", "onnxruntime", "soundfile", "starlette"} <= {each.split(">")[0] for each in wanted}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("specs.py", "from audenoise.cli import main"),
        ("specs.py", "def f():\n    import audenoise.denoiser"),
        ("spectral.py", "from .denoiser import Denoiser"),
        ("spectral.py", "from audenoise import mixing"),
        ("presets.py", "from audenoise import Denoiser"),
        ("audio/reader.py", "from ..stream import DenoiserStream"),
        ("layers.py", "from audenoise.architectures.unet import build_unet"),
        ("attic.py", ""),
    ],
)
def test_a_wrong_direction_is_found(path: str, source: str) -> None:
    assert len(wrong_directions({path: source})) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("spectral.py", "import keras"),
        ("batch.py", "try:\n    from tensorflow import data\nexcept ImportError:\n    pass"),
        ("mixtures.py", "class A:\n    import keras.ops"),
        ("cli.py", "import numpy as np"),
        ("cli.py", "from audenoise.presets import load_preset"),
        ("__init__.py", "from .denoiser import Denoiser"),
        ("errors.py", "import click"),
        ("layers.py", "def f():\n    import tensorflow as tf"),
    ],
)
def test_a_heavy_import_is_found(path: str, source: str) -> None:
    assert len(heavy_imports({path: source})) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("audio/reader.py", "from . import probe\nfrom ..errors import AudioFileError"),
        (
            "cli.py",
            "import os\nimport click\ndef f():\n    from audenoise.training import train\n    import keras",
        ),
        ("spectral.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import keras"),
        ("datasets.py", "import tensorflow as tf"),
    ],
)
def test_what_is_allowed_is_not_found(path: str, source: str) -> None:
    assert wrong_directions({path: source}) == heavy_imports({path: source}) == []


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    assert x",
        "def f():\n    global x",
        "import pickle",
        "from __future__ import annotations",
        "np.load(path, allow_pickle=True)",
        "keras.models.load_model(path, safe_mode=False)",
    ],
)
def test_forbidden_code_is_found(source: str) -> None:
    assert len(forbidden_code({"specs.py": source})) == 1


def test_long_lists_and_undeclared_imports_are_found() -> None:
    source = (
        "def f(a, b, c, *, d): ...\nclass A:\n    def g(self, a, b, c): ...\n    def h(self, a, b, c, d): ..."
    )
    assert long_positional_lists({"specs.py": source}) == ["specs.py:4: h(a, b, c, d)"]
    assert len(undeclared_imports({"specs.py": "import os, yaml, torch"}, {"pyyaml"})) == 1


def test_help_loads_nothing_heavy() -> None:
    loaded = modules_loaded_by(RUN_COMMAND, "--help")
    assert "click" in loaded
    assert loaded & {*HEAVY, "numpy", "onnxruntime"} == set()


def test_predict_loads_nothing_heavy(tmp_path: Path) -> None:
    gain_model(tmp_path / "model")
    sample, output = CHECKOUT / "data/samples/noisy_fan.wav", tmp_path / "out.wav"
    loaded = modules_loaded_by(
        RUN_COMMAND, "predict", str(sample), "-o", str(output), "--model", str(tmp_path / "model")
    )
    assert output.is_file()
    assert "onnxruntime" in loaded
    assert loaded & HEAVY == set()


def test_a_loaded_module_is_seen() -> None:
    assert modules_loaded_by("import pydantic.version") & HEAVY == {"pydantic"}


def test_importing_the_package_loads_only_the_standard_library() -> None:
    before, after = modules_loaded_by(""), modules_loaded_by("import audenoise")
    assert after - before - sys.stdlib_module_names == {"audenoise"}


def test_the_two_classes_come_with_their_first_use() -> None:
    from audenoise.denoiser import Denoiser
    from audenoise.enhancer import Enhancer

    assert (audenoise.Denoiser, audenoise.Enhancer) == (Denoiser, Enhancer)
    assert {"Denoiser", "Enhancer"} <= set(dir(audenoise))
    with pytest.raises(AttributeError, match="no attribute 'Denoizer'"):
        _ = audenoise.Denoizer


@pytest.mark.parametrize("path", [path for path, source in package_sources().items() if ">>> " in source])
def test_examples_in_docstrings_run(path: str) -> None:
    name = ".".join(["audenoise", *path.removesuffix(".py").split("/")]).removesuffix(".__init__")
    result = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert result.failed == 0

"""Specs: one form everywhere, and errors that name the key before anything is built."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from audenoise.errors import SpecError
from audenoise.specs import (
    MAX_SPEC_BYTES,
    RECIPES,
    dump_spec,
    load_recipe,
    load_spec,
    override_training,
    parse_spec,
    spec_to_dict,
)

SMALL: dict[str, Any] = {
    "encoder": [{"filters": 4, "kernel": [1, 8], "stride": [1, 4]}, {"filters": 6}, {"filters": 8}],
    "bottleneck": {"kind": "recurrent", "bands": 4, "channels": 8, "heads": 2},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """SMALL with the value at a path such as ``encoder.2.filters``; parents are made as needed."""
    data = json.loads(json.dumps(SMALL))
    node = data
    *parents, last = path.split(".")
    for part in parents:
        node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
    node[int(last) if last.isdigit() else last] = value
    return data


FULL = {
    "name": "every-section.1",
    "sample_rate": 48000,
    "stft": {"n_fft": 1024, "hop_length": 256, "win_length": 1000, "window": "hann"},
    "input": {"representation": "decibel", "range_db": [-80, 5]},
    "encoder": [{"filters": 4, "kernel": [3, 3], "pool": [2, 2], "norm": "layer", "dropout": 0.25}],
    "bottleneck": {"kind": "convolution", "stages": [{"filters": 5, "activation": "gelu"}]},
    "decoder": [{"filters": 7, "up_kernel": [2, 4]}],
    "upsampling": "nearest",
    "skip": {"kind": "add", "position": "after"},
    "output": {"kind": "noise", "activation": "tanh"},
    "causal": False,
    "loss": {"sdr": 0.1, "magnitude": 0},
    "mixing": {"snr_db": [0, 3.5]},
    "training": {"schedule": "plateau", "early_stopping_epochs": 4},
}


@pytest.mark.parametrize("data", [SMALL, FULL], ids=["small", "full"])
def test_every_form_gives_the_same_spec(data: dict[str, Any], tmp_path: Path) -> None:
    spec = parse_spec(data)
    assert parse_spec(spec_to_dict(spec)) == spec
    (tmp_path / "a.yaml").write_text(dump_spec(spec))
    (tmp_path / "a.json").write_text(json.dumps(spec_to_dict(spec), indent="\t"))  # YAML has no tabs
    assert load_spec(tmp_path / "a.yaml") == spec == load_spec(tmp_path / "a.json")


def test_shipped_recipes_are_found_by_name() -> None:
    names = [path.stem for path in RECIPES.glob("*.yaml")]
    assert "standard" in names
    for name in names:
        assert load_recipe(name) == load_spec(RECIPES / f"{name}.yaml")
    with pytest.raises(SpecError, match=r"nowhere: no such spec file; shipped recipes: .*standard"):
        load_recipe("nowhere")


def test_overrides_are_checked_and_leave_the_rest() -> None:
    spec = parse_spec(SMALL)
    assert override_training(spec, {"epochs": 3, "seed": None}).training.epochs == 3
    assert override_training(spec, {"epochs": None}) == spec
    with pytest.raises(SpecError, match=r"training\.epochs: must be at least 1\. Received: 0"):
        override_training(spec, {"epochs": 0})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("encoder.2.filters", 0, "encoder[2].filters: must be at least 1. Received: 0"),
        ("encoder.0.filters", 10**6, "encoder[0].filters: must be at most 4096. Received: 1000000"),
        ("encoder.1.dropout", 1, "encoder[1].dropout: must be less than 1"),
        ("encoder.1.kernel", [1, 2, 3], "encoder[1].kernel: "),
        ("encoder", [], "encoder: "),
        ("encoder.1.stride", [1, 4], "encoder[1].stride: must not exceed the kernel along frequency"),
        ("encoder.0.pool", [1, 2], "encoder[0].pool: give a stride or a pool, not both. Received: [1, 2]"),
        ("encoder.1.colour", 1, "encoder[1].colour: is not a key of this section. Received: 1"),
        ("encodr", 1, "encodr: is not a key of this section"),
        ("bottleneck.kind", "transformer",
         "bottleneck.kind: must be 'convolution' or 'recurrent' or 'dilated'. Received: \"transformer\""),
        ("bottleneck.kind", "recurent",
         "bottleneck.kind: must be 'convolution' or 'recurrent' or 'dilated', did you mean recurrent?"),
        ("bottleneck.heads", 3, "bottleneck.heads: must divide channels 8. Received: 3"),
        ("bottleneck.channels", "many", "bottleneck.channels: "),
        ("bottleneck", {"kind": "recurrent", "across_bands": "gru", "channels": 7},
         "bottleneck.channels: must be even for a GRU over bands. Received: 7"),
        ("bottleneck", {"kind": "convolution", "stages": [{"filters": 8, "stride": [1, 3]}]},
         "bottleneck.stages[0].stride: "),
        ("bottleneck", {"kind": "convolution", "stages": [{"filters": 0}]},
         "bottleneck.stages[0].filters: must be at least 1. Received: 0"),
        ("stft.n_fft", 513, "stft.n_fft: must be even. Received: 513"),
        ("stft.win_length", 600, "stft.win_length: must not exceed n_fft 512. Received: 600"),
        ("stft.hop_length", 257, "stft.hop_length: must be at most half the window (256)"),
        ("stft.window", "boxcar", "stft.window: "),
        ("sample_rate", 0, "sample_rate: must be at least 4000. Received: 0"),
        ("input.compression", float("nan"), "input.compression: "),
        ("input.range_db", [0, -100], "input.range_db: must be [low, high]"),
        ("input.range_db", [-1000, 0], "input.range_db: must be [low, high]"),
        ("mixing.snr_db", [5, -5], "mixing.snr_db: the lower end must not exceed the upper end"),
        ("mixing.snr_db", [float("-inf"), 5], "mixing.snr_db[0]: "),
        ("mixing.level_dbfs", [-10, 3], "mixing.level_dbfs: must not exceed 0 dBFS"),
        ("mixing.common_level_dbfs", -5,
         "mixing.common_level_dbfs: must lie within level_dbfs, -35 to -10. Received: -5"),
        ("mixing", {"clean_only": 0.6, "noise_only": 0.6}, "mixing.noise_only: "),
        ("loss", dict.fromkeys(("magnitude", "complex", "consistency", "waveform"), 0), "loss.magnitude: "),
        ("training.learning_rate", float("inf"), "training.learning_rate: "),
        ("training.crop_s", 0.01, "training.crop_s: must be at least one window (0.032 s). Received: 0.01"),
        ("name", "../escape", "name: "),
        ("encoder.0.convolutions", 0, "encoder[0].convolutions: must be at least 1. Received: 0"),
        ("encoder.1", {"filters": 4, "dropout": 0.1, "dropout_position": "inside"},
         "encoder[1].dropout_position: inside needs at least 2 convolutions"),
        ("bottleneck", {"kind": "convolution", "stages": [{"filters": 8, "convolutions": 0}]},
         "bottleneck.stages[0].convolutions: must be at least 1"),
        ("output.stages", [{"filters": 4, "pool": [1, 2]}],
         "output.stages[0].pool: a stage of the output keeps its size"),
        ("output.phase", "griffin_lim", "output.phase: griffin_lim is for outputs without a phase"),
        ("loss.huber", -1, "loss.huber: must be at least 0"),
        ("training.optimizer", "sgd", "training.optimizer: must be"),
        ("decoder", [{"filters": 4}], "decoder: must have as many stages as encoder (3). Received: 1"),
        ("decoder", [{"filters": 4}, {"filters": 4, "kernel": [1, 4], "stride": [1, 2]}, {"filters": 4}],
         "decoder[1].stride: is taken from the encoder"),
        ("decoder", [{"filters": 4}, {"filters": 4}, {"filters": 4, "up_kernel": [1, 3]}],
         "decoder[2].up_kernel: must not be smaller than the step [1, 4] it undoes. Received: [1, 3]"),
    ],
)  # fmt: skip
def test_an_error_names_the_key(path: str, value: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(changed(path, value), source="my.yaml")
    text = str(caught.value)
    assert text.startswith(f"my.yaml: {message}")
    assert "\n" not in text
    assert len(text) < 300


def test_steps_that_leave_no_frequency_are_found_before_building() -> None:
    stage = {"filters": 4, "kernel": [1, 8], "stride": [1, 8]}
    with pytest.raises(SpecError, match=r"encoder\[2\]: a stride or pool of 8 leaves nothing of the 5 freq"):
        parse_spec({**SMALL, "encoder": [stage] * 3})


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (changed("encoder.1", {"filters": 4, "kernel": [2, 3], "stride": [2, 1]}), "causal: "),
        (changed("encoder.1", {"filters": 4, "pool": [2, 1]}), "causal: "),
        (changed("bottleneck.bidirectional", True), "bottleneck.bidirectional: "),
        (changed("encoder.0.up_kernel", [2, 8]), "decoder[2].up_kernel: "),
    ],
)
def test_what_looks_ahead_needs_causal_false(data: dict[str, Any], key: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(data)
    assert str(caught.value).startswith(f"spec: {key}")
    assert not parse_spec({**data, "causal": False}).causal


def test_repeating_has_no_kernel() -> None:
    data = changed("encoder.0.up_kernel", [1, 8])
    with pytest.raises(SpecError, match=r"^spec: upsampling: repeat has no up_kernel"):
        parse_spec({**data, "upsampling": "repeat"})
    assert parse_spec({**SMALL, "upsampling": "repeat"}).upsampling == "repeat"


@pytest.mark.parametrize("data", [None, [], "text", 3, {"encoder": {2.5: "a"}}])
def test_what_is_no_dictionary_of_keys_is_refused(data: Any) -> None:
    with pytest.raises(SpecError):
        parse_spec(data)


def test_a_dictionary_that_holds_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["encoder"] = loop
    with pytest.raises(SpecError, match="encoder"):
        parse_spec(loop)


BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "aliases"),
        ("a: &x {b: *x}", "aliases"),
        ("[" * 20_000, "not valid YAML"),
        ("encoder: [}", "not valid YAML"),
        ("a: !!python/object/apply:os.system [echo]", "not valid YAML"),
        ("name: " + "9" * 5000, "not valid YAML"),
        ("encoder: {2020-01-01: 1}", "encoder"),
        ("\ud800".encode("utf-8", "surrogatepass"), "not valid YAML"),
        ("", "is empty$"),
        ("name: a\nencoder: b: c\n", "YAML or JSON: line 2, column 11: mapping values are not allowed here$"),
        ("x" * (MAX_SPEC_BYTES + 1), "larger than 100 kB"),
        ("name: a\nencoder: []\nname: b\n", "line 3, column 1: the key 'name' is there twice$"),
        ("training: {epochs: 1, seed: 1, epochs: 2}", "line 1, column 32: the key 'epochs' is there twice$"),
    ],
    ids=[
        "bomb",
        "loop",
        "deep",
        "broken",
        "object",
        "digits",
        "date",
        "bytes",
        "empty",
        "place",
        "huge",
        "twice",
        "twice-inside",
    ],
)
def test_hostile_files_give_one_line(text: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecError, match=message) as caught:
        load_spec(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_deep_json_and_missing_files_give_one_line(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text('{"a":' * 20_000)
    with pytest.raises(SpecError, match="not valid YAML or JSON"):
        load_spec(path)
    path.write_text(" ")
    with pytest.raises(SpecError, match=r"spec\.json: is empty$"):
        load_spec(path)
    with pytest.raises(SpecError, match=r"none\.yaml: cannot be read"):
        load_spec(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KEYS = sorted(set(spec_to_dict(parse_spec(SMALL))) | {"extra"})


@settings(max_examples=100, deadline=None)
@given(key=st.sampled_from(KEYS), value=JUNK)
def test_any_junk_is_refused_with_a_line_or_accepted_and_kept(key: str, value: Any) -> None:
    try:
        spec = parse_spec({**SMALL, key: value})
    except SpecError as error:
        text = str(error)
    else:
        text = dump_spec(spec).splitlines()[0]
        assert parse_spec(yaml.safe_load(dump_spec(spec))) == spec
    assert "\n" not in text


def test_an_unknown_key_is_named_before_what_is_missing_because_of_it():
    with pytest.raises(
        SpecError, match=r"^spec: botleneck: is not a key of this section, did you mean bottleneck\?"
    ):
        parse_spec({"encoder": [{"filters": 4}], "botleneck": {"kind": "recurrent"}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"bottleneck": {"kind": "transformer"}},
            r"bottleneck\.kind: must be 'convolution' or 'recurrent' or",
        ),
        ({"encoder": 8}, r"encoder: must be a list\. Received: 8"),
        ({"encoder": []}, r"encoder: must have at least 1 entry"),
        ({"name": "a b"}, r"name: must be letters, digits and"),
        ({"causal": "perhaps"}, r"causal: must be a valid boolean"),
    ],
)
def test_errors_are_in_plain_words(change: dict, words: str):
    with pytest.raises(SpecError, match=words):
        parse_spec({"encoder": [{"filters": 4}], "bottleneck": {"kind": "recurrent"}, **change})

"""Search spaces: what values make of a spec, and how mistakes are named."""

import copy
import itertools
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from audenoise.errors import SpecError
from audenoise.spaces import list_spaces, load_space, parse_space
from audenoise.spaces.key_paths import parse_key, replaced
from audenoise.specs import load_recipe, parse_spec, spec_to_dict

BASE: dict[str, Any] = {
    "encoder": [{"filters": 4}, {"filters": 4}],
    "bottleneck": {"kind": "recurrent", "channels": 8, "heads": 4},
}


def space_of(base: Any = None, **search: Any):
    return parse_space({"base": base or BASE, "search": search}, source="s.yaml")


def test_key_paths():
    assert parse_key("encoder[10].kernel[1]") == ("encoder", 10, "kernel", 1)
    data = {"a": [{"b": 1}, {"b": 2}]}
    before = copy.deepcopy(data)
    assert replaced(data, "a[1].b", [3]) == {"a": [{"b": 1}, {"b": [3]}]}
    assert replaced(data, "a[*].b", 5) == {"a": [{"b": 5}, {"b": 5}]}
    assert replaced(data, "a[0].new", 1)["a"][0] == {"b": 1, "new": 1}
    assert data == before


@pytest.mark.parametrize("key", ["", "a b", "[0]", "a..b", "a[x]", "a.", "a[0", ".a", "*"])
def test_what_is_no_key_path_is_refused(key: str):
    with pytest.raises(SpecError, match="is not a key path"):
        parse_key(key)


@pytest.mark.parametrize("key", ["b.c", "a[2].b", "a.b", "a[0][1]", "a[0].b.c"])
def test_a_key_path_that_leads_nowhere_is_named(key: str):
    with pytest.raises(SpecError, match="leads nowhere"):
        replaced({"a": [{"b": 1}, {"b": 2}]}, key, 0)


def test_values_make_a_spec():
    space = space_of(
        **{
            "depth": {"options": {"one": {"encoder": [{"filters": 4}]}, "two": {}}},
            "width": {"min": 4, "max": 16, "keys": {"encoder[*].filters": 1, "bottleneck.channels": 2}},
            "training.learning_rate": {"min": 1e-4, "max": "1e-2", "log": True},
            "mask": {"choice": ["complex_mask", "magnitude_mask"], "keys": ["output.kind"]},
        }
    )
    values = {"depth": "one", "width": 8, "training.learning_rate": 0.00123456, "mask": "magnitude_mask"}
    expected = {**BASE, "encoder": [{"filters": 8}], "output": {"kind": "magnitude_mask"}}
    expected["bottleneck"] = {**BASE["bottleneck"], "channels": 16}
    expected["training"] = {"learning_rate": 0.001235}
    assert space.spec(values) == parse_spec(expected)
    assert space.spec({}) == parse_spec(BASE) == space.base
    assert [stage.filters for stage in space.spec({"depth": "two", "width": 16}).encoder] == [16, 16]


def test_conditions_decide_what_is_used():
    space = space_of(
        **{
            "kind": {"options": {"gru": {}, "conv": {"bottleneck": {"kind": "dilated"}}}},
            "bottleneck.blocks": {"choice": [1, 3], "when": {"kind": "gru"}},
            "bottleneck.dilations": {"choice": [[1], [1, 2]], "when": {"kind": ["conv"]}},
        }
    )
    values = {"kind": "conv", "bottleneck.blocks": 3, "bottleneck.dilations": "[1, 2]"}
    assert space.settled(values) == {"kind": "conv", "bottleneck.dilations": "[1, 2]"}
    assert spec_to_dict(space.spec(values))["bottleneck"]["dilations"] == [1, 2]
    assert spec_to_dict(space.spec({**values, "kind": "gru"}))["bottleneck"]["blocks"] == 3


def test_floats_are_rounded_to_what_survives_a_trip_through_the_network():
    space = space_of(**{"training.learning_rate": {"min": 0.00123456, "max": 0.1, "log": True}})
    rate = space.spec({"training.learning_rate": 0.0123456789}).training.learning_rate
    assert rate == 0.01235
    assert space.spec({"training.learning_rate": 0.00123456}).training.learning_rate >= 0.00123456


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"encoder[0].filter": [1]}, r"search\.encoder\[0\]\.filter: .*encoder\[0\]\.filter: is not a key"),
        ({"encoder[5].filters": [1]}, r"leads nowhere in this spec: it has no encoder\[5\]"),
        ({"decoder[0].filters": [1]}, r"leads nowhere in this spec: it has no decoder\[0\]"),
        ({"encoder[0].filters": [8, 0]}, r"encoder\[0\]\.filters: must be at least 1"),
        ({"encoder[0].filters": {"min": 1.5, "max": 3.5}}, r"encoder\[0\]\.filters: must be a valid integer"),
        ({"output.kind": ["mask"]}, r"output\.kind: must be 'magnitude_mask'"),
        ({"width": [1, 2]}, r"search\.width: .*width: is not a key"),
        ({"my width": [1, 2]}, r"'my width' is not a key path .* a name of your own needs keys"),
        ({"w": {"min": 4, "max": 4}}, r"search\.w: min 4 must be below max 4"),
        ({"w": {"min": 4}}, r"search\.w\.max: is missing"),
        ({"w": {"min": "a", "max": 4}}, r"search\.w\.min: must be a number. Received: 'a'"),
        ({"w": {"min": 0, "max": 4, "log": True}}, r"search\.w\.min: must be more than 0 on a log"),
        ({"w": {"min": 1, "max": 4, "log": True, "step": 1}}, r"search\.w\.step: must be more than 1"),
        ({"w": {"min": 1, "max": 4, "log": "yes"}}, r"search\.w\.log: must be true or false"),
        ({"w": {"min": 1, "max": 4, "steps": 1}}, r"search\.w: steps: is not a key .* did you mean step"),
        ({"w": {"choice": [1], "min": 1}}, r"search\.w: give one of choice, options, or min and max"),
        ({"w": {"choice": [1, 2], "log": True}}, r"search\.w\.log: belongs to a range"),
        ({"w": []}, r"search\.w: a choice must be a list of at least one value"),
        ({"encoder[0].filters": [1, 1]}, r"1 is given twice"),
        ({"w": 3}, r"search\.w: must be a list of values"),
        ({"w": {"options": {"a": 1}}}, r"search\.w\.options\.a: must be a dictionary"),
        ({"w": {"options": {"a": {"x y": 1}}}}, r"search\.w\.options\.a: 'x y' is not a key path"),
        ({"w": {"options": {"a": {}}, "keys": ["x"]}}, r"search\.w\.keys: options name their own"),
        ({"w": {"choice": ["a"], "keys": {"name": 2}}}, r"factors need numbers"),
        (
            {"w": {"choice": [1], "when": {"v": 1}}},
            r"search\.w\.when\.v: must be a choice or options further up",
        ),
        ({"v": {"options": {"a": {}}}, "w": {"choice": [1], "when": {"v": "b"}}}, r"when\.v: must be one of"),
        ({"sample_rate": [8000, 16000]}, r"sample_rate: can't be searched: scores at different rates"),
        ({"training": {"options": {"a": {"training.epochs": 7}}}}, r"epochs: can't be searched: .* --epochs"),
        ({"a/b": [1]}, "without a slash"),
        ({}, "at least one key path"),
    ],
)
def test_mistakes_are_named_with_their_key(entry: dict[str, Any], message: str):
    with pytest.raises(SpecError, match=message) as caught:
        space_of(**entry)
    assert str(caught.value).startswith("s.yaml: ")
    assert "\n" not in str(caught.value)


def test_values_that_do_not_go_together_are_found_when_they_meet():
    space = space_of(**{"bottleneck.heads": [2, 3], "bottleneck.channels": [8, 9]})
    assert space.spec({"bottleneck.heads": 3, "bottleneck.channels": 9})
    with pytest.raises(SpecError, match=r"bottleneck\.heads=3, .*heads: must divide channels 8"):
        space.spec({"bottleneck.heads": 3, "bottleneck.channels": 8})
    with pytest.raises(SpecError, match=r"bottleneck\.heads: must be one of \[2, 3\]. Received: 4"):
        space.spec({"bottleneck.heads": 4})


def test_a_base_is_a_recipe_or_a_file_beside_the_space(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(BASE))
    (tmp_path / "space.yaml").write_text("base: mine.yaml\nsearch:\n  bottleneck.channels: [8, 16]\n")
    assert load_space(tmp_path / "space.yaml").base == parse_spec(BASE)
    assert parse_space({"base": "standard", "search": {"causal": [True]}}).base == load_recipe("standard")
    for text, message in (
        ("base: gone\nsearch: {causal: [true]}", r"\.yaml: base: gone: no such spec file"),
        ("base: 3\nsearch: {causal: [true]}", "base: must be a recipe's name"),
        ("bases: standard", "did you mean base"),
        ("- 1", "must be a dictionary"),
        ("a: [", "is not valid YAML"),
    ):
        (tmp_path / "space.yaml").write_text(text)
        with pytest.raises(SpecError, match=message):
            load_space(tmp_path / "space.yaml")
    with pytest.raises(SpecError, match="no such space file; shipped spaces: network, stft, training"):
        load_space("nothing")


def test_the_same_space_is_the_same_data_however_it_is_written():
    short = space_of(**{"encoder[0].filters": [1, 2]}).to_dict()
    long = space_of(**{"encoder[0].filters": {"choice": [1, 2], "keys": ["encoder[0].filters"]}}).to_dict()
    assert short == long
    assert short != space_of(**{"encoder[0].filters": [1, 3]}).to_dict()


@pytest.mark.parametrize("name", list_spaces())
def test_draws_of_the_shipped_spaces_are_mostly_valid(name: str):
    space, rng, failed = load_space(name), random.Random(0), 0
    for _ in range(60):
        values = {
            item.name: rng.choice(item.labels or (item.low, item.high)) for item in space.hyperparameters
        }
        try:
            space.spec(values)
        except SpecError:
            failed += 1
    assert failed < 40


def test_the_shipped_spaces_search_what_they_say():
    keys = {
        name: {
            key.partition("[")[0]
            for item in load_space(name).hyperparameters
            for key in itertools.chain(item.keys or {}, *(settings for _, settings in item.options))
        }
        for name in list_spaces()
    }
    assert {"encoder", "bottleneck", "output.kind", "input.compression"} <= keys["network"]
    assert {"stft.n_fft", "stft.hop_length", "stft.window"} <= keys["stft"]
    assert {"training.learning_rate", "training.batch_size", "loss.sdr"} <= keys["training"]

"""Pre-training an encoder: masks, learning, causality, kill and resume, and what a network takes over."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from architecture_specs import SPECS
from enhancer_specs import tiny as tiny_enhancer
from recordings import voice
from training_batches import RATE, TINY

from audenoise.architectures import build_network
from audenoise.architectures.encoders import build_encoder, encoder_of
from audenoise.architectures.enhancer import build_generator
from audenoise.cli import main
from audenoise.encoder_weights import (
    ENCODER_FILE,
    load_either_spec,
    load_encoder,
    start_from_encoder,
    take_layers,
)
from audenoise.errors import SpecError, TrainingError
from audenoise.layers import ops, to_numpy
from audenoise.masking import MaskedSpeech, draw_mask, make_unpaired
from audenoise.mixtures import MixtureStream
from audenoise.pretraining import (
    PretrainingModel,
    fit_encoder,
    prepare_pretraining,
    pretrain,
    recipe_of,
    trivial_errors,
)
from audenoise.run_folders import RunState
from audenoise.specs import ModelSpec, PretrainingSpec, dump_spec, parse_spec
from audenoise.specs.enhancer import EnhancerSpec, dump_enhancer_spec

SMALL: dict[str, Any] = {"bands": 12, "head_units": 24, "mask_s": [0.03, 0.15]}


def small(pretraining: dict[str, Any] | None = None, **training: Any) -> ModelSpec:
    spec = {
        **TINY,
        "input": {"representation": "decibel"},
        "bottleneck": {"kind": "dilated", "channels": 12, "dilations": [1, 2, 4]},
        "encoder": [{**TINY["encoder"][0], "dropout": 0.0}],
        "pretraining": {**SMALL, **(pretraining or {})},
        "training": {**TINY["training"], "steps_per_epoch": 2, **training},
    }
    return parse_spec(spec)


@pytest.fixture(scope="module", autouse=True)
def step_by_step() -> Iterator[None]:
    """Compiling a step takes longer than running it as often as most do here."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    for i in range(4):
        soundfile.write(folder / f"{i}.wav", voice(3, RATE, seed=i), RATE)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def data(spec: ModelSpec | EnhancerSpec, speech: Path, cache: Path) -> tuple[MaskedSpeech, MaskedSpeech]:
    plan = recipe_of(spec)
    made = make_unpaired(
        [speech],
        sample_rate=spec.sample_rate,
        stft=spec.stft,
        mixing=plan.mixing.model_copy(update={"reverb": 0.0}),
        training=plan.training,
        pretraining=spec.pretraining,
        valid=[speech],
        cache=cache,
        jobs=1,
    )
    return made.train, made.validation


def batches(source: MaskedSpeech, spec: ModelSpec, epoch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for number in itertools.count(epoch * spec.training.steps_per_epoch):
        yield source.batch(number, spec.training.batch_size)


def fit(run: Path, spec: ModelSpec, stream, validation, **options) -> RunState:
    state = prepare_pretraining(run, spec, resume=options.pop("resume", False))
    fit_encoder(spec, stream, validation, run=run, state=state, **options)
    return state


# --- masks and trivial predictors ---------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_as_much_is_hidden_as_the_spec_says_in_rectangles_of_its_sizes(share: float) -> None:
    spec = PretrainingSpec(bands=20, mask_share=share, mask_s=(0.1, 0.2), mask_bands=(0.25, 0.5))
    masks = [draw_mask(np.random.default_rng(i), spec, n_frames=200, frames_per_s=100) for i in range(20)]
    assert all(share <= mask.mean() < share + 20 * 10 / 4000 for mask in masks)
    # Every hidden cell is part of a run of at least 10 frames, or one that the start or the end cuts.
    for mask in masks:
        padded = np.pad(mask, ((1, 1), (0, 0)), constant_values=False).astype(int)
        for band in range(20):
            edges = np.flatnonzero(np.diff(padded[:, band]))
            for start, stop in zip(edges[::2], edges[1::2], strict=True):
                assert stop - start >= 10 or start == 0 or stop == 200
    ends, middle = (np.mean([mask[part].mean() for mask in masks]) for part in ([0, -1], [99, 100]))
    assert abs(ends - middle) < 0.25


def test_batches_depend_on_their_number_alone(speech: Path, cache: Path) -> None:
    spec = small()
    source, _ = data(spec, speech, cache)
    audio, hidden = source.batch(3, 2)
    assert (audio.shape, audio.dtype, hidden.dtype) == ((2, RATE // 2), np.float32, np.uint8)
    assert hidden.shape == (2, -(-(RATE // 2 + 128 - 64) // 64), 12)
    stream = MixtureStream(source, batch_size=2, workers=1, first=3)
    try:
        other = next(stream)
    finally:
        stream.close()
    for one, same in zip((audio, hidden), other, strict=True):
        np.testing.assert_array_equal(one, same)


def test_trivial_predictors_by_hand() -> None:
    mels = np.array([[[0.0], [1.0], [2.0], [4.0]]])
    hidden = np.array([[[1], [0], [1], [1]]])
    found = trivial_errors(mels, hidden, ahead_frames=1)
    # The median is 1.5. Repeated: nothing was seen before frame 0; then frame 1.
    assert found["reconstruction"] == {"constant": (1.5 + 0.5 + 2.5) / 3, "repeat": (1.5 + 1 + 3) / 3}
    assert found["next_frame"] == {"constant": (0.5 + 0.5 + 2.5) / 3, "repeat": (0.5 + 1 + 3) / 3}


# --- the encoder and causality ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_the_encoder_is_all_before_the_decoder(name: str) -> None:
    spec = parse_spec({**SPECS[name], "pretraining": {"bands": 8}})
    network = build_network(spec)
    encoder = encoder_of(network, spec)
    names = {layer.name for layer in encoder.layers}
    assert not any(each.startswith(("decoder", "head", "denoised", "output")) for each in names)
    wanted = {
        each.name
        for each in network.layers
        if each.name.startswith(("encoder", "block", "valley", "dilated"))
    }
    assert wanted <= names
    # The bottleneck's own output, and nothing of the way back up.
    decoder = [layer for layer in network.layers if layer.name.startswith("decoder1")]
    behind = [each for layer in decoder for each in keras.tree.flatten(layer.input)]
    assert not decoder or any(tensor is encoder.output for tensor in behind)


def test_what_a_causal_encoder_says_depends_on_nothing_that_follows(speech: Path, cache: Path) -> None:
    spec = small()
    model = PretrainingModel(spec)
    assert model.names == ("reconstruction", "next_frame")
    audio, hidden = data(spec, speech, cache)[1].batch(0, 1)
    changed = audio.copy()
    changed[:, 2000:] = voice(1, RATE, seed=77)[: audio.shape[1] - 2000]
    first, second = (model({"audio": each, "hidden": hidden}) for each in (audio, changed))
    frame = (2000 + 64) // 64  # the first frame that has one of the samples
    for name in model.names:
        one, other = to_numpy(first[name]), to_numpy(second[name])
        np.testing.assert_allclose(one[:, :frame], other[:, :frame], atol=1e-4)
        assert np.abs(one[:, frame + 3 :] - other[:, frame + 3 :]).max() > 1e-2


def test_next_frames_are_for_causal_encoders_only() -> None:
    base = {**SPECS["time_strides"], "pretraining": {"bands": 8}}
    model = PretrainingModel(parse_spec(base))
    assert model.names == ("reconstruction",)
    with pytest.raises(SpecError, match=r"pretraining\.next_frame: an encoder that is not causal has seen"):
        parse_spec({**base, "pretraining": {"next_frame": 0.5}})
    with pytest.raises(SpecError, match=r"pretraining\.next_frame: an encoder that is not causal has seen"):
        tiny_enhancer(pretraining={"next_frame": 0.5})
    with pytest.raises(SpecError, match="at least one weight must be above 0"):
        parse_spec({**base, "pretraining": {"reconstruction": 0}})
    with pytest.raises(SpecError, match=r"pretraining\.mask_bands: must be above 0 and at most 1"):
        parse_spec({**base, "pretraining": {"mask_bands": [0, 1]}})
    with pytest.raises(SpecError, match=r"pretraining\.bands: "):
        PretrainingModel(parse_spec({**base, "pretraining": {"bands": 200}}))
    # Strides along time: as many predictions as frames all the same.
    audio = np.stack([voice(0.3, 16000, seed=1)])
    frames = model.transform.frames(audio.shape[1])
    predicted = model({"audio": audio, "hidden": np.zeros((1, frames, 8), np.uint8)})
    assert predicted["reconstruction"].shape == (1, frames, 8)


def test_hidden_bands_are_hidden_from_the_encoder_and_the_loss_is_theirs(speech: Path, cache: Path) -> None:
    spec = small({"next_frame": 0})
    model = PretrainingModel(spec)
    audio, hidden = data(spec, speech, cache)[0].batch(0, 2)
    everything = {"audio": audio, "hidden": np.ones_like(hidden)}
    predicted = model(everything)
    silence = model({"audio": 0 * audio, "hidden": 0 * hidden})
    np.testing.assert_allclose(
        to_numpy(predicted["reconstruction"]), to_numpy(silence["reconstruction"]), atol=1e-6
    )
    wanted = to_numpy(model.mels(ops.convert_to_tensor(audio)))
    guess = {"reconstruction": np.zeros_like(wanted)}
    found = model.errors({"audio": audio, "hidden": hidden}, guess)["reconstruction"]
    assert float(found) == pytest.approx(np.abs(wanted)[hidden > 0].mean(), rel=1e-4)


# --- learning, killing, resuming ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learnt(speech: Path, cache: Path, tmp_path_factory) -> tuple[Path, ModelSpec, list[str]]:
    spec = small(
        {"mask_share": 0.3}, epochs=2, steps_per_epoch=80, batch_size=8, learning_rate=0.02, ema_momentum=0.9
    )
    train, held = data(spec, speech, cache)
    run, lines = tmp_path_factory.mktemp("pretraining") / "run", []
    tf.config.run_functions_eagerly(False)
    try:
        fit(run, spec, batches(train, spec), held.batch(0, 24), report=lines.append)
    finally:
        tf.config.run_functions_eagerly(True)
    return run, spec, lines


def test_it_comes_to_know_more_than_trivial_predictors(learnt, speech: Path, cache: Path) -> None:
    run, spec, lines = learnt
    assert "guessed as each band's median: off by" in lines[0]
    assert lines[-1].startswith("epoch 2/2: loss")
    header, *rows = [line.split(",") for line in (run / "log.csv").read_text().splitlines()]
    last = dict(zip(header, rows[-1], strict=True))
    audio, hidden = data(spec, speech, cache)[1].batch(0, 24)
    model = PretrainingModel(spec)
    mels = to_numpy(model.mels(ops.convert_to_tensor(audio)))
    trivial = trivial_errors(mels, hidden, ahead_frames=3)
    for name, share in (("reconstruction", 0.75), ("next_frame", 0.95)):
        assert float(last[f"val_{name}"]) < share * min(trivial[name].values())
    assert json.loads((run / "state.json").read_text())["best_loss"] == pytest.approx(
        float(last["val_loss"]), rel=1e-4
    )


def test_a_killed_pretraining_goes_on_exactly_where_it_was(speech: Path, cache: Path, tmp_path: Path) -> None:
    spec = small(epochs=2)
    train, held = data(spec, speech, cache)
    validation = held.batch(0, 2)

    def dies() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield from itertools.islice(batches(train, spec), 3)
        raise RuntimeError("killed")

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit(whole, spec, batches(train, spec), validation)
    with pytest.raises(RuntimeError, match="killed"):
        fit(broken, spec, dies(), validation)
    assert RunState.read(broken).epoch == 1
    with pytest.raises(TrainingError, match="holds a run already; add --resume"):
        prepare_pretraining(broken, spec, resume=False)
    with pytest.raises(TrainingError, match="differs from the given spec in its section pretraining"):
        prepare_pretraining(broken, small({"mask_share": 0.2}), resume=True)
    fit(broken, spec, batches(train, spec, 1), validation, resume=True)
    assert (RunState.read(broken).epoch, RunState.read(broken).last) == (2, "last-2.weights.h5")
    for one, other in zip(load_encoder(broken).weights, load_encoder(whole).weights, strict=True):
        np.testing.assert_allclose(to_numpy(one), to_numpy(other), atol=1e-5)


# --- what another network takes over ------------------------------------------------------------------------


def values(layer: keras.layers.Layer) -> list[np.ndarray]:
    return [to_numpy(weight) for weight in layer.weights]


def test_a_network_takes_over_exactly_what_fits(learnt) -> None:
    run, spec, _ = learnt
    network, encoder = build_network(spec), load_encoder(run)
    before = {layer.name: values(layer) for layer in network.layers if layer.weights}
    lines: list[str] = []
    taken = start_from_encoder(network, run, lines.append)
    stored = {layer.name: values(layer) for layer in encoder.layers if layer.weights}
    assert set(taken.layers) == set(stored)
    assert (taken.misfits, taken.missing) == ((), ())
    assert set(taken.layers) | set(taken.new) == set(before)
    for layer in network.layers:
        for now, wanted in zip(
            values(layer), stored.get(layer.name) or before.get(layer.name) or [], strict=True
        ):
            np.testing.assert_array_equal(now, wanted)
    assert taken.n_taken == sum(each.size for arrays in stored.values() for each in arrays)
    share = 100 * taken.n_taken / network.count_params()
    shown = ", ".join(taken.layers[:12]) + (
        f" and {len(taken.layers) - 12} more" if len(taken.layers) > 12 else ""
    )
    assert lines == [
        f"{run}: {len(stored)} of {len(before)} layers start from the encoder, {taken.n_taken:,} of "
        f"{network.count_params():,} parameters ({share:.0f} %): {shown}"
    ]


def test_other_shapes_and_names_are_left_and_named(learnt) -> None:
    run, spec, _ = learnt
    wider = spec.bottleneck.model_copy(update={"kernel": (5, 3)})
    lines: list[str] = []
    taken = start_from_encoder(
        build_network(spec.model_copy(update={"bottleneck": wider})), run, lines.append
    )
    depths = ("dilated1_depth", "dilated2_depth", "dilated3_depth")
    assert taken.misfits == depths
    assert f"{run}: not taken, as their shapes differ: {', '.join(depths)}" == lines[1]
    kind = parse_spec(SPECS["full_band"])
    recurrent = spec.model_copy(update={"bottleneck": kind.bottleneck})
    taken = take_layers(build_network(recurrent), load_encoder(run))
    assert set(taken.layers) == {"encoder1_conv1", "encoder1_norm1"}
    assert taken.misfits == ("to_channels", "from_channels")
    assert {"dilated1_depth", "dilated1_norm", "dilated1_dense"} <= set(taken.missing)


def test_nothing_that_fits_is_refused(learnt, tmp_path: Path) -> None:
    run, _, _ = learnt
    generator = build_generator(tiny_enhancer())
    before = [to_numpy(weight) for weight in generator.weights]
    with pytest.raises(
        TrainingError, match=r"no layer of its encoder fits the network \(0 have other shapes"
    ):
        start_from_encoder(generator, run)
    for weight, old in zip(generator.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(weight), old)
    with pytest.raises(TrainingError, match=r"spec\.yaml: is missing"):
        load_encoder(tmp_path)
    (tmp_path / "spec.yaml").write_text(dump_spec(small()))
    with pytest.raises(TrainingError, match=r"holds none of encoder\.weights\.h5, best"):
        load_encoder(tmp_path)
    (tmp_path / ENCODER_FILE).write_bytes(b"no weights")
    with pytest.raises(TrainingError, match=r"encoder\.weights\.h5: weights don't fit spec\.yaml"):
        load_encoder(tmp_path)


def test_whole_networks_lend_their_encoder_too(tmp_path: Path) -> None:
    spec = small()
    network = build_network(spec)
    network.save_weights(tmp_path / "best.weights.h5")
    (tmp_path / "spec.yaml").write_text(dump_spec(spec))
    for source in (tmp_path, tmp_path / "best.weights.h5"):
        taken = start_from_encoder(other := build_network(spec), source)
        assert taken.n_taken == build_encoder(spec).count_params()
        for name in taken.layers:
            for one, same in zip(values(network.get_layer(name)), values(other.get_layer(name)), strict=True):
                np.testing.assert_array_equal(one, same)


def test_an_enhancers_generator_starts_from_its_own_kind(speech: Path, cache: Path, tmp_path: Path) -> None:
    spec = tiny_enhancer(
        pretraining={"bands": 8, "head_units": 8}, training={"epochs": 1, "steps_per_epoch": 2}
    )
    lines: list[str] = []
    pretrain(spec, [speech], run=tmp_path / "run", cache=cache, workers=0, report=lines.append)
    assert "the encoder is not causal" in "\n".join(lines)
    assert load_either_spec(tmp_path / "run/spec.yaml") == spec
    generator = build_generator(spec)
    taken = start_from_encoder(generator, tmp_path / "run")
    assert set(taken.layers) == {
        "embed", "embed_norm", "block1_frames", "block1_norm", "block1_wide", "block1_narrow",
    }  # fmt: skip
    assert taken.missing == taken.misfits == ()


# --- the commands -------------------------------------------------------------------------------------------


def test_the_commands_from_speech_to_a_denoiser(speech: Path, cache: Path, tmp_path: Path, capsys) -> None:
    spec, run = tmp_path / "small.yaml", tmp_path / "encoder"
    spec.write_text(dump_spec(small(epochs=1, steps_per_epoch=2, validation_mixtures=2)))
    common = ["--workers", "0", "--cache", str(cache)]
    command = ["pretrain", str(speech), "--out", str(run), *common]
    assert main([*command, "--spec", str(spec)]) == 0
    err = capsys.readouterr().err
    assert "pre-training on" in err
    assert "what is hidden off by" in err
    assert f"{run / ENCODER_FILE}" in err
    assert main([*command, "--resume", "--epochs", "2"]) == 0
    err = capsys.readouterr().err
    assert "epoch 2/2: loss" in err
    assert "audenoise: going on with other settings than before: training.epochs 1 → 2\n" in err
    assert (run / "spec-epoch-1.yaml").is_file()
    assert main([*command, "--resume"]) == 0
    err = capsys.readouterr().err
    assert err.startswith("audenoise: all 2 epochs are done; --epochs N trains longer\n")
    assert "pre-training on" not in err
    folders = ["--clean", str(speech), "--noise", str(speech)]
    train = ["train", *folders, "--spec", str(spec), *common, "--from-encoder", str(run)]
    assert main([*train, "--out", str(tmp_path / "run")]) == 0
    err = capsys.readouterr().err
    assert "layers start from the encoder" in err
    assert "epoch 1/1" in err
    enhancer = tmp_path / "enhancer.yaml"
    enhancer.write_text(dump_enhancer_spec(tiny_enhancer()))
    other = ["train-enhancer", *folders, "--spec", str(enhancer), *common, "--from-encoder", str(run)]
    assert main([*other, "--out", str(tmp_path / "other")]) == 1
    assert "no layer of its encoder fits the network" in capsys.readouterr().err
    assert main(["publish", str(run), str(tmp_path / "model")]) == 1
    assert "best.weights.h5" in capsys.readouterr().err
    for option in ([], ["--resume"]):
        assert main(["train", *folders, "--out", str(run), *option, *common]) == 1
        assert f"{run}: holds a pre-training; start from it with --from-encoder" in capsys.readouterr().err

"""The ancestors' networks as shipped recipes: what they are made of, the old dictionary, training to file."""

import copy
import functools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import soundfile
from recordings import hiss, voice, write_corpus

from audenoise.architectures import build_network
from audenoise.architectures.summary import describe
from audenoise.cli import main
from audenoise.denoiser import Denoiser
from audenoise.denoising_model import DenoisingModel, make_optimizer
from audenoise.errors import SpecError
from audenoise.layers import SpectralTransform, SpectrumFeatures, to_numpy
from audenoise.metrics import score_pair
from audenoise.publishing import load_keras_model, publish
from audenoise.run_folders import prepare_run
from audenoise.specs import (
    RECIPES,
    ModelSpec,
    load_recipe,
    load_spec,
    parse_spec,
    same_network,
    spec_to_dict,
)
from audenoise.training import fit

ANCESTORS = {  # parameters as Keras counts them, and those that are trained
    "noise-unet": (1_941_093, 1_941_093),
    "additive-autoencoder": (1_108_097, 1_108_097),
    "dropout-unet": (1_072_065, 1_072_065 - 2 * 976),
    "dropout-unet-complex": (4_277_986, 4_277_986 - 2 * 2 * 976),
}


@functools.cache
def network_of(name: str) -> keras.Model:
    return build_network(load_recipe(name))


def convolutions(name: str) -> list[tuple[int, tuple[int, ...]]]:
    """(filters, kernel) of every convolution in the order of the network, those going up too."""
    found = []
    for layer in network_of(name).operations:
        inner: Any = getattr(layer, "convolution", layer)
        if isinstance(inner, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
            found.append((inner.filters, tuple(inner.kernel_size)))
    return found


def layers_of(name: str, kind: type) -> list[Any]:
    return [layer for layer in network_of(name).layers if isinstance(layer, kind)]


def twice(filters: list[int], kernel: int = 3) -> list[tuple[int, tuple[int, int]]]:
    return [(count, (kernel, kernel)) for count in filters for _ in range(2)]


# --- what they are made of ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ANCESTORS)
def test_parameters_are_those_of_the_originals(name: str) -> None:
    network = network_of(name)
    total, trained = ANCESTORS[name]
    assert network.count_params() == total
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == trained
    text = describe(load_spec(RECIPES / f"{name}.yaml"))
    assert f"{total:,}" in text
    assert f"{name}: {load_recipe(name).sample_rate} Hz" in text
    assert "not causal, context " in text


def test_the_noise_unet_is_the_one_described() -> None:
    expected = twice([16, 32, 64, 128, 256])
    for filters in (128, 64, 32, 16):
        expected += [(filters, (2, 2)), *twice([filters])]
    assert convolutions("noise-unet") == [*expected, (2, (3, 3)), (1, (1, 1))]
    slopes = [layer.negative_slope for layer in layers_of("noise-unet", keras.layers.LeakyReLU)]
    assert slopes == pytest.approx([0.3] * 23)
    assert [layer.rate for layer in layers_of("noise-unet", keras.layers.Dropout)] == [0.5, 0.5]
    assert len(layers_of("noise-unet", keras.layers.Concatenate)) == 4
    spec = load_recipe("noise-unet")
    assert {stage.initializer for stage in (*spec.encoder, *spec.decoder_stages)} == {"he_normal"}
    assert (spec.output.kind, spec.output.activation) == ("noise", "tanh")
    assert type(make_optimizer(spec)) is keras.optimizers.Adam


def test_a_crop_of_the_noise_unet_is_a_square_of_one_second() -> None:
    spec = load_recipe("noise-unet")
    transform = SpectralTransform(
        n_fft=spec.stft.n_fft,
        hop_length=spec.stft.hop_length,
        win_length=spec.stft.window_samples,
        window=spec.stft.window,
    )
    n_samples = round(spec.training.crop_s * spec.sample_rate)
    assert abs(n_samples / spec.sample_rate - 1) < 0.02
    assert (transform.frames(n_samples), spec.stft.bins) == (128, 128)


def test_the_additive_autoencoder_is_the_one_described() -> None:
    expected = [*twice([64, 128]), (256, (3, 3)), *twice([128, 64]), (1, (3, 3))]
    assert convolutions("additive-autoencoder") == expected
    assert len(layers_of("additive-autoencoder", keras.layers.Add)) == 2
    assert len(layers_of("additive-autoencoder", keras.layers.MaxPooling2D)) == 2
    spec = load_recipe("additive-autoencoder")
    assert (spec.sample_rate, spec.stft.n_fft, spec.stft.hop_length) == (16000, 2048, 512)
    assert spec.loss.mse == 1


def test_a_recipe_is_shown_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "dropout-unet"]) == 0
    assert "1,072,065" in capsys.readouterr().out


def test_the_additive_autoencoder_learns_from_its_first_steps() -> None:
    """At its full width, on a shorter FFT. A sigmoid that begins far above the levels of speech would have
    turned the loud bins down first (correlation -.2 here), and then everything."""
    data = spec_to_dict(load_recipe("additive-autoencoder"))
    data.update(sample_rate=RATE, stft={"n_fft": 256, "hop_length": 128, "window": "hann"})
    data["training"].update(schedule="constant", ema_momentum=0)  # at the full rate from the first step on
    spec = parse_spec(data)
    keras.utils.set_random_seed(0)
    model = DenoisingModel(build_network(spec), spec)
    model.compile(optimizer=make_optimizer(spec))
    drawn = batches()
    for _ in range(20):
        noisy, clean = (part[:2, : RATE // 4] for part in next(drawn))
        model.train_on_batch(noisy, clean)
    shown = keras.Model(model.network.input, model.network.get_layer("output_activation").output)
    spectra = [model.transform.stft(keras.ops.convert_to_tensor(part)) for part in (noisy, clean)]
    wanted = to_numpy(model.network.get_layer("denoised").predicted(*spectra)).ravel()
    assert np.corrcoef(wanted, to_numpy(shown(spectra[0])).ravel())[0, 1] > 0.2


@pytest.mark.parametrize(("name", "factor"), [("dropout-unet", 1), ("dropout-unet-complex", 2)])
def test_the_dropout_unet_is_the_one_described(name: str, factor: int) -> None:
    wide = [factor * filters for filters in (16, 32, 64, 128)]
    valley = [(256 * factor, (3, 3)), (256 * factor, (2, 2))]
    up = [(filters, (2, 2)) for filters in reversed(wide)]
    assert convolutions(name) == [*twice(wide), *valley, *up, (factor, (1, 1))]
    assert [layer.rate for layer in layers_of(name, keras.layers.Dropout)] == [0.1, 0.1, 0.2, 0.2, 0.3]
    norms = [layer.gamma.shape[0] for layer in layers_of(name, keras.layers.BatchNormalization)]
    assert norms == [*wide, 256 * factor, *(2 * filters for filters in reversed(wide))]
    spec = load_recipe(name)
    assert (spec.sample_rate, spec.stft.n_fft, spec.stft.hop_length) == (16000, 1024, 256)


def test_the_order_inside_a_block_of_the_dropout_unet() -> None:
    names = [layer.name for layer in network_of("dropout-unet").layers if layer.name.startswith("encoder2")]
    assert names == [
        "encoder2_conv1", "encoder2_act1", "encoder2_dropout", "encoder2_conv2", "encoder2_act2",
        "encoder2_norm", "encoder2_act", "encoder2_pool",
    ]  # fmt: skip
    skip: Any = network_of("dropout-unet").get_layer("decoder3_skip")
    assert [tensor._keras_history.operation.name for tensor in skip.input] == [
        "decoder3_crop", "encoder2_act2",
    ]  # fmt: skip
    valley = [layer.name for layer in network_of("dropout-unet").layers if layer.name.startswith("valley1")]
    assert valley == ["valley1_conv1", "valley1_act1", "valley1_norm", "valley1_act", "valley1_dropout"]
    up = [layer.name for layer in network_of("dropout-unet").layers if layer.name.startswith("decoder1")]
    assert up == ["decoder1_up", "decoder1_crop", "decoder1_skip", "decoder1_norm", "decoder1_act"]


# --- the old dictionary -------------------------------------------------------------------------------------


def _conv(filters: int, kernel_size: tuple[int, int] = (3, 3)) -> dict[str, Any]:
    return {
        "filters": filters,
        "kernel_size": kernel_size,
        "activation": "relu",
        "kernel_initializer": "he_normal",
        "padding": "same",
    }


def old_dictionary(factor: int = 1, classes: int = 1) -> dict[str, Any]:
    """The form that was in use, with every key."""
    rates = (0.1, 0.1, 0.2, 0.2)
    return {
        "downsampling": {
            f"downsampling_{i + 1}": {
                "conv1": _conv(factor * 16 * 2**i),
                "dropout": {"rate": rate},
                "conv2": _conv(factor * 16 * 2**i),
                "max_pool": {"pool_size": (2, 2)},
            }
            for i, rate in enumerate(rates)
        },
        "valley": {
            "conv1": _conv(factor * 256),
            "dropout": {"rate": 0.3},
            "conv2": _conv(factor * 256, (2, 2)),
        },
        "upsampling": {
            f"upsampling{i + 1}": {
                "convt": {
                    "filters": factor * 128 // 2**i,
                    "kernel_size": (2, 2),
                    "strides": (2, 2),
                    "padding": "same",
                }
            }
            for i in range(4)
        },
        "output": {"num_classes": classes, "kernel_size": (1, 1), "activation": "sigmoid"},
    }


@pytest.mark.parametrize(
    ("factor", "classes", "name"), [(1, 1, "dropout-unet"), (2, 2, "dropout-unet-complex")]
)
def test_the_old_dictionary_gives_the_shipped_network(
    factor: int, classes: int, name: str, tmp_path: Path
) -> None:
    old = old_dictionary(factor, classes)
    assert same_network(parse_spec(old), load_recipe(name))
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))  # tuples become lists
    spec = load_spec(path)
    assert same_network(spec, load_recipe(name))
    assert parse_spec(spec_to_dict(spec)) == spec


def test_the_old_dictionary_may_say_less_and_more() -> None:
    old = old_dictionary()
    del old["output"]
    old["downsampling"] = dict(reversed(old["downsampling"].items()))  # the numbers are the order
    for block in old["downsampling"].values():
        block["conv1"]["kernel_size"] = block["conv2"]["kernel_size"] = 3
        del block["max_pool"]
    assert same_network(parse_spec(old), load_recipe("dropout-unet"))
    del old["valley"]["dropout"]
    spec = parse_spec({**old, "name": "mine", "sample_rate": 8000, "training": {"epochs": 3}})
    assert (spec.name, spec.sample_rate, spec.training.epochs) == ("mine", 8000, 3)
    assert spec.bottleneck.stages[0].dropout == 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("downsampling.downsampling_1.conv1.filters", 0,
         "downsampling.downsampling_1.conv1.filters: must be at least 1. Received: 0"),
        ("downsampling.downsampling_1.conv1.padding", "valid",
         "downsampling.downsampling_1.conv1.padding: must be 'same'"),
        ("downsampling.downsampling_2.conv2.filters", 5,
         "downsampling.downsampling_2.conv2.filters: must be that of conv1, 32. Received: 5"),
        ("downsampling.downsampling_3", None,
         "downsampling.downsampling_3: is missing; there are 3 blocks"),
        ("downsampling.downsampling_1.dropout.rate", 1,
         "downsampling.downsampling_1.dropout.rate: must be less than 1"),
        ("downsampling.other", {"conv1": _conv(4), "conv2": _conv(4)},
         "downsampling.other: must be called downsampling_1 and so on"),
        ("upsampling.upsampling4.convt.strides", [1, 2],
         "upsampling.upsampling4.convt.strides: must be the pool_size of downsampling.downsampling_1, [2,"),
        ("upsampling.upsampling4.convt.kernel_size", 1,
         "upsampling.upsampling4.convt.kernel_size: must not be smaller than strides [2, 2]"),
        ("upsampling.upsampling4", None, "upsampling: must have as many blocks as downsampling (4)"),
        ("valley", None, "valley: is missing"),
        ("valley.conv2.activation", "wow", "valley.conv2.activation: must be"),
        ("output.num_classes", 3, "output.num_classes: must be at most 2. Received: 3"),
        ("sample_rate", 5, "sample_rate: must be at least 4000. Received: 5"),
    ],
)  # fmt: skip
def test_errors_of_the_old_dictionary_name_the_old_key(path: str, value: Any, message: str) -> None:
    old = copy.deepcopy(old_dictionary())
    node = old
    *parents, last = path.split(".")
    for part in parents:
        node = node[part]
    if value is None:
        del node[last]
    else:
        node[last] = value
    with pytest.raises(SpecError) as caught:
        parse_spec(old, source="old.json")
    assert str(caught.value).startswith(f"old.json: {message}")


def test_what_only_the_whole_network_shows_is_named_by_the_old_key() -> None:
    old = old_dictionary()
    for block in old["downsampling"].values():
        block["max_pool"]["pool_size"] = (2, 60)
    for block in old["upsampling"].values():
        block["convt"].update(strides=(2, 60), kernel_size=(2, 60))
    with pytest.raises(SpecError, match=r"^spec: downsampling\.downsampling_2: a stride or pool of 60"):
        parse_spec(old)


# --- training to a denoised file, on small copies -----------------------------------------------------------


RATE = 8000
SMALL = {  # the FFT, the steps of one of three epochs, the learning rate
    "noise-unet": (254, 30, 0.003),
    "additive-autoencoder": (128, 100, 0.004),  # the most work per step
    "dropout-unet": (256, 20, 0.003),
    "dropout-unet-complex": (256, 40, 0.003),
}


def small(name: str, **training: Any) -> ModelSpec:
    """A recipe with a quarter of the filters or less at 8 kHz, for seconds of training."""
    data, (n_fft, steps, rate) = spec_to_dict(load_recipe(name)), SMALL[name]
    for stage in [*data["encoder"], *data["bottleneck"]["stages"], *data["decoder"]]:
        stage["filters"] //= 8 if name == "dropout-unet-complex" else 4  # it has twice the filters
        stage["dropout"] /= 4
    if name != "noise-unet":
        data.update(sample_rate=RATE, stft={"n_fft": n_fft, "hop_length": n_fft // 2, "window": "hann"})
    data["training"].update(
        batch_size=4, crop_s=0.5, epochs=3, steps_per_epoch=steps, warmup_steps=10, learning_rate=rate,
        ema_momentum=0.8, scored_mixtures=0, **training,
    )  # fmt: skip
    return parse_spec(data)


def speech(seconds: float, seed: int) -> np.ndarray:
    """A voice in a quiet room."""
    return voice(seconds, RATE, seed=seed) + hiss(seconds, RATE, seed=seed + 500) * np.float32(0.01)


@functools.cache
def _speech(seed: int) -> np.ndarray:
    return speech(4, seed)


def batches(first: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches of 4 × 0.5 s of speech in noise."""
    number, length = first, RATE // 2
    while True:
        rng = np.random.default_rng(number)
        starts = rng.integers(0, 3 * RATE, 4)
        clean = np.stack([_speech(int(rng.integers(6)))[start : start + length] for start in starts])
        noise = np.stack([hiss(0.5, RATE, seed=number * 4 + i) for i in range(4)])
        yield clean + noise * rng.uniform(0.5, 1.5, (4, 1)).astype(np.float32), clean
        number += 1


@pytest.fixture(scope="module", params=SMALL)
def run_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = small(request.param)
    run = tmp_path_factory.mktemp(request.param)
    state = prepare_run(run, spec, resume=False)
    held_out = next(batches(10_000))
    fit(spec, batches(), held_out, run=run, state=state, tensorboard=False)
    return run


def test_after_training_a_published_one_is_better_than_its_input(run_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    assert publish(run_folder, target, description="a test", licence="MIT", data=["made up"]) < 1e-4
    network, spec = load_keras_model(target)
    assert spec.is_fitted
    clean = np.concatenate([speech(3, 3), speech(2.3, 4)])
    noisy = clean + hiss(5.3, RATE, seed=77) * np.float32(1.5)
    denoised = Denoiser.from_preset(target).denoise(noisy, RATE)
    gained = [score_pair(clean, x, RATE, metrics=["si_sdr_db"])["si_sdr_db"] for x in (noisy, denoised)]
    assert gained[1] > gained[0] + 1

    # In blocks it is what Keras makes of the whole, wherever the blocks are cut.
    transform = SpectralTransform(
        n_fft=spec.stft.n_fft, hop_length=spec.stft.hop_length,
        win_length=spec.stft.window_samples, window=spec.stft.window,
    )  # fmt: skip
    spectrum = network(transform.stft(keras.ops.convert_to_tensor(noisy[None])), training=False)
    whole = to_numpy(transform.istft(spectrum, noisy.size))[0]
    np.testing.assert_allclose(denoised, whole, atol=2e-3 * np.abs(whole).max())


def test_any_rate_length_and_channel_count_goes_through(run_folder: Path, tmp_path: Path) -> None:
    publish(run_folder, tmp_path / "mine", description="", licence="MIT", data=[])
    denoiser = Denoiser.from_preset(tmp_path / "mine")
    for rate, n_samples, channels in ((44100, 50_001, 2), (48000, 777, 1), (8000, 1, 3), (22050, 40_000, 1)):
        audio = 0.1 * np.random.default_rng(0).standard_normal((n_samples, channels)).astype(np.float32)
        denoised = denoiser.denoise(audio, rate)
        assert denoised.shape == audio.shape
        assert np.isfinite(denoised).all()
    silence = np.zeros((9000, 1), np.float32)
    np.testing.assert_array_equal(denoiser.denoise(silence, 16000), silence)


def test_what_was_measured_is_kept(run_folder: Path, tmp_path: Path) -> None:
    """In the run's spec and the published one; a resumed run doesn't measure again."""
    spec = load_spec(run_folder / "spec.yaml")
    assert spec.is_fitted
    if spec.input.scaling is None:
        pytest.skip("this network has a fixed scaling")
    recipe = load_recipe("noise-unet")
    assert not recipe.is_fitted
    scaling = spec.input.scaling
    assert scaling.mean_db is not None
    assert scaling.scale_db is not None
    noisy = np.concatenate([batch[0] for _, batch in zip(range(16), batches(), strict=False)])
    transform = SpectralTransform(n_fft=254, hop_length=63, win_length=254, window="hann")
    features: Any = SpectrumFeatures(
        representation="decibel", compression=1.0, range_db=(-80, 0), scaling=(0.0, 1.0)
    )
    levels = to_numpy(features(transform.stft(keras.ops.convert_to_tensor(noisy))))
    assert scaling.mean_db == pytest.approx(levels.mean(), abs=0.02)
    within = np.abs((levels - scaling.mean_db) / scaling.scale_db) <= 1
    assert 0.998 < within.mean() <= 1

    unfitted = small("noise-unet").model_copy(update={"training": spec.training})
    longer = {"training": spec.training.model_copy(update={"epochs": spec.training.epochs + 1})}
    resumed = tmp_path / "resumed"
    shutil.copytree(run_folder, resumed)
    prepare_run(resumed, unfitted.model_copy(update=longer), resume=True)
    assert load_spec(resumed / "spec.yaml") == spec.model_copy(update=longer)
    state = prepare_run(run_folder, unfitted, resume=True)
    before = (run_folder / "spec.yaml").read_bytes()
    fit(unfitted, iter(()), next(batches()), run=run_folder, state=state, tensorboard=False)
    assert (run_folder / "spec.yaml").read_bytes() == before
    assert same_network(unfitted, spec)
    other = scaling.model_copy(update={"mean_db": -1.0})
    moved = spec.model_copy(update={"input": spec.input.model_copy(update={"scaling": other})})
    assert not same_network(moved, spec)


def test_a_recipe_is_trained_published_fine_tuned_and_applied_by_its_commands(tmp_path: Path) -> None:
    """As large as it is shipped; fine-tuning takes the scaling of the published model."""
    clean, noise = write_corpus(tmp_path)
    data = spec_to_dict(load_recipe("noise-unet"))
    data["training"].update(
        epochs=1, steps_per_epoch=2, batch_size=2, validation_mixtures=2, scored_mixtures=0
    )
    (tmp_path / "spec.json").write_text(json.dumps(data))
    train = ["train", "--clean", str(clean), "--noise", str(noise), "--workers", "0",
             "--spec", str(tmp_path / "spec.json")]  # fmt: skip
    run, mine, tuned, out = (str(tmp_path / name) for name in ("run", "mine", "tuned", "out.flac"))
    assert main([*train, "--out", run]) == 0
    assert main(["publish", run, mine, "--licence", "MIT"]) == 0
    assert main(["predict", str(clean / "b" / "stereo.flac"), "-o", out, "--model", mine]) == 0
    assert soundfile.info(out).frames == 2 * 48000
    data["training"]["seed"] += 1  # what is measured now is something else
    (tmp_path / "spec.json").write_text(json.dumps(data))
    assert main([*train, "--out", tuned, "--from-preset", mine]) == 0
    first, second = (load_spec(Path(folder) / "spec.yaml") for folder in (run, tuned))
    assert (second.input, second.output) == (first.input, first.output)
    assert first.is_fitted

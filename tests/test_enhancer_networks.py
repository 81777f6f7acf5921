"""The enhancer's spec, networks and losses: shapes, reach, gradients, closed forms."""

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from enhancer_specs import TINY, pair_batch, tiny

from audenoise import enhancer_losses as losses
from audenoise.architectures.discriminators import Discriminators, NormalisedConv2D, loudness_gain
from audenoise.architectures.enhancer import build_generator, generator_macs_per_second
from audenoise.architectures.enhancer_layers import (
    MEL_OFFSET,
    MEL_SCALE,
    PRESENT,
    Synthesis,
    band_interpolation,
    band_weights,
    log_mel,
)
from audenoise.enhancing.judging import Judge
from audenoise.enhancing.sides import Game
from audenoise.errors import SpecError
from audenoise.layers import SpectralTransform, to_numpy
from audenoise.specs.enhancer import (
    EnhancerSpec,
    dump_enhancer_spec,
    load_enhancer_spec,
    parse_enhancer_spec,
    same_enhancer,
)


def inputs_for(spec: EnhancerSpec, frames: int, *, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    spectrum = 0.05 * rng.standard_normal((1, frames, spec.stft.bins, 2))
    return {
        "spectrum": spectrum.astype(np.float32),
        "conditioning": rng.random((1, frames, 4)).astype(np.float32),
    }


# --- spec ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generator": {"kernel": 4}}, r"generator\.kernel: must be odd.*Received: 4"),
        ({"generator": {"channels": 0}}, r"generator\.channels: must be at least 1"),
        ({"generator": {"chanels": 8}}, r"generator\.chanels: is not a key.*did you mean channels"),
        ({"stft": {"hop_length": 48}}, r"stft\.hop_length: must go into half the window \(64\)"),
        (
            {"stft": {"n_fft": 1024, "hop_length": 512}},
            r"stft\.hop_length: must be at most 0\.05 s, 400 samp",
        ),
        ({"mel": {"bands": 40}}, r"mel\.bands: must be at most a quarter of the 65"),
        (
            {"discriminators": {"resolutions": [[63, 8]]}},
            r"discriminators\.resolutions\[0\]: must be an even",
        ),
        ({"discriminators": {"periods": [], "resolutions": []}}, r"discriminators\.periods: .*both be empty"),
        ({"discriminators": {"views": ["phase", "phase"]}}, r"discriminators\.views: must differ"),
        (
            {"loss": {"stft_resolutions": [[2048, 512]]}},
            r"training\.crop_s: must be at least the longest n_fft",
        ),
        ({"training": {"epochs": 10**7}}, r"training\.epochs: must be at most 1000000"),
        ({"training": {"seed": 2**63}}, r"training\.seed: must be less than 9223372036854775808"),
        ({"training": {"crop_s": 0.001}}, r"training\.crop_s: must be at least one window"),
        ({"pairs": {"min_bandwidth_hz": 5000}}, r"pairs\.min_bandwidth_hz: must not exceed half"),
        ({"pairs": {"level_dbfs": [-10, -20]}}, r"pairs\.level_dbfs: the lower end"),
        (
            {"loss": dict.fromkeys(("mel", "output_mel", "stft", "magnitude", "complex", "phase"), 0)},
            r"loss\.output_mel: at",
        ),
        ({"degradation": {"effects": [{"kind": "flood"}]}}, r"degradation\.effects\[0\]\.kind: must be"),
    ],
)
def test_a_wrong_spec_is_one_line_that_names_the_key(change: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        tiny(**change)
    assert "\n" not in str(caught.value)


def test_a_band_without_bins_is_refused_when_the_network_is_built() -> None:
    coarse = tiny(
        sample_rate=96000, stft={"n_fft": 512, "hop_length": 128}, mel={"bands": 60}, training={"crop_s": 1}
    )
    with pytest.raises(SpecError, match=r"mel\.bands: n_mels=60 is too many"):
        build_generator(coarse)


def test_specs_go_to_yaml_and_back(tmp_path) -> None:
    spec = tiny()
    (tmp_path / "spec.yaml").write_text(dump_enhancer_spec(spec))
    assert load_enhancer_spec(tmp_path / "spec.yaml") == spec
    with pytest.raises(
        SpecError, match=r"nothing: no such spec file; shipped recipes of enhancers: enhancer"
    ):
        load_enhancer_spec("nothing")
    with pytest.raises(SpecError, match="must be a dictionary"):
        parse_enhancer_spec([1])


def test_what_weights_fit() -> None:
    assert same_enhancer(tiny(), tiny(training={"epochs": 9}, auxiliary={"pitch": 0.3}))
    assert not same_enhancer(tiny(), tiny(auxiliary={"pitch": 0}))
    assert not same_enhancer(tiny(), tiny(generator={"channels": 13}))


def test_the_recipe_keeps_its_budget() -> None:
    spec = load_enhancer_spec("enhancer")
    generator = build_generator(spec)
    assert generator.count_params() <= 2_400_000
    assert generator_macs_per_second(generator, spec) <= 450e6
    assert spec.sample_rate == 48000


# --- generator ----------------------------------------------------------------------------------------------


def test_any_number_of_frames_and_every_output() -> None:
    spec = tiny()
    generator = build_generator(spec)
    for frames in (1, 2, 17):
        outputs = generator(inputs_for(spec, frames))
        assert {name: tuple(value.shape) for name, value in outputs.items()} == {
            "spectrum": (1, frames, 65, 2),
            "mel": (1, frames, 1, 12),
            "pitch": (1, frames, 1, 2),
            "residual": (1, frames, 1, 12),
        }


def test_switches_of_the_spec_change_the_network() -> None:
    bare = tiny(
        conditioning={"pitch": False, "rhythm": False, "loudness": False},
        auxiliary={"pitch": 0, "residual": 0},
    )
    generator = build_generator(bare)
    assert set(generator.input) == {"spectrum"}
    assert set(generator.output) == {"spectrum", "mel"}
    rhythm_only = tiny(conditioning={"pitch": False, "loudness": False})
    assert rhythm_only.conditioning.columns == (2,)
    inputs = inputs_for(rhythm_only, 9)
    generator = build_generator(rhythm_only)
    before = to_numpy(generator(inputs)["spectrum"])
    for column, matters in enumerate((False, False, True, False)):
        changed = inputs["conditioning"].copy()
        changed[..., column] += 1
        after = to_numpy(generator({**inputs, "conditioning": changed})["spectrum"])
        assert bool(np.abs(after - before).max() > 0) == matters


@pytest.mark.parametrize(
    ("switch", "columns"), [("pitch", (2, 3)), ("rhythm", (0, 1, 3)), ("loudness", (0, 1, 2))]
)
def test_each_feature_can_be_switched_off_alone(switch: str, columns: tuple[int, ...]) -> None:
    spec = tiny(conditioning={switch: False})
    inputs = inputs_for(spec, 7)
    generator = build_generator(spec)
    before = to_numpy(generator(inputs)["spectrum"])
    for column in range(4):
        changed = inputs["conditioning"].copy()
        changed[..., column] += 1
        after = to_numpy(generator({**inputs, "conditioning": changed})["spectrum"])
        assert bool(np.abs(after - before).max() > 0) == (column in columns)


@pytest.mark.parametrize(("switch", "other"), [("pitch", "residual"), ("residual", "pitch")])
def test_each_auxiliary_task_can_be_switched_off_alone(switch: str, other: str) -> None:
    spec = tiny(auxiliary={switch: 0})
    names = {layer.name for layer in build_generator(spec).layers}
    assert f"{other}_head" in names
    assert f"{switch}_head" not in names
    side, pairs = Game(spec).generator_side, pair_batch(0, spec)
    terms = side.terms(pairs.inputs(), pairs.targets(), side(pairs.inputs()))
    assert other in terms
    assert switch not in terms


def test_nothing_is_taught_above_the_end_of_a_target() -> None:
    side, pairs = Game(tiny()).generator_side, pair_batch(0, tiny())
    ends = np.broadcast_to(np.array([[2000], [4000]], np.float32), pairs.end_hz.shape)
    inputs = {**pairs.inputs(), "end_hz": ends}
    outputs = side(inputs)
    powers = np.abs(np.fft.rfft(to_numpy(outputs["audio"]) * np.hanning(800))) ** 2
    above, below = powers[:, 230:].mean(1), powers[:, :180].mean(1)
    assert above[0] < 1e-6 * below[0]
    assert above[1] > 1e-4 * below[1]
    # Bands of the supervised mel-spectrogram that end above it count for nothing, the others as before.
    terms = side.terms(inputs, pairs.targets(), outputs)
    known = side.band_ends_hz <= 2000
    assert 0 < known.sum() < known.size
    for name in ("mel", "residual"):
        for change, counts in ((np.where(known, 0.0, 5.0), False), (np.where(known, 5.0, 0.0), True)):
            moved = to_numpy(outputs[name]).copy()
            moved[0, :, 0] += change
            other = side.terms(inputs, pairs.targets(), {**outputs, name: moved})
            assert (float(other[name]) != pytest.approx(float(terms[name]))) == counts


def test_the_envelope_term_sees_wrong_moments_and_not_a_wrong_level() -> None:
    spec = tiny(training={"crop_s": 0.8}, loss={"envelope": 1.0})
    side, pairs = Game(spec).generator_side, pair_batch(0, spec, n_samples=spec.crop_samples)
    seconds = np.arange(spec.crop_samples) / spec.sample_rate
    swells = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * seconds + np.array([[0.0], [2.0]]))
    noise = np.random.default_rng(0).normal(0, 0.1, (2, seconds.size))
    target, outputs = (noise * swells).astype(np.float32), dict(side(pairs.inputs()))

    def found(audio) -> float:
        terms = side.terms(pairs.inputs(), {**pairs.targets(), "target": target}, {**outputs, "audio": audio})
        return float(terms["envelope"])

    assert found(target) == pytest.approx(0, abs=1e-3)
    assert found(0.3 * target) == pytest.approx(0, abs=0.01)
    assert found((noise * (1 - swells)).astype(np.float32)) > 0.4


def test_an_untrained_network_gives_back_nearly_what_it_got() -> None:
    spec = tiny()
    inputs = inputs_for(spec, 20)
    enhanced = to_numpy(build_generator(spec)(inputs)["spectrum"])
    assert np.abs(enhanced - inputs["spectrum"]).mean() < 0.1 * np.abs(inputs["spectrum"]).mean()


def test_a_frame_reaches_as_far_as_the_spec_says_and_pieces_make_the_whole() -> None:
    spec = tiny()
    generator, reach = build_generator(spec), spec.generator.reach_frames
    assert reach == 1 + 2
    inputs = inputs_for(spec, 41)
    whole = to_numpy(generator(inputs)["spectrum"])
    changed = {name: value.copy() for name, value in inputs.items()}
    changed["spectrum"][:, 20] *= 1.5
    changed["conditioning"][:, 20] += 0.5
    touched = np.abs(to_numpy(generator(changed)["spectrum"]) - whole).max(axis=(0, 2, 3))
    np.testing.assert_array_equal(np.flatnonzero(touched > 1e-9), np.arange(20 - reach, 20 + reach + 1))
    pieces = []
    for start in range(0, 41, 10):
        low, high = max(0, start - reach), min(41, start + 10 + reach)
        part = to_numpy(generator({name: value[:, low:high] for name, value in inputs.items()})["spectrum"])
        pieces.append(part[:, start - low : start - low + 10])
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-6)


def test_no_two_layers_begin_with_the_same_weights() -> None:
    kernels = [v for v in build_generator(tiny()).trainable_variables if v.path.endswith("kernel")]
    starts = {(tuple(v.shape), to_numpy(v).tobytes()) for v in kernels}
    assert len(starts) == len(kernels)


def test_mel_of_an_even_spectrum_is_even_and_bands_come_back_to_bins() -> None:
    weights = band_weights(sample_rate=8000, n_fft=128, bands=12)
    spectrum = np.zeros((1, 3, 65, 2), np.float32)
    spectrum[..., 0] = 0.1
    mel = to_numpy(log_mel(spectrum, weights))
    np.testing.assert_allclose(mel * MEL_SCALE - MEL_OFFSET, math.log(0.1), atol=1e-5)
    spread = band_interpolation(weights)
    np.testing.assert_allclose(spread.sum(axis=0), 1, atol=1e-6)
    slope = (np.arange(65)[:, None] * weights).sum(axis=0)  # a line over bins is a line over bands
    inner = slice(int(np.ceil(slope[0])), int(slope[-1]))
    np.testing.assert_allclose((slope @ spread)[inner], np.arange(65)[inner], atol=1e-3)


@pytest.mark.parametrize("risen", [-2.0, 0.0, PRESENT, 9.0])
def test_what_is_generated_fills_what_is_missing(risen: float) -> None:
    layer = Synthesis(sample_rate=8000, n_fft=128, bands=12)
    level = -6.0  # nepers of the enhanced envelope
    mel = np.full((1, 2, 1, 12), (level + MEL_OFFSET) / MEL_SCALE, np.float32)
    mel_in = mel - np.float32(risen / MEL_SCALE)
    spectrum = np.zeros((1, 2, 65, 2), np.float32)
    nothing = np.zeros((1, 2, 1, 65), np.float32)
    phase = np.concatenate([np.full_like(nothing, 3.0), np.full_like(nothing, 4.0)], axis=-1)
    mask = np.zeros((1, 2, 1, 130), np.float32)
    made = to_numpy(layer([spectrum, mel_in, mel, mask, nothing, phase]))
    share = 1 / (1 + math.exp(PRESENT - risen))
    expected = math.exp(level) * share
    np.testing.assert_allclose(made[..., 0], 0.6 * expected, rtol=1e-4)
    np.testing.assert_allclose(made[..., 1], 0.8 * expected, rtol=1e-4)


def test_the_mask_is_a_complex_correction() -> None:
    layer = Synthesis(sample_rate=8000, n_fft=128, bands=12)
    rng = np.random.default_rng(0)
    spectrum = rng.standard_normal((1, 3, 65, 2)).astype(np.float32)
    mask = rng.standard_normal((1, 3, 1, 130)).astype(np.float32)
    mel = np.full((1, 3, 1, 12), -20, np.float32)  # nothing to generate
    nothing = np.zeros((1, 3, 1, 65), np.float32)
    out = to_numpy(layer([spectrum, mel, mel, mask, nothing, np.zeros((1, 3, 1, 130), np.float32)]))
    x, m = spectrum.view(np.complex64)[..., 0], mask[:, :, 0, :65] + 1j * mask[:, :, 0, 65:]
    np.testing.assert_allclose(out.view(np.complex64)[..., 0], x * (1 + m), atol=1e-5)


def test_validation_looks_below_the_end_of_a_target_alone() -> None:
    pairs = pair_batch(0, tiny(), n_samples=4000)
    target, hz = np.fft.rfft(pairs.target), np.fft.rfftfreq(4000, 1 / 8000)
    target[:, hz > 2000] = 0
    hissing = np.where(hz > 2100, target + 20, target)  # above the end alone; a window reaches a little below
    target, hissing = (np.fft.irfft(part).astype(np.float32) for part in (target, hissing))
    found = {}
    for end_hz in (2000, 4000):
        ends = np.full_like(pairs.end_hz, end_hz)
        held_out = pairs._replace(target=target, degraded=hissing, end_hz=ends)
        found[end_hz] = Judge(tiny(training={"scored_pairs": 0}), held_out).spectral_baseline
    assert found[2000] < 0.1
    assert found[4000] > 0.5


# --- gradients ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def game() -> Game:
    keras.utils.set_random_seed(0)
    return Game(tiny())


def gradients(side, batch) -> dict[str, float]:
    with tf.GradientTape() as tape:
        loss = side.compute_loss(batch.inputs(), batch.targets(), side(batch.inputs(), training=True))
    found = tape.gradient(loss, [variable.value for variable in side.trainable_variables])
    names = [variable.path for variable in side.trainable_variables]
    return {
        name: 0.0 if g is None else float(np.abs(to_numpy(g)).max())
        for name, g in zip(names, found, strict=True)
    }


@pytest.mark.parametrize("off", [{"adversarial"}, {"feature_matching"}, {"adversarial", "feature_matching"}])
def test_a_term_of_the_game_that_weighs_nothing_is_left_out(off: set[str]) -> None:
    side: Any = Game(tiny(loss=dict.fromkeys(off, 0))).generator_side
    batch = pair_batch(1, tiny())
    side.adversarial = True
    asked: list[int] = []
    asking, side.discriminators = side.discriminators, lambda audio: asked.append(1) or asking(audio)
    loss = side.compute_loss(batch.inputs(), batch.targets(), side(batch.inputs()))
    assert np.isfinite(to_numpy(loss))
    assert {"adversarial", "feature_matching"} - side.means.keys() == off
    assert bool(asked) == (len(off) < 2)


@pytest.mark.parametrize("kind", ["least_squares", "hinge"])
def test_gradients_reach_every_weight_of_the_side_that_plays_and_are_finite(game: Game, kind: str) -> None:
    batch = pair_batch(1, tiny())
    silent = batch._replace(degraded=batch.degraded * 0, target=batch.target * 0)
    for side in (game.generator_side, game.discriminator_side):
        side.spec = tiny(loss={"kind": kind})
    game.generator_side.adversarial = True
    for side in (game.generator_side, game.discriminator_side):
        found = gradients(side, batch)
        # A hinge that no score has reached pushes real and fake apart and leaves the last bias alone.
        still = {name for name, size in found.items() if not size > 0}
        assert not still or (kind == "hinge" and all(name.endswith("score/bias") for name in still))
        assert all(np.isfinite(size) for size in found.values())
        assert all(np.isfinite(size) for size in gradients(side, silent).values())


def test_each_side_trains_its_own_half(game: Game) -> None:
    sides = game.generator_side, game.discriminator_side
    ids = [{id(variable) for variable in side.trainable_variables} for side in sides]
    assert ids[0] == {id(variable) for variable in game.generator.trainable_variables}
    assert ids[1] == {id(variable) for variable in game.discriminators.trainable_variables}
    for side, own in zip(sides, ids, strict=True):
        rest = {id(variable) for variable in side.non_trainable_variables}
        assert not own & rest
        assert own | rest == {id(variable) for variable in side.variables}


# --- discriminators -----------------------------------------------------------------------------------------


def test_discriminators_take_any_length_and_see_both_views() -> None:
    discriminators = Discriminators(tiny().discriminators)
    discriminators.build((None, 800))
    assert [member.name for member in discriminators.members] == [
        "period_2",
        "amplitude_64_32",
        "phase_64_32",
    ]
    audio = np.random.default_rng(0).standard_normal((2, 803)).astype(np.float32)
    for features, scores in discriminators(audio):
        assert len(features) == 5
        assert scores.shape[0] == 2
        assert scores.shape[-1] == 1
    amplitude, phase = (member.view(audio) for member in discriminators.members[1:])
    louder = [to_numpy(member.view(2 * audio)) for member in discriminators.members[1:]]
    loud = to_numpy(amplitude)[..., 0] > 0  # far above the floor of both
    np.testing.assert_allclose(louder[0][loud], to_numpy(amplitude)[loud] + math.log(2) / 3, atol=1e-4)
    np.testing.assert_allclose(louder[1][loud], to_numpy(phase)[loud], atol=1e-3)


def test_a_normalised_kernel_has_the_length_it_was_given() -> None:
    layer = NormalisedConv2D(3, (5, 1))
    layer.build((1, 9, 2, 4))
    x = np.random.default_rng(0).standard_normal((1, 9, 2, 4)).astype(np.float32)
    before = to_numpy(layer(x))
    plain = keras.layers.Conv2D(3, (5, 1), padding="same")
    plain.build((1, 9, 2, 4))
    plain.set_weights([to_numpy(layer.direction), np.zeros(3, np.float32)])
    np.testing.assert_allclose(before, to_numpy(plain(x)), atol=1e-5)
    layer.direction.assign(7 * layer.direction)
    np.testing.assert_allclose(to_numpy(layer(x)), before, atol=1e-5)
    layer.length.assign(2 * layer.length)
    np.testing.assert_allclose(to_numpy(layer(x)), 2 * before, atol=1e-5)


def test_audio_is_brought_to_one_loudness() -> None:
    audio = np.array([[1.0, -1.0], [0.0, 0.0]], np.float32)
    gain = to_numpy(loudness_gain(audio))
    np.testing.assert_allclose(gain[0], 0.1, rtol=1e-4)
    assert np.isfinite(gain).all()


# --- losses -------------------------------------------------------------------------------------------------

REAL = [([np.full((1, 2, 1, 1), 2.0, "float32")], np.array([1.0, 0.5], "float32").reshape(1, 2, 1, 1))]
FAKE = [([np.full((1, 2, 1, 1), 3.0, "float32")], np.array([0.0, 0.8], "float32").reshape(1, 2, 1, 1))]


def test_losses_of_the_opponents_have_their_closed_forms() -> None:
    assert float(losses.discriminator_loss(REAL, FAKE, "least_squares")) == pytest.approx(0.125 + 0.32)
    assert float(losses.discriminator_loss(REAL, FAKE, "hinge")) == pytest.approx(0.25 + 1.4)
    assert float(losses.adversarial_loss(FAKE, "least_squares")) == pytest.approx((1 + 0.04) / 2)
    assert float(losses.adversarial_loss(FAKE, "hinge")) == pytest.approx(-0.4)
    assert float(losses.feature_distance(REAL, FAKE)) == pytest.approx(0.5)
    accuracy, gap = losses.balance(REAL, FAKE, "least_squares")
    assert (float(accuracy), float(gap)) == pytest.approx((0.5, 0.35))
    assert float(losses.balance(REAL, FAKE, "hinge")[0]) == pytest.approx(0.5)


@pytest.mark.parametrize("angle", [0.0, 0.3, 3.0, 3.5, -2.0])
def test_a_turned_spectrum_differs_in_its_phase_and_not_in_the_phase_s_slopes(angle: float) -> None:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((2, 6, 9)) + 1j * rng.standard_normal((2, 6, 9))

    def parts(spectrum):
        return np.stack([spectrum.real, spectrum.imag], axis=-1).astype(np.float32)

    distance = to_numpy(losses.phase_distance(parts(reference), parts(reference * np.exp(1j * angle))))
    wrapped = abs(angle - 2 * math.pi * round(angle / (2 * math.pi)))
    np.testing.assert_allclose(distance, wrapped, atol=2e-3)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_phase_that_runs_away_is_seen_by_group_delay_or_over_time(axis: int) -> None:
    rng = np.random.default_rng(0)
    reference: Any = np.exp(2j * np.pi * rng.random((1, 200, 200)))
    ramp = 0.5 * np.arange(200)
    turned: Any = reference * np.exp(1j * (ramp[:, None] if axis == 1 else ramp))
    parts = [np.stack([s.real, s.imag], axis=-1).astype(np.float32) for s in (reference, turned)]
    # A slope of 0.5 along one axis, and phases all around the circle, π/2 away on average.
    assert float(losses.phase_distance(*parts)[0]) == pytest.approx(0.5 + math.pi / 2, abs=0.02)


def test_a_gain_is_what_the_stft_distance_sees() -> None:
    audio = np.random.default_rng(0).standard_normal((2, 2000)).astype(np.float32)
    transforms = [
        SpectralTransform(n_fft=n, hop_length=n // 4, win_length=n, window="hann") for n in (64, 256)
    ]
    distance = to_numpy(losses.stft_distance(audio, 0.5 * audio, transforms))
    np.testing.assert_allclose(distance, 0.5 + math.log(2), atol=2e-3)
    np.testing.assert_allclose(to_numpy(losses.stft_distance(audio, audio, transforms)), 0, atol=1e-4)


def test_below_its_floor_the_stft_distance_sees_nothing() -> None:
    audio = 1e-5 * np.random.default_rng(0).standard_normal((1, 4000)).astype(np.float32)
    transforms = [SpectralTransform(n_fft=256, hop_length=64, win_length=256, window="hann")]
    low, high = (
        float(to_numpy(losses.stft_distance(audio, 10 * audio, transforms, floor_db=floor))[0])
        for floor in (-160.0, -60.0)
    )
    assert low - high == pytest.approx(math.log(10), abs=0.02)


def test_pitch_counts_where_there_is_a_voice() -> None:
    reference = np.array([[[2.0, 1.0], [0.0, 0.0]]], np.float32)
    right = np.array([[[0.5, 30.0], [9.0, -30.0]]], np.float32)
    np.testing.assert_allclose(to_numpy(losses.pitch_distance(reference, right)), 0, atol=1e-6)
    octave_off = right + np.array([0.25, 0.0], np.float32)
    np.testing.assert_allclose(to_numpy(losses.pitch_distance(reference, octave_off)), 0.125, atol=1e-6)
    unsure = np.array([[[0.5, 0.0], [9.0, 0.0]]], np.float32)
    np.testing.assert_allclose(to_numpy(losses.pitch_distance(reference, unsure)), math.log(2), atol=1e-6)


def test_a_mel_difference_in_decibels() -> None:
    assert losses.to_db(1 / MEL_SCALE, MEL_SCALE) == pytest.approx(8.686, abs=1e-3)
    assert TINY["mel"]["bands"] == 12

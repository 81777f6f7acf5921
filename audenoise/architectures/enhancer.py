# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportOptionalOperand=false
# pyright: reportOptionalMemberAccess=false
"""The enhancer's generator: a convolutional network over frames, from one spectrum to another.

Blocks of a ConvNeXt over frames, as in Vocos (Siuzdak 2024), predict the enhanced mel first, which is
supervised, and then, knowing it, magnitude and phase of the output, so that an inverse STFT gives the
waveform: no autoregression and no search for a phase. Each frame sees `GeneratorSpec.reach_frames` frames on
either side and no others, so a long recording can go through in pieces.
"""

from typing import Any

import keras
from keras import layers

from audenoise.architectures.enhancer_layers import ChosenColumns, FrameFeatures, LogMel, Synthesis
from audenoise.errors import SignalError, SpecError
from audenoise.layers import SpectralConv2D
from audenoise.specs.enhancer import EnhancerSpec, GeneratorSpec

CONDITIONING_COLUMNS = 4
"""Of `audenoise.conditioning`: pitch in octaves, voicing, onset strength, loudness."""


def _small(stddev: float = 0.02) -> Any:
    """A new one for each layer: the same one would give all of them the same weights."""
    return keras.initializers.TruncatedNormal(stddev=stddev)


def _block(x, kind: GeneratorSpec, number: int):
    name = f"block{number + 1}"
    y = SpectralConv2D(
        kind.channels, (kind.kernel, 1), dilation=kind.dilations[number % len(kind.dilations)],
        depthwise=True, causal=False, name=f"{name}_frames",
    )(x)  # fmt: skip
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")(y)
    y = layers.Dense(kind.expansion * kind.channels, name=f"{name}_wide")(y)
    y = layers.Activation("gelu", name=f"{name}_act")(y)
    y = layers.Dense(kind.channels, kernel_initializer=_small(), name=f"{name}_narrow")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def build_generator(spec: EnhancerSpec) -> keras.Model:
    """Build a generator.

    Parameters
    ----------
    spec : EnhancerSpec

    Returns
    -------
    keras.Model
        Inputs ``spectrum`` (batch, frames, bins, 2) of the degraded audio, scaled by the sum of the window,
        and, unless the spec switches all of it off, ``conditioning`` (batch, frames, 4). Outputs, a
        dictionary: ``spectrum``, like the input; ``mel``, the enhanced mel (batch, frames, 1, bands) on the
        scale of `log_mel`; and where the spec has such a head ``pitch`` (batch, frames, 1, 2), octaves over
        4 and the logit of voicing, and ``residual`` (batch, frames, 1, bands).

    Raises
    ------
    SpecError
        If a mel band would hold no frequency bin.
    """
    kind, bands, bins = spec.generator, spec.mel.bands, spec.stft.bins
    analysis: dict[str, Any] = {"sample_rate": spec.sample_rate, "n_fft": spec.stft.n_fft, "bands": bands}
    spectrum = keras.Input((None, bins, 2), name="spectrum")
    inputs = {"spectrum": spectrum}
    try:
        mel_in = LogMel(**analysis, name="mel_in")(spectrum)
    except SignalError as error:
        raise SpecError(f"mel.bands: {error}") from None
    seen = [mel_in, FrameFeatures(compression=kind.compression, name="features")(spectrum)]
    if spec.conditioning.columns:
        inputs["conditioning"] = keras.Input((None, CONDITIONING_COLUMNS), name="conditioning")
        seen.append(ChosenColumns(spec.conditioning.columns, name="chosen")(inputs["conditioning"]))
    x = layers.Dense(kind.channels, name="embed")(layers.Concatenate(name="seen")(seen))
    x = layers.LayerNormalization(epsilon=1e-6, name="embed_norm")(x)
    for i in range(kind.mel_blocks):
        x = _block(x, kind, i)
    change = layers.Dense(bands, kernel_initializer=_small(), name="mel_change")(x)
    mel = layers.Add(name="mel")([mel_in, change])
    outputs = {"mel": mel}
    if spec.auxiliary.pitch:
        outputs["pitch"] = layers.Dense(2, name="pitch_head")(x)
    if spec.auxiliary.residual:
        outputs["residual"] = layers.Dense(bands, name="residual_head")(x)
    told = layers.Dense(kind.channels, kernel_initializer=_small(), name="mel_embed")(mel)
    x = layers.Add(name="mel_add")([x, told])
    for i in range(kind.mel_blocks, kind.mel_blocks + kind.spectrum_blocks):
        x = _block(x, kind, i)
    x = layers.LayerNormalization(epsilon=1e-6, name="last_norm")(x)
    # The mask begins near one, so that an untrained network gives back what it got.
    mask = layers.Dense(2 * bins, kernel_initializer=_small(1e-3), name="mask")(x)
    level = layers.Dense(bins, kernel_initializer=_small(), name="level")(x)
    phase = layers.Dense(2 * bins, name="phase")(x)
    outputs["spectrum"] = Synthesis(**analysis, name="synthesis")([spectrum, mel_in, mel, mask, level, phase])
    return keras.Model(inputs, outputs, name="generator")


def generator_layer_macs(generator: keras.Model, spec: EnhancerSpec) -> dict[str, float]:
    """Multiply-accumulates per second of audio by layer.

    Heads of auxiliary tasks, which are dropped after training, are left out. The way from bins to mel bands,
    and twice back, is counted under the name of the former, ``mel_in``.
    """
    per_frame = {"mel_in": 3 * spec.stft.bins * spec.mel.bands}
    for layer in generator.layers:
        if isinstance(layer, layers.Dense) and layer.name not in ("pitch_head", "residual_head"):
            per_frame[layer.name] = layer.kernel.shape[0] * layer.kernel.shape[1]
        elif isinstance(layer, SpectralConv2D):
            per_frame[layer.name] = spec.generator.kernel * spec.generator.channels
    return {name: count * spec.sample_rate / spec.stft.hop_length for name, count in per_frame.items()}


def generator_macs_per_second(generator: keras.Model, spec: EnhancerSpec) -> int:
    """The sum of `generator_layer_macs`."""
    return round(sum(generator_layer_macs(generator, spec).values()))

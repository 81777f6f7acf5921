"""The spec-driven U-Net: noisy spectrum in, denoised spectrum out, any number of frames."""

import keras
from keras import layers

from audenoise.layers import (
    ApplyOutput,
    AxisGRU,
    BandAttention,
    BandPosition,
    BandProjection,
    CropLike,
    FullBandGRU,
    PadFrames,
    SpectralConv2D,
    SpectrumFeatures,
)
from audenoise.specs import (
    ConvolutionBottleneck,
    DilatedBottleneck,
    ModelSpec,
    RecurrentBottleneck,
    StageSpec,
)


def _norm(x, kind: str, name: str):
    if kind == "batch":
        return layers.BatchNormalization(momentum=0.97, epsilon=1e-5, name=name)(x)
    if kind == "layer":
        return layers.LayerNormalization(epsilon=1e-5, name=name)(x)
    return x


def _activation(x, kind: str, name: str, negative_slope: float = 0.3):
    if kind == "leaky_relu":
        return layers.LeakyReLU(negative_slope=negative_slope, name=name)(x)
    return x if kind == "linear" else layers.Activation(kind, name=name)(x)


def _dropout(x, stage: StageSpec, position: str, name: str):
    if not stage.dropout or stage.dropout_position != position:
        return x
    return layers.Dropout(stage.dropout, name=f"{name}_dropout")(x)


def _end(x, stage: StageSpec, name: str):
    """The end of a stage that has its norm there."""
    if stage.norm_position == "each":
        return x
    x = _norm(x, stage.norm, f"{name}_norm")
    x = _activation(x, stage.activation, f"{name}_act", stage.negative_slope)
    return _dropout(x, stage, "end", name)


def _convolutions(x, stage: StageSpec, *, causal: bool, stride: tuple[int, int], name: str):
    """The convolutions of one stage, the first with the stride."""
    each = stage.norm_position == "each"
    for i in range(stage.convolutions):
        step = stride if i == 0 else (1, 1)
        y = SpectralConv2D(
            stage.filters,
            stage.kernel,
            stride=step,
            causal=causal,
            initializer=stage.initializer,
            name=f"{name}_conv{i + 1}",
        )(x)
        if each:
            y = _norm(y, stage.norm, f"{name}_norm{i + 1}")
        y = _activation(y, stage.activation, f"{name}_act{i + 1}", stage.negative_slope)
        if stage.residual and y.shape[2:] == x.shape[2:] and step == (1, 1):
            y = layers.Add(name=f"{name}_add{i + 1}")([x, y])
        x = _dropout(y, stage, "inside", name) if i == 0 else y
    return _dropout(x, stage, "end", name) if each else x


def _up(x, like, *, filters: int, factor, kernel, stage: StageSpec | None, method: str, name: str):
    """Back to the size of `like`. Without a stage it is the last layer: no norm, no activation."""
    initializer = stage.initializer if stage else "glorot_uniform"
    if method == "repeat":
        x = layers.UpSampling2D(factor, name=f"{name}_up")(x)
        return CropLike(name=f"{name}_crop")([x, like])
    if method == "transposed":
        x = layers.Conv2DTranspose(
            filters, kernel, strides=factor, padding="same", kernel_initializer=initializer, name=f"{name}_up"
        )(x)
    else:
        x = layers.UpSampling2D(factor, name=f"{name}_up")(x)
        x = layers.Conv2D(
            filters, kernel, padding="same", kernel_initializer=initializer, name=f"{name}_upconv"
        )(x)
    if stage is not None and stage.norm_position == "each":
        x = _norm(x, stage.norm, f"{name}_upnorm")
        x = _activation(x, stage.activation, f"{name}_upact", stage.negative_slope)
    return CropLike(name=f"{name}_crop")([x, like])


def _bottleneck(x, spec: ModelSpec):
    kind = spec.bottleneck
    if isinstance(kind, ConvolutionBottleneck):
        for i, stage in enumerate(kind.stages):
            x = _convolutions(x, stage, causal=spec.causal, stride=(1, 1), name=f"valley{i + 1}")
            x = _end(x, stage, f"valley{i + 1}")
        return x
    if isinstance(kind, RecurrentBottleneck):
        return _recurrent(x, kind)
    return _dilated(x, kind, spec.causal)


def _recurrent(x, kind: RecurrentBottleneck):
    bands, channels = x.shape[2], x.shape[3]
    if kind.bands:
        x = BandProjection(kind.bands, name="to_bands")(x)
    x = layers.Dense(kind.channels, name="to_channels")(x)
    x = BandPosition(name="position")(_norm(x, kind.norm, "to_norm"))
    for i in range(kind.blocks):
        name = f"block{i + 1}"
        y = AxisGRU(kind.channels, axis="frames", bidirectional=kind.bidirectional, name=f"{name}_time")(x)
        y = layers.Dense(kind.channels, name=f"{name}_time_dense")(y)
        x = layers.Add(name=f"{name}_time_add")([x, _norm(y, kind.norm, f"{name}_time_norm")])
        if kind.across_bands == "none":
            continue
        if kind.across_bands == "attention":
            y = BandAttention(kind.heads, name=f"{name}_bands")(x)
        elif kind.across_bands == "full_band":
            y = FullBandGRU(kind.full_band_units, reduced=max(1, kind.channels // 4), name=f"{name}_bands")(x)
        else:
            y = AxisGRU(kind.channels // 2, axis="bands", bidirectional=True, name=f"{name}_bands")(x)
            y = layers.Dense(kind.channels, name=f"{name}_bands_dense")(y)
        x = layers.Add(name=f"{name}_bands_add")([x, _norm(y, kind.norm, f"{name}_bands_norm")])
    x = layers.Dense(channels, name="from_channels")(x)
    return BandProjection(bands, name="from_bands")(x) if kind.bands else x


def _dilated(x, kind: DilatedBottleneck, causal: bool):
    channels = x.shape[3]
    x = layers.Dense(kind.channels, name="to_channels")(x)
    for i, dilation in enumerate(kind.dilations):
        name = f"dilated{i + 1}"
        y = SpectralConv2D(
            kind.channels, kind.kernel, dilation=dilation, depthwise=True, causal=causal, name=f"{name}_depth"
        )(x)
        y = _activation(_norm(y, kind.norm, f"{name}_norm"), kind.activation, f"{name}_act")
        x = layers.Add(name=f"{name}_add")([x, layers.Dense(kind.channels, name=f"{name}_dense")(y)])
    return layers.Dense(channels, name="from_channels")(x)


def build_unet(spec: ModelSpec) -> keras.Model:
    """Build the network that a spec describes.

    Parameters
    ----------
    spec : ModelSpec

    Returns
    -------
    keras.Model
        (batch, frames, bins, 2) → the same shape: noisy spectrum to denoised spectrum, both scaled by the
        sum of the window. Any number of frames.
    """
    representation = {
        "representation": spec.input.representation,
        "compression": spec.input.compression,
        "range_db": spec.input.range_db,
    }
    noisy = keras.Input((None, spec.stft.bins, 2), name="noisy")
    x = SpectrumFeatures(
        **representation, scaling=spec.input_scaling if spec.input.scaling else None, name="features"
    )(noisy)
    if spec.time_factor > 1:
        x = PadFrames(spec.time_factor, name="pad_frames")(x)
    sources, skips = [], []
    for i, stage in enumerate(spec.encoder):
        sources.append(x)
        name = f"encoder{i + 1}"
        x = _convolutions(x, stage, causal=spec.causal, stride=stage.stride, name=name)
        skips.append(x)
        x = _end(x, stage, name)
        if stage.pool != (1, 1):
            x = layers.MaxPooling2D(stage.pool, padding="same", name=f"{name}_pool")(x)
    x = _bottleneck(x, spec)

    wanted = 1 if spec.output_is_magnitude else 2
    stages = spec.decoder_stages
    headless = False  # the last transposed convolution already gives the output's channels
    for i, stage in enumerate(stages):
        down, skip, name = spec.encoder[-1 - i], skips[-1 - i], f"decoder{i + 1}"
        if down.pool != (1, 1):
            x = _up(
                x, skip, filters=stage.filters, factor=down.pool, kernel=stage.up_kernel or down.pool,
                stage=stage, method=spec.upsampling, name=name,
            )  # fmt: skip
        if spec.skip.position == "before":
            x = _join(x, skip, spec.skip.kind, name)
        x = _convolutions(x, stage, causal=spec.causal, stride=(1, 1), name=name)
        x = _end(x, stage, name)
        if spec.skip.position == "after":
            x = _join(x, skip, spec.skip.kind, name)
        if down.stride != (1, 1):
            following = next(iter((*stages[i + 1 :], *spec.output.stages)), None)
            x = _up(
                x, sources[-1 - i], filters=following.filters if following else wanted, factor=down.stride,
                kernel=stage.up_kernel or (down.kernel[0] if down.stride[0] > 1 else 1, down.kernel[1]),
                stage=following, method=spec.upsampling, name=name,
            )  # fmt: skip
            headless = following is None and spec.upsampling != "repeat"
    for i, stage in enumerate(spec.output.stages):
        x = _convolutions(x, stage, causal=spec.causal, stride=(1, 1), name=f"output{i + 1}")
        x = _end(x, stage, f"output{i + 1}")
    if not headless:
        x = SpectralConv2D(wanted, spec.output.kernel, causal=spec.causal, name="head")(x)
    if spec.time_factor > 1:
        x = CropLike(name="crop_frames")([x, noisy])
    x = _activation(x, spec.output.activation, "output_activation")
    applied = ApplyOutput(
        kind=spec.output.kind,
        domain=spec.output.domain,
        **representation,
        scaling=spec.output_scaling,
        name="denoised",
    )
    return keras.Model(noisy, applied([noisy, x]), name=spec.name.replace(".", "_"))


def _join(x, skip, kind: str, name: str):
    if kind == "none":
        return x
    if kind == "concatenate":
        return layers.Concatenate(name=f"{name}_skip")([x, skip])
    if x.shape[3] != skip.shape[3]:
        skip = layers.Dense(x.shape[3], name=f"{name}_skip_dense")(skip)
    return layers.Add(name=f"{name}_skip")([x, skip])

"""The old nested dictionary of the convolution-dropout U-Net, translated into a spec of today.

It says ``downsampling``, ``valley``, ``upsampling`` and ``output`` in the words of Keras; rate and
spectrogram were fixed in code, so they are those of that network unless the dictionary has ``sample_rate`` or
``stft`` beside them. The form, with what may be left out in brackets::

    downsampling:
      downsampling_1:                      # numbered from 1, with or without the underscore
        conv1: {filters, kernel_size, [activation, kernel_initializer, padding: same]}
        [dropout: {rate}]
        conv2: {…}                         # filters, kernel, activation and initializer as in conv1
        [max_pool: {pool_size}]            # (2, 2)
      …
    valley:
      conv1: {…}
      [dropout: {rate}]
      conv2: {…}
    upsampling:
      upsampling1:                         # undoes the last downsampling
        convt: {filters, kernel_size, [strides, padding: same]}
      …
    output: {num_classes, [kernel_size, activation]}    # 1: magnitude, 2: complex
    [name, sample_rate, stft, loss, mixing, training: as in a spec of today]

Sizes are a number or (frames, frequency).
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from audenoise.specs.base import Activation, Initializer, Pair, Size, Strict

_NUMBERED = re.compile(r"([a-z]+?)_?([1-9][0-9]?)\Z")
_KEPT = ("name", "sample_rate", "stft", "loss", "mixing", "training")

Sizes = Annotated[Pair, BeforeValidator(lambda value: (value, value) if isinstance(value, int) else value)]


class OldConvolution(Strict):
    filters: Size
    kernel_size: Sizes
    activation: Activation = "linear"
    kernel_initializer: Initializer = "glorot_uniform"
    padding: Literal["same"] = "same"


class OldDropout(Strict):
    rate: Annotated[float, Field(ge=0, lt=1)]


class OldPool(Strict):
    pool_size: Sizes = (2, 2)


class OldDownsampling(Strict):
    conv1: OldConvolution
    dropout: OldDropout | None = None
    conv2: OldConvolution
    max_pool: OldPool = OldPool()

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key in OldConvolution.model_fields:
            first, second = getattr(self.conv1, key), getattr(self.conv2, key)
            if first != second:
                raise ValueError(f"conv2.{key}: must be that of conv1, {first}. Received: {second}")
        return self


class OldValley(Strict):
    conv1: OldConvolution
    dropout: OldDropout | None = None
    conv2: OldConvolution


class OldTransposed(Strict):
    filters: Size
    kernel_size: Sizes
    strides: Sizes = (2, 2)
    padding: Literal["same"] = "same"


class OldUpsampling(Strict):
    convt: OldTransposed


class OldOutput(Strict):
    num_classes: Annotated[int, Field(ge=1, le=2)] = 1
    kernel_size: Sizes = (1, 1)
    activation: Activation = "sigmoid"


class OldSpec(Strict):
    """The dictionary as it was; `translated` gives today's."""

    downsampling: Annotated[dict[str, OldDownsampling], Field(min_length=1, max_length=16)]
    valley: OldValley
    upsampling: Annotated[dict[str, OldUpsampling], Field(min_length=1, max_length=16)]
    output: OldOutput = OldOutput()
    name: Any = "unnamed"
    sample_rate: Any = 16000
    stft: Any = Field(default_factory=lambda: {"n_fft": 1024, "hop_length": 256, "window": "hann"})
    loss: Any = Field(default_factory=dict)
    mixing: Any = Field(default_factory=dict)
    training: Any = Field(default_factory=dict)

    @field_validator("downsampling", "upsampling")
    @classmethod
    def _in_order(cls, blocks: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """The blocks by number, which must run from 1 on."""
        numbers: dict[int, str] = {}
        for key in blocks:
            found = _NUMBERED.match(key)
            if found is None or found[1] != info.field_name:
                raise ValueError(f"{key}: must be called {info.field_name}_1 and so on. Received: {key}")
            numbers[int(found[2])] = key
        for i in range(1, len(blocks) + 1):
            if i not in numbers:
                raise ValueError(f"{info.field_name}_{i}: is missing; there are {len(blocks)} blocks")
        return {numbers[i]: blocks[numbers[i]] for i in sorted(numbers)}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.upsampling) != len(self.downsampling):
            raise ValueError(
                f"upsampling: must have as many blocks as downsampling ({len(self.downsampling)}). "
                f"Received: {len(self.upsampling)}"
            )
        pairs = zip(self.upsampling.items(), reversed(self.downsampling.items()), strict=True)
        for (up_key, up), (down_key, down) in pairs:
            strides, size = list(up.convt.strides), list(down.max_pool.pool_size)
            if strides != size:
                raise ValueError(
                    f"upsampling.{up_key}.convt.strides: must be the pool_size of "
                    f"downsampling.{down_key}, {size}. Received: {strides}"
                )
            kernel = list(up.convt.kernel_size)
            if kernel[0] < strides[0] or kernel[1] < strides[1]:
                raise ValueError(
                    f"upsampling.{up_key}.convt.kernel_size: must not be smaller than strides {strides}. "
                    f"Received: {kernel}"
                )
        return self

    def old_keys(self) -> dict[str, str]:
        """Today's key of each part, and the old one."""
        names = {f"encoder[{i}]": f"downsampling.{key}" for i, key in enumerate(self.downsampling)}
        names |= {f"decoder[{i}]": f"upsampling.{key}" for i, key in enumerate(self.upsampling)}
        return names | {f"bottleneck.stages[{i}]": f"valley.conv{i + 1}" for i in range(2)}

    def translated(self) -> dict[str, Any]:
        """The same network as a dictionary of today: what the old code built, layer by layer."""
        once = {"norm": "batch", "norm_position": "end"}
        encoder = [
            {
                **_stage(block.conv1),
                **once,
                "convolutions": 2,
                "pool": block.max_pool.pool_size,
                "dropout": block.dropout.rate if block.dropout else 0.0,
                "dropout_position": "inside",
            }
            for block in self.downsampling.values()
        ]
        rate = self.valley.dropout.rate if self.valley.dropout else 0.0
        valley = [{**_stage(self.valley.conv1), **once, "dropout": rate}, _stage(self.valley.conv2)]
        decoder = [
            {
                **once,
                "filters": block.convt.filters,
                "up_kernel": block.convt.kernel_size,
                "activation": "relu",
                "convolutions": 0,
            }
            for block in self.upsampling.values()
        ]
        is_complex = self.output.num_classes == 2
        # A sigmoid has no negative values, which a complex output needs.
        signed = is_complex and self.output.activation == "sigmoid"
        return {
            **{key: getattr(self, key) for key in _KEPT},
            "input": {"representation": "complex" if is_complex else "magnitude"},
            "encoder": encoder,
            "bottleneck": {"kind": "convolution", "stages": valley},
            "decoder": decoder,
            "output": {
                "kind": "complex_mask" if is_complex else "magnitude_mask",
                "activation": "tanh" if signed else self.output.activation,
                "kernel": self.output.kernel_size,
            },
            "causal": False,
        }


def _stage(convolution: OldConvolution) -> dict[str, Any]:
    return {
        "filters": convolution.filters,
        "kernel": convolution.kernel_size,
        "activation": convolution.activation,
        "initializer": convolution.kernel_initializer,
    }


def is_old(data: dict[Any, Any]) -> bool:
    """Whether a dictionary is of the old form: it names one of its parts and none of today's."""
    return bool({"downsampling", "valley", "upsampling"} & data.keys()) and not (
        {"encoder", "bottleneck", "decoder"} & data.keys()
    )

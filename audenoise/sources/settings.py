"""Everything that decides what a dataset holds, checked before anything is read."""

import re
from numbers import Real
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from audenoise.crops import StoredStft
from audenoise.errors import DataError
from audenoise.specs.base import Probability, Range, Strict, ordered
from audenoise.specs.explain import explain
from audenoise.specs.sections import MixingSpec, StftSpec

from .layouts import LAYOUTS
from .rules import SpeakerRule
from .stored import SCALE

DEFAULT_SNR_DB = (-5.0, 20.0)
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*(?:(?::|-|–|\.\.|\bto\b)\s*({_NUMBER})\s*)?")


def parse_range(text: str, *, what: str) -> Range:
    """Two numbers out of ``A``, ``A:B``, ``A-B`` or ``A..B``; a single one counts twice.

    Raises
    ------
    DataError
        If the text is none of these, or A exceeds B.

    Examples
    --------
    >>> parse_range("0.2-0.8", what="noise ratio"), parse_range("-5:20", what="SNR")
    ((0.2, 0.8), (-5.0, 20.0))
    >>> parse_range("-10--5", what="SNR"), parse_range("3", what="SNR")
    ((-10.0, -5.0), (3.0, 3.0))
    """
    found = _RANGE.fullmatch(text)
    if not found:
        raise DataError(f"{what} must be a number or a range such as 0.2-0.8 or -5:20. Received: {text}")
    low, high = float(found[1]), float(found[2] or found[1])
    if low > high:
        raise DataError(f"{what}: the lower end must not exceed the upper end. Received: {text}")
    return low, high


def _twice(value: Any) -> Any:
    return (value, value) if isinstance(value, Real) and not isinstance(value, bool) else value


NumberOrRange = Annotated[Range, BeforeValidator(_twice)]
"""Two numbers; a single one counts twice."""


class ItemMixing(Strict):
    """How an item is mixed; with nothing given, a plain sum of speech and one noise.

    A range is two numbers, or one that counts twice.
    `snr_db` (-5 to 20 by default) and `noise_ratio` exclude each other. The probabilities are those of
    `MixingSpec` and mean the same. With `level_dbfs` the mixture is brought to an RMS level drawn from there;
    without, speech keeps the level of its recording. In any case a mixture that would exceed full scale is
    turned down as a whole.
    """

    snr_db: NumberOrRange | None = None
    noise_ratio: Annotated[tuple[Probability, Probability], BeforeValidator(_twice)] | None = None
    level_dbfs: NumberOrRange | None = None
    second_noise: Probability = 0
    coloured_noise: Probability = 0
    synthetic_noise: Probability = 0
    babble: Probability = 0
    modulate: Probability = 0
    clean_only: Probability = 0
    noise_only: Probability = 0
    reverb: Probability = 0
    speed: Probability = 0
    equalise: Probability = 0
    band_limit: Probability = 0
    clip: Probability = 0

    @model_validator(mode="before")
    @classmethod
    def _default_snr(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("snr_db") is None and data.get("noise_ratio") is None:
            return {**data, "snr_db": DEFAULT_SNR_DB}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.snr_db is not None and self.noise_ratio is not None:
            raise ValueError("noise_ratio: give a noise ratio or an SNR, not both")
        for name in ("snr_db", "noise_ratio", "level_dbfs"):
            value = getattr(self, name)
            if value is not None:
                ordered(value, name)
        if self.level_dbfs is not None and self.level_dbfs[1] > 0:
            raise ValueError(f"level_dbfs: must not exceed 0 dBFS. Received: {list(self.level_dbfs)}")
        if self.clean_only + self.noise_only > 1:
            raise ValueError("noise_only: clean_only and noise_only together must not exceed 1")
        return self

    @classmethod
    def of_spec(cls, mixing: MixingSpec) -> Self:
        """The mixing of a training recipe."""
        return cls.model_validate(mixing.model_dump(include=set(cls.model_fields)))


DEGRADATIONS = tuple(name for name, field in ItemMixing.model_fields.items() if field.annotation is float)
"""The probabilities."""


class DatasetSpec(Strict):
    """What a dataset is to hold. The same spec and the same recordings give the same bytes."""

    sample_rate: Annotated[int, Field(ge=4000, le=192000)] = 16000
    stft: StftSpec = StftSpec()
    mixing: ItemMixing = ItemMixing()
    mixtures: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Of each clean recording, each with another noise. Default: 1, or what `hours` needs."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """In all, of both sides together. Default: all there is."""
    max_duration_s: Annotated[float, Field(ge=0.1, le=600)] = 10.0
    """Longer recordings are cut into pieces of equal length, at most this long."""
    min_duration_s: Annotated[float, Field(ge=0, le=600)] = 0.5
    """Shorter recordings are left out."""
    test_split: Annotated[float, Field(ge=0, lt=1)] = 0.1
    split_by: Literal["auto", "recording", "speaker"] = "auto"
    speakers: str | None = None
    layout: str = "auto"
    noise_classes: tuple[str, ...] = ()
    without_noise_classes: tuple[str, ...] = ()
    align: bool = False
    strict: bool = False
    shard_mb: Annotated[float, Field(ge=0.1, le=4096)] = 64.0
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.layout not in ("auto", "plain", *LAYOUTS):
            raise ValueError(f"layout: must be auto, plain, {', '.join(LAYOUTS)}. Received: {self.layout}")
        if self.min_duration_s > self.max_duration_s:
            raise ValueError(
                f"min_duration_s: must not exceed max_duration_s {self.max_duration_s:g}. "
                f"Received: {self.min_duration_s:g}"
            )
        if self.speakers is not None:
            SpeakerRule(self.speakers)
        return self

    @property
    def stored(self) -> StoredStft:
        return StoredStft(
            sample_rate=self.sample_rate,
            n_fft=self.stft.n_fft,
            hop_length=self.stft.hop_length,
            win_length=self.stft.window_samples,
            window=self.stft.window,
            scale=SCALE,
        )

    def to_dict(self) -> dict[str, Any]:
        """As in dataset.json: with the window's length spelled out, and how numbers are stored."""
        data = self.model_dump(mode="json")
        data["stft"]["win_length"] = self.stft.window_samples
        return {**data, "dtype": "float16", "scale": SCALE}


def make_spec(**values: Any) -> DatasetSpec:
    """A checked `DatasetSpec`.

    Raises
    ------
    DataError
        Names the key: ``test_split: must be less than 1. Received: 1.5``.
    """
    try:
        return DatasetSpec.model_validate(values)
    except ValidationError as error:
        raise DataError(explain(error, "dataset")) from None

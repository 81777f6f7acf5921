"""The section of a spec that says how an encoder is pre-trained on speech alone."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from audenoise.specs.base import Range, Strict, ordered

Weight = Annotated[float, Field(ge=0, le=1e4)]
NEXT_FRAME = 0.5
"""Weight of next-frame prediction where the spec leaves it open and the encoder is causal."""


class PretrainingSpec(Strict):
    """What is hidden from the encoder, and what it is to predict: log mels of `bands` bands.

    Rectangles of the mel spectrogram are hidden until `mask_share` of it is: each lasts `mask_s` seconds and
    covers a share `mask_bands` of the bands next to each other.
    """

    bands: Annotated[int, Field(ge=4, le=512)] = 32
    mask_share: Annotated[float, Field(gt=0, lt=1)] = 0.4
    mask_s: Range = (0.04, 0.24)
    mask_bands: Range = (0.2, 1.0)
    reconstruction: Weight = 1.0
    """Of the mean absolute error where something is hidden."""
    next_frame: Weight | None = None
    """Of the mean absolute error of the frame `ahead_frames` later; null is 0.5, and 0 for an encoder that is
    not causal and has seen that frame already."""
    ahead_frames: Annotated[int, Field(ge=1, le=64)] = 3
    """With 2 or fewer, a frame shares samples with the one it predicts at the usual hops."""
    head_units: Annotated[int, Field(ge=0, le=4096)] = 128
    """Of the hidden layer between the encoder and each prediction; 0 for none."""

    def next_frame_weight(self, *, causal: bool) -> float:
        """The weight of next-frame prediction for a kind of encoder."""
        return self.next_frame if self.next_frame is not None else NEXT_FRAME if causal else 0.0

    def check(self, *, causal: bool) -> None:
        """Raise `ValueError` if the encoder sees what it is to predict, or has nothing to predict."""
        if self.next_frame and not causal:
            raise ValueError(
                "pretraining.next_frame: an encoder that is not causal has seen the next frame already; "
                f"leave it out or set it to 0. Received: {self.next_frame:g}"
            )
        if not (self.reconstruction or self.next_frame_weight(causal=causal)):
            raise ValueError("pretraining.reconstruction: at least one weight must be above 0. Received: 0")

    @model_validator(mode="after")
    def _check(self) -> Self:
        ordered(self.mask_s, "mask_s")
        ordered(self.mask_bands, "mask_bands")
        if self.mask_s[0] <= 0 or self.mask_s[1] > 10:
            raise ValueError(f"mask_s: must be above 0 and at most 10 s. Received: {list(self.mask_s)}")
        if self.mask_bands[0] <= 0 or self.mask_bands[1] > 1:
            raise ValueError(f"mask_bands: must be above 0 and at most 1. Received: {list(self.mask_bands)}")
        return self

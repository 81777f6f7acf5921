"""Loss terms of the enhancer, written with `keras.ops` alone: spectra, mel, phase, and two opponents."""

import math
from collections.abc import Sequence
from typing import Any

from audenoise.layers import TINY_POWER, SpectralTransform, ops, power, root

_UNIT_TINY = 1e-8
"""Bins below -80 dB have no phase to speak of, and their phase no gradient."""


def stft_distance(reference, estimate, transforms: Sequence[SpectralTransform], *, floor_db: float = -100.0):
    """Spectral convergence and distance of log magnitudes, mean over resolutions (Yamamoto et al. 2020).

    Parameters
    ----------
    reference, estimate : tensor
        (batch, samples).
    transforms : sequence of SpectralTransform
    floor_db : float
        Where the logarithm levels off, against the magnitude of a full-scale constant.

    Returns
    -------
    tensor
        (batch,), 0 for equal signals.
    """
    terms: list[Any] = []
    floor = 10 ** (floor_db / 10)
    for transform in transforms:
        powers = [power(transform.stft(audio)) for audio in (reference, estimate)]
        first, second = (ops.sqrt(part + TINY_POWER) for part in powers)
        difference = ops.sqrt(ops.sum(ops.square(first - second), (1, 2)) + TINY_POWER)
        convergence = difference / ops.sqrt(ops.sum(ops.square(first), (1, 2)) + 1e-6)
        first, second = (0.5 * ops.log(part + floor) for part in powers)
        terms.append(convergence + ops.mean(ops.abs(first - second), (1, 2)))
    return sum(terms) / len(terms)


def _unit(spectrum):
    return ops.unstack(spectrum * ops.rsqrt(power(spectrum) + _UNIT_TINY)[..., None], axis=-1)


def _turned(first, second):
    """first · conj(second) of pairs (real, imaginary)."""
    (a, b), (c, d) = first, second
    return a * c + b * d, b * c - a * d


def _wrapped_mean(turn, weight):
    """Weighted mean of |angle| of complex numbers of length 0…1: the anti-wrapped distance in radians."""
    real, imag = turn
    length = ops.stop_gradient(ops.sqrt(ops.square(real) + ops.square(imag)))
    angle = ops.abs(ops.arctan2(imag, real + 1e-12))
    weight = weight * length
    return ops.sum(weight * angle, (1, 2)) / (ops.sum(weight, (1, 2)) + 1e-6)


def phase_distance(reference, estimate, *, exponent: float = 0.3):
    """Instantaneous phase, group delay and difference over time, anti-wrapped (Ai and Ling 2023).

    Parameters
    ----------
    reference, estimate : tensor
        Spectra (batch, frames, bins, 2).
    exponent : float
        Bins count by the reference's |X| to this power: the phase of silence is nothing to learn.

    Returns
    -------
    tensor
        (batch,): the sum of the three distances in radians, each from 0 to π.
    """
    turn = _turned(_unit(estimate), _unit(reference))
    weight = root(power(reference) + TINY_POWER, exponent / 2)
    over_bins = _turned([part[:, :, 1:] for part in turn], [part[:, :, :-1] for part in turn])
    over_time = _turned([part[:, 1:] for part in turn], [part[:, :-1] for part in turn])
    return (
        _wrapped_mean(turn, weight)
        + _wrapped_mean(over_bins, ops.sqrt(weight[:, :, 1:] * weight[:, :, :-1]))
        + _wrapped_mean(over_time, ops.sqrt(weight[:, 1:] * weight[:, :-1]))
    )


def mel_distance(reference, estimate):
    """Mean absolute difference of log mels (batch, …) → (batch,)."""
    return ops.mean(ops.abs(reference - estimate), tuple(range(1, len(reference.shape))))


def pitch_distance(reference, estimate):
    """Error of F0 where there is a voice, and of voicing.

    Parameters
    ----------
    reference : tensor
        (batch, frames, 2): octaves above 50 Hz, voicing 0…1.
    estimate : tensor
        (batch, frames, 2): octaves over 4, the logit of voicing.

    Returns
    -------
    tensor
        (batch,): mean |octaves| / 4 over voiced frames, and the cross-entropy of voicing.
    """
    voicing = reference[..., 1]
    octaves = ops.abs(reference[..., 0] / 4.0 - estimate[..., 0])
    error = ops.sum(voicing * octaves, 1) / (ops.sum(voicing, 1) + 1.0)
    logit = estimate[..., 1]
    return error + ops.mean(ops.softplus(logit) - voicing * logit, 1)


# --- opponents ----------------------------------------------------------------------------------------------
# What the discriminators return is a list of (features, scores), see `architectures.discriminators`.


def discriminator_loss(real, fake, kind: str):
    """What the discriminators are to make small: mean over all of them, a scalar.

    ``least_squares`` (Mao et al. 2017): (1 - real)² + fake². ``hinge`` (Lim and Ye 2017): max(0, 1 - real) +
    max(0, 1 + fake).
    """
    terms: list[Any] = []
    for (_, truth), (_, lie) in zip(real, fake, strict=True):
        if kind == "hinge":
            terms.append(ops.mean(ops.relu(1 - truth)) + ops.mean(ops.relu(1 + lie)))
        else:
            terms.append(ops.mean(ops.square(1 - truth)) + ops.mean(ops.square(lie)))
    return sum(terms) / len(terms)


def adversarial_loss(fake, kind: str):
    """What the generator is to make small: (1 - fake)² or -fake, mean over all discriminators, a scalar."""
    terms = [ops.mean(-lie) if kind == "hinge" else ops.mean(ops.square(1 - lie)) for _, lie in fake]
    return sum(terms) / len(terms)


def feature_distance(real, fake):
    """Feature matching (Larsen et al. 2016; Kumar et al. 2019), a scalar.

    Mean absolute difference of every layer's outputs over their mean size, so that no layer counts for more
    because it is louder.
    """
    terms: list[Any] = []
    for (truths, _), (lies, _) in zip(real, fake, strict=True):
        for truth, lie in zip(truths, lies, strict=True):
            truth = ops.stop_gradient(truth)
            terms.append(ops.mean(ops.abs(truth - lie)) / (ops.mean(ops.abs(truth)) + 1e-6))
    return sum(terms) / len(terms)


def balance(real, fake, kind: str):
    """How the game stands.

    Returns
    -------
    tuple of tensor
        Share of scores on the right side, from 0.5 (no idea) to 1 (the discriminators have won), and the
        difference between the mean scores of real and fake, 0 where the discriminators see none.
    """
    middle = 0.0 if kind == "hinge" else 0.5
    right: list[Any] = []
    gaps: list[Any] = []
    for (_, truth), (_, lie) in zip(real, fake, strict=True):
        right += [ops.mean(ops.cast(truth > middle, "float32")), ops.mean(ops.cast(lie < middle, "float32"))]
        gaps.append(ops.mean(truth) - ops.mean(lie))
    return sum(right) / len(right), sum(gaps) / len(gaps)


def to_db(log_mel_difference: float, scale: float) -> float:
    """A difference of log mels in decibels, where one unit is `scale` nepers."""
    return 20 / math.log(10) * scale * log_mel_difference

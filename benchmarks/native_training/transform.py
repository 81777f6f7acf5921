# pyright: reportMissingImports=false
"""Spectrograms of the enhancer and its opponents in PyTorch."""

from typing import Any

import torch
import torch.nn.functional as F

from audenoise.errors import SpecError
from audenoise.spectral import make_window


class Transform:
    """`audenoise.layers.SpectralTransform` of windows whose length is a multiple of the hop."""

    def __init__(self, n_fft: int, hop: int, window: str = "hann"):
        if n_fft % hop:
            raise SpecError(f"stft: native training knows hops that divide n_fft only, not {hop} of {n_fft}")
        taps = make_window(window, n_fft)
        self.n_fft, self.hop, self.overlaps = n_fft, hop, n_fft // hop
        self.scale, self.window = float(taps.sum()), torch.tensor(taps, dtype=torch.float32)
        self.norm = torch.tensor((taps**2).reshape(self.overlaps, hop).sum(0), dtype=torch.float32)

    def stft(self, audio):
        """(batch, samples) → (batch, frames, bins) real and imaginary part."""
        before = self.n_fft - self.hop
        frames = -(-(audio.shape[1] + before) // self.hop)
        after = (frames - 1) * self.hop + self.n_fft - before - audio.shape[1]
        blocks = F.pad(audio, (before, after)).unfold(1, self.n_fft, self.hop)
        return torch.view_as_real(torch.fft.rfft(blocks * (self.window / self.scale))).unbind(-1)

    def istft(self, real, imag, n_samples: int):
        """As given by `stft` → (batch, samples)."""
        spectrum = torch.view_as_complex(torch.stack([real, imag], -1))
        blocks = torch.fft.irfft(spectrum, n=self.n_fft) * (self.window * self.scale)
        batch, count, _ = blocks.shape
        parts = blocks.reshape(batch, count, self.overlaps, self.hop).unbind(2)
        total: Any = sum(F.pad(part, (0, 0, k, self.overlaps - 1 - k)) for k, part in enumerate(parts))
        before = self.n_fft - self.hop
        return (total / self.norm).reshape(batch, -1)[:, before : before + n_samples]

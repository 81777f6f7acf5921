"""What an epoch of an enhancer's training has brought: scores on held-out pairs, recordings and pictures."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from audenoise.architectures.enhancer_layers import MEL_SCALE, log_mel
from audenoise.audio import write_audio
from audenoise.enhancer_losses import to_db
from audenoise.enhancer_pairs import PairBatch
from audenoise.enhancing.sides import Game
from audenoise.errors import SignalError, TrainingError
from audenoise.layers import ops, to_numpy
from audenoise.metrics import log_spectral_distance
from audenoise.plotting import TitledAudio, save_spectrograms
from audenoise.specs.enhancer import EnhancerSpec
from audenoise.validation import ValidationScores

_N_FFT = 2048
WINNING = 0.995
"""Of the scores of an epoch on the right side: beyond, the generator learns nothing from them."""
NO_GAP = 0.01
"""Between the mean scores of real and generated: below, the discriminators see no difference."""


class Judge:
    """Scores the generator on the same pairs after each epoch.

    Parameters
    ----------
    spec : EnhancerSpec
    pairs : PairBatch
        Held out.
    report : callable, optional
        Called with a line for the degraded input.
    """

    def __init__(self, spec: EnhancerSpec, pairs: PairBatch, report: Callable[[str], object] | None = None):
        self.spec, self.pairs = spec, pairs
        self._speech = ValidationScores(
            pairs.degraded,
            pairs.target,
            spec.sample_rate,
            count=min(spec.training.scored_pairs, len(pairs.target)),
            report=report,
        )
        self._scored = [
            int(np.flatnonzero((pairs.degraded == row).all(axis=1))[0]) for row in self._speech.noisy
        ]
        self.spectral_baseline = self._spectral_distance(pairs.degraded)
        if report is not None:
            report(f"degraded input: log-spectral distance {self.spectral_baseline:.3f}")

    def _spectral_distance(self, audio: np.ndarray) -> float:
        distances, hz = [], np.fft.rfftfreq(_N_FFT, 1 / self.spec.sample_rate)
        sizes = {"n_fft": _N_FFT, "hop_length": _N_FFT // 4}
        for reference, estimate, end_hz in zip(self.pairs.target, audio, self.pairs.end_hz, strict=True):
            known = hz <= self._ends_of_windows(end_hz, reference.size)[:, None]
            try:
                distances.append(log_spectral_distance(reference, estimate, bins=known, **sizes))
            except SignalError:  # nothing but silence, or shorter than its window
                continue
        return float(np.mean(distances)) if distances else float("nan")

    def _ends_of_windows(self, end_hz: np.ndarray, n_samples: int) -> np.ndarray:
        """The least end of the frames that have samples in each window of the distance, (windows,)."""
        hop, length = self.spec.stft.hop_length, self.spec.stft.window_samples
        starts = np.arange(end_hz.size) * hop - (length - hop)
        windows = np.arange(0, n_samples - _N_FFT + 1, _N_FFT // 4)[:, None]
        meets = (starts < windows + _N_FFT) & (starts + length > windows)
        return np.where(meets, end_hz, np.inf).min(axis=1)

    def score(self, game: Game) -> dict[str, float]:
        """Spectral distance in log10 of power, mel distance in dB, both up to the end of each target, and the
        metrics of speech."""
        audio = game.generator_side.enhance(self.pairs, self.spec.training.batch_size)["audio"]
        side = game.generator_side
        mels = [
            to_numpy(log_mel(side.transform.stft(ops.convert_to_tensor(each)), side.band_weights))
            for each in (self.pairs.target, audio)
        ]
        known = side.band_ends_hz <= self.pairs.end_hz[:, :, None]
        scores = {
            "val_spectral_distance": self._spectral_distance(audio),
            "val_mel_distance": to_db(float(np.average(np.abs(mels[0] - mels[1]), weights=known)), MEL_SCALE),
        }
        speech = self._speech.score(audio[self._scored]) if self._scored else {}
        return scores | {f"val_{name}": value for name, value in speech.items()}

    def write_examples(self, game: Game, folder: Path) -> None:
        """Recordings and spectrograms of the first pairs: input, output and target.

        Raises
        ------
        TrainingError
            If they can't be written.
        """
        count = min(self.spec.training.examples, len(self.pairs.target))
        few = PairBatch(*(part[:count] for part in self.pairs))
        audio = game.generator_side.enhance(few, self.spec.training.batch_size)["audio"]
        rate, partial = self.spec.sample_rate, folder.with_name(f"{folder.name}.partial")
        try:
            partial.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                shown = {"degraded": few.degraded[i], "enhanced": audio[i], "target": few.target[i]}
                for name, samples in shown.items():
                    write_audio(
                        partial / f"{i + 1}-{name}.wav", np.clip(samples, -1, 1), rate, overwrite=True
                    )
                save_spectrograms(
                    [TitledAudio(name, samples, rate) for name, samples in shown.items()],
                    partial / f"{i + 1}.png",
                )
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(partial, folder)
        except OSError as error:
            raise TrainingError(f"{folder}: can't be written ({error.strerror or error})") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


class Referee:
    """Ends a game that has gone wrong, with one line that says how."""

    def __init__(self, patience: int):
        self.patience = patience
        self._won = self._lost = 0

    def check_step(self, logs: Mapping[str, float], side: str) -> None:
        """Raise `TrainingError` if a loss is not a number."""
        if not np.isfinite(logs["loss"]):
            key = "training.learning_rate" if side == "generator" else "training.discriminator_learning_rate"
            raise TrainingError(
                f"the loss of the {side} is not a number: lower {key} or training.clip_norm, and go on with "
                "--resume"
            )

    def check_epoch(self, logs: Mapping[str, float]) -> None:
        """Raise `TrainingError` if one side has won for `patience` epochs in a row."""
        if "discriminator_accuracy" not in logs:
            return
        self._won = self._won + 1 if logs["discriminator_accuracy"] > WINNING else 0
        self._lost = self._lost + 1 if abs(logs["discriminator_gap"]) < NO_GAP else 0
        if self._won >= self.patience:
            raise TrainingError(
                f"the discriminators have won: {100 * logs['discriminator_accuracy']:.1f} % of their scores "
                f"were right for {self.patience} epochs. Lower training.discriminator_learning_rate or their "
                "channels, and go on with --resume"
            )
        if self._lost >= self.patience:
            raise TrainingError(
                f"the generator has won: for {self.patience} epochs the discriminators scored real and "
                "generated speech alike. Raise training.discriminator_learning_rate or their channels, or "
                "begin with them later, by schedule.adversarial_from_step"
            )

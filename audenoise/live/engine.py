"""The live signal path, without any sound card: blocks in, blocks out, always the same delay.

    callback ──noisy──► ring ──► work: DenoiserStream ──► ring ──denoised──► callback
                          └───────────── the same samples, as late ──────────► callback

`work` is done within the callback where the network takes a small part of a block's time, and else in a
thread of its own, one block later. Measured on two busy cores (benchmarks/latency.py, part live), a callback
took longer than its block no more often that way, and a thread was late besides: two threads have to get the
processor in time instead of one.

Samples are known by their number since the start. A sample that leaves came in `delay_samples` before, be it
denoised or not; so turning the denoiser off and on moves nothing in time. Where a denoised sample comes too
late, the noisy one takes its place: speech goes on, and so does the clock.
"""

import math
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from audenoise.denoiser import Denoiser
from audenoise.errors import ModelError, SignalError
from audenoise.stream import DenoiserStream

from .ring import Ring

FADE_S = 0.02
_RING_S = 4.0
_FARTHEST_BEHIND_S = 2.0  # from here on samples are left out instead of caught up with
_WARM_UP_S = 1.0
_LONGEST_AHEAD_S = 0.5
_SMALL_PART = 0.25
_LOUDEST = 8.0  # beyond this, or NaN, it is no audio but a driver's mistake
_WAKE_S = 0.2
_NEAR = 0.05


def refuse_far_sighted(denoiser: Denoiser) -> None:
    """Raise `ModelError` if a model looks further ahead than anyone would wait."""
    preset = denoiser.preset
    latency = denoiser.stream(preset.sample_rate).latency_samples
    ahead_s = (latency - preset.stft.win_length) / preset.sample_rate
    if ahead_s > _LONGEST_AHEAD_S:
        raise ModelError(
            f"{preset.name}: looks {ahead_s:.1f} s ahead, so it is for files; live needs a causal "
            "model, such as standard"
        )


@dataclass(frozen=True)
class LiveCounts:
    """What happened so far.

    Attributes
    ----------
    blocks, samples : int
        Received from the sound card.
    input_overflows, output_underflows : int
        Reported by the sound card: samples lost, and gaps.
    late_blocks : int
        Blocks in which denoised samples were not ready and noisy ones were heard.
    skipped_samples : int
        Left out by the denoiser because it was seconds behind, as after the computer slept.
    bad_samples : int
        NaN, infinite or absurdly large; taken as silence.
    """

    blocks: int = 0
    samples: int = 0
    input_overflows: int = 0
    output_underflows: int = 0
    late_blocks: int = 0
    skipped_samples: int = 0
    bad_samples: int = 0


class LiveEngine:
    """A denoiser between a sound card's input and output.

    Parameters
    ----------
    denoiser : Denoiser
        One thread serves best: with two, a block now and then waits for the second for many times its length.
    sample_rate : int
        In Hz.
    block : int
        Samples in a block of the sound card, as `block_samples` chooses them. Blocks of other sizes work as
        well; the delay then rises once, to what they need.
    threaded : bool, optional
        Denoise in a thread of its own. Default: where the callback would be busy for more than a quarter of a
        block's time, by a short measurement.
    strength, max_attenuation_db : optional
        As for `Denoiser.denoise`.

    Attributes
    ----------
    delay_samples : int
        From a sample's coming in to its going out.
    threaded : bool
    bypassed : bool
        Set it to hear the noisy signal, as late as the denoised one; the change takes 20 ms.
    counts : LiveCounts
    error : BaseException or None
        What ended the work, if something did.

    Raises
    ------
    SignalError
        If a parameter is out of range.
    ModelError
        If the model looks further ahead than anyone would wait.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        sample_rate: int,
        *,
        block: int,
        threaded: bool | None = None,
        strength: float = 1.0,
        max_attenuation_db: float | None = None,
    ) -> None:
        if block < 1:
            raise SignalError(f"block must be at least 1 sample. Received: {block}")
        refuse_far_sighted(denoiser)
        self.sample_rate, self.block = sample_rate, block
        self._stream = denoiser.stream(sample_rate, strength=strength, max_attenuation_db=max_attenuation_db)
        # Everything that is made on first use is made now, and not when the first second is heard.
        noise = 0.01 * np.random.default_rng(0).standard_normal(round(_WARM_UP_S * sample_rate))
        trail, busy_s = _warm_up(self._stream, noise.astype(np.float32), block)
        self.threaded = busy_s > _SMALL_PART * block / sample_rate if threaded is None else threaded
        self._stream.reset()
        latency = self._stream.latency_samples
        # A resampler hands out its samples in portions of its own.
        spread = latency // 2 if self._stream.hop_samples is None else 0
        self._trail_of_any_block = max(trail, latency) + spread
        self.delay_samples = trail if self._is_regular(block) else self._trail_of_any_block
        if self.threaded:
            self.delay_samples += block  # it has the time of one block for the samples of the last one
        self.bypassed = False
        self.error: BaseException | None = None
        self._fade = max(1, round(FADE_S * sample_rate))
        size = max(round(_RING_S * sample_rate), 4 * (self.delay_samples + block))
        self._noisy, self._denoised, self._heard = Ring(size), Ring(size), Ring(size)
        self._position = self._valid_from = 0  # of the worker; of the denoised samples that may be heard
        self._weight = 1.0
        self._energies = (0.0, 0.0, 0)
        self._blocks = self._overflows = self._underflows = self._late = self._skipped = self._bad = 0
        # A lock as a flag: to set it never makes the callback wait.
        self._wake = threading.Lock()
        self._wake.acquire()
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def counts(self) -> LiveCounts:
        return LiveCounts(
            blocks=self._blocks,
            samples=self._noisy.end,
            input_overflows=self._overflows,
            output_underflows=self._underflows,
            late_blocks=self._late,
            skipped_samples=self._skipped,
            bad_samples=self._bad,
        )

    @property
    def energies(self) -> tuple[float, float, int]:
        """Sums of squares of all samples that came in and that went out, and their number."""
        return self._energies

    def start(self) -> None:
        """Start the thread, if there is to be one."""
        if not self.threaded:
            return
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="audenoise live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop it."""
        self._stopping = True
        self._set_wake()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def callback(self, indata: np.ndarray, outdata: np.ndarray, *rest: Any) -> None:
        """Take a block and give one, in the sound card's thread: sounddevice's signature.

        Parameters
        ----------
        indata, outdata : np.ndarray
            (frames, channels), float32. Those of the input are averaged, those of the output are equal.
        *rest
            Number of frames, times, and the complaints of the sound card (sounddevice.CallbackFlags).
        """
        try:
            status = rest[-1]
            if status:
                self._overflows += bool(status.input_overflow)
                self._underflows += bool(status.output_underflow)
            outdata[:] = self._pass(indata, len(outdata))[:, None]
        except Exception as error:  # it would be printed and forgotten in the sound card's thread
            outdata.fill(0.0)
            self.error = error

    def work(self) -> None:
        """Denoise what has come in; the callback or the thread does this."""
        end = self._noisy.end
        if end - self._position > _FARTHEST_BEHIND_S * self.sample_rate:
            self._skip_to(end)
        elif end > self._position:
            samples = self._noisy.read(self._position, end - self._position)
            self._denoised.append(self._stream.process(samples))
            self._position = end

    def heard(self, start: int, n_samples: int) -> np.ndarray:
        """Samples that went out, by number; kept for a few seconds (`heard_kept`)."""
        return self._heard.read(start, n_samples)

    @property
    def heard_kept(self) -> range:
        """Numbers of the samples that `heard` can still return."""
        end = self._heard.end
        return range(max(0, end - round(_FARTHEST_BEHIND_S * self.sample_rate)), end)

    def _skip_to(self, end: int) -> None:
        self._skipped += end - self._position
        self._stream.reset()
        self._position = self._valid_from = end
        # The stream's next sample is number `end`; what the ring holds before it is not to be heard.
        self._denoised.append(np.zeros(end - self._denoised.end, np.float32))

    def _run(self) -> None:
        try:
            while not self._stopping:
                if self._wake.acquire(timeout=_WAKE_S):
                    self.work()
        except BaseException as error:  # the thread that started it reads this
            self.error = error

    def _set_wake(self) -> None:
        # Two threads may come at once when the work stops.
        with suppress(RuntimeError):
            if self._wake.locked():
                self._wake.release()

    def _pass(self, indata: np.ndarray, frames: int) -> np.ndarray:
        noisy = self._checked(indata[:, 0] if indata.shape[1] == 1 else indata.mean(axis=1))
        if frames != self.block:
            handed_over = max(frames, self.block) if self.threaded else 0
            self.delay_samples = max(self.delay_samples, handed_over + self._trail_of_any_block)
        first = self._noisy.end - self.delay_samples
        self._noisy.append(noisy)
        if self.threaded:
            self._set_wake()
        else:
            self.work()
        heard = self._mixed(first, frames)
        self._heard.append(heard)
        before_in, before_out, n_samples = self._energies
        self._energies = (
            before_in + float(np.dot(noisy, noisy)),
            before_out + float(np.dot(heard, heard)),
            n_samples + frames,
        )
        self._blocks += 1
        return heard

    def _mixed(self, first: int, frames: int) -> np.ndarray:
        noisy, target = self._noisy.read(first, frames), 0.0 if self.bypassed else 1.0
        left_out = first < self._valid_from and self._valid_from > 0
        ready = 0 if left_out else min(frames, self._denoised.end - first)
        if ready >= frames and self._weight == target:
            return noisy if self.bypassed else self._denoised.read(first, frames)
        if ready < frames:
            # It was promised for now: whatever is there is faded out.
            self._late += not self.bypassed
            ready = max(0, ready)
            fade = min(ready, self._fade)
            weights = np.zeros(frames, np.float32)
            weights[: ready - fade] = self._weight
            weights[ready - fade : ready] = self._weight * np.linspace(1.0, 0.0, fade, endpoint=False)
        else:
            steps = np.arange(1, frames + 1, dtype=np.float32) / self._fade
            weights = np.clip(self._weight + (steps if target else -steps), 0.0, 1.0)
        self._weight = float(weights[-1])
        return noisy + weights * (self._denoised.read(first, frames) - noisy)

    def _checked(self, noisy: np.ndarray) -> np.ndarray:
        if np.abs(noisy).max(initial=0.0) <= _LOUDEST:  # false for NaN
            return noisy
        good = np.abs(noisy) <= _LOUDEST
        self._bad += int(np.count_nonzero(~good))
        return np.where(good, noisy, np.float32(0.0))

    def _is_regular(self, block: int) -> bool:
        """Whether the blocks meet the hops of the model at few places, which the warm-up has all seen."""
        hop = self._stream.hop_samples
        return hop is not None and hop // math.gcd(hop, block) * block <= _WARM_UP_S * self.sample_rate / 2


def _warm_up(stream: DenoiserStream, noise: np.ndarray, block: int) -> tuple[int, float]:
    """Return by how many samples the output trails at most, and the usual seconds for a window's length."""
    received = sent = trail = 0
    times_s = []
    for start in range(0, len(noise) - block + 1, block):
        begin = time.perf_counter()
        received, sent = received + block, sent + len(stream.process(noise[start : start + block]))
        times_s.append(time.perf_counter() - begin)
        trail = max(trail, received - sent)
    # Blocks may be shorter than a hop; no single one takes longer than all those of a window.
    group = max(1, -(-stream.latency_samples // block))
    groups_s = [sum(times_s[start : start + group]) for start in range(0, len(times_s) - group + 1, group)]
    return trail, median(groups_s) if groups_s else math.inf


def block_samples(denoiser: Denoiser, sample_rate: int, block_ms: float) -> int:
    """Samples in a block of about `block_ms`, such that blocks and the model's hops fit if they nearly do.

    Where a hop is a whole number of blocks, none of its samples wait for the next block.

    Parameters
    ----------
    denoiser : Denoiser
    sample_rate : int
        In Hz.
    block_ms : float
        At least 1 ms, at most 500 ms.

    Raises
    ------
    SignalError
        If `block_ms` is out of range.
    """
    if not 1.0 <= block_ms <= 500.0:
        raise SignalError(f"block_ms must be from 1 to 500 ms. Received: {block_ms}")
    wanted = block_ms / 1000 * sample_rate
    hop = denoiser.stream(sample_rate).hop_samples
    if hop is None:
        return max(1, round(wanted))
    fitting = [hop // parts for parts in range(1, hop + 1) if hop % parts == 0]
    fitting.append(hop * max(1, round(wanted / hop)))
    best = min(fitting, key=lambda n: abs(n - wanted))
    return best if abs(best / wanted - 1) <= _NEAR else max(1, round(wanted))

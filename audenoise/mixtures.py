"""Endless mixtures made on the fly: a decoded pool of recordings, seeded draws, parallel processes.

NumPy only, so that the processes that mix never load TensorFlow. Example number i of a seed is the same
bytes whatever the number of processes.
"""

import hashlib
import itertools
import json
import math
import multiprocessing
import os
import platform
import queue
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy.fft import next_fast_len

from audenoise import degradation
from audenoise.array_types import AudioVector
from audenoise.audio import find_audio, read_audio
from audenoise.errors import AudenoiseError, DataError
from audenoise.mixing import active_rms, loop_to_length, rms, strongest_channel
from audenoise.specs import MixingSpec

_FULL_SCALE = 32767
_SILENCE = 1e-5
_FORMANT_OCTAVES = 0.22


@dataclass(frozen=True)
class AudioPool:
    """Recordings decoded to one rate in one memory-mapped file, so that a random cut costs nothing.

    Recordings of one folder form a group; groups are drawn in proportion to the square root of their
    duration, so that one large source does not drown the others.
    """

    path: Path
    offsets: np.ndarray
    lengths: np.ndarray
    gains: np.ndarray
    groups: np.ndarray
    sample_rate: int
    reach_hz: np.ndarray | None = None
    """How high the speech of each reaches, where that is known."""

    @property
    def seconds(self) -> float:
        return float(self.lengths.sum() / self.sample_rate)

    def samples(self) -> np.ndarray:
        return np.memmap(self.path, dtype=np.int16, mode="r")

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Probability of each group, and of each recording within its group (by duration)."""
        totals = np.bincount(self.groups, weights=self.lengths)
        shares = np.sqrt(totals)
        return shares / shares.sum(), self.lengths / totals[self.groups]


_WORTH_A_PROCESS = 8 << 20
"""Bytes of recordings that take about as long to decode as a process takes to start."""


def _decode(job: tuple[Path, int]) -> tuple[np.ndarray, float] | str:
    path, sample_rate = job
    try:
        audio, _ = read_audio(path, sample_rate=sample_rate)
        if not audio.size:
            return f"{path}: is too short for {sample_rate} Hz"
        audio = audio[:, strongest_channel(audio)]
        peak = float(np.abs(audio).max())
        if peak < _SILENCE:
            return f"{path}: is silent"
        return np.round(audio * (_FULL_SCALE / peak)).astype(np.int16), peak / _FULL_SCALE
    except AudenoiseError as error:
        return str(error)


def build_pool(
    folders: Sequence[Path], *, sample_rate: int, cache: Path, jobs: int = 2, without: Sequence[Path] = ()
) -> tuple[AudioPool, list[str]]:
    """Decode every recording below `folders` once; a second call with the same files reuses the result.

    A file that is found twice, as in a folder and in one that holds it, counts once.

    Parameters
    ----------
    folders : sequence of Path
        Searched recursively, or single files.
    sample_rate : int
        In Hz.
    cache : Path
        Folder for the decoded audio: 2 bytes a sample, 115 MB per hour at 16 kHz.
    jobs : int
        Processes.
    without : sequence of Path, optional
        Folders or files whose recordings are left out, those to validate with; unless nothing would be left,
        which is said among `skipped`.

    Returns
    -------
    pool : AudioPool
    skipped : list of str
        One line for each recording that could not be used, with the reason.

    Raises
    ------
    DataError
        If no recording is left.
    """
    files: dict[Path, tuple[Path, str]] = {}
    for folder in folders:
        for path in find_audio(folder):
            files.setdefault(path.resolve(), (path, str(path.parent)))
    if not files:
        raise DataError(f"{', '.join(map(str, folders))}: holds no audio (wav, flac, ogg, mp3)")
    others = {path.resolve() for folder in without for path in find_audio(folder)}
    notes = []
    if others >= files.keys():
        here = ", ".join(map(str, folders))
        notes = [f"nothing of {here}, though it is to validate with too: scores on it flatter"]
        others = set()
    files = {path: file for path, file in files.items() if path not in others}
    stamp = hashlib.sha256(str(sample_rate).encode())
    for path, _ in files.values():
        stat = path.stat()
        stamp.update(os.fsencode(f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}\n"))
    base = cache / f"pool-{stamp.hexdigest()[:16]}"
    raw, index = base.with_suffix(".i16"), base.with_suffix(".npz")
    if not (raw.exists() and index.exists()):
        _write_pool(list(files.values()), raw, index, sample_rate, jobs)
    stored = np.load(index, allow_pickle=False)
    skipped = [*json.loads(str(stored["skipped"])), *notes]
    if stored["lengths"].size == 0:
        raise DataError(f"{folders[0]}: no recording can be used; the first: {skipped[0]}")
    fields = {name: stored[name] for name in ("offsets", "lengths", "gains", "groups")}
    return AudioPool(path=raw, sample_rate=sample_rate, **fields), skipped


def _decoded(
    tasks: list[tuple[Path, int]], jobs: int
) -> Generator[tuple[np.ndarray, float] | str, None, None]:
    """In the order of the tasks."""
    jobs = min(jobs, sum(path.stat().st_size for path, _ in tasks) // _WORTH_A_PROCESS)
    if jobs < 2:
        yield from map(_decode, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as workers:
        yield from workers.map(_decode, tasks, chunksize=min(16, math.ceil(len(tasks) / (4 * jobs))))


def _write_pool(files: list[tuple[Path, str]], raw: Path, index: Path, sample_rate: int, jobs: int) -> None:
    from tqdm import tqdm

    raw.parent.mkdir(parents=True, exist_ok=True)
    names = sorted({group for _, group in files})
    offsets, lengths, gains, groups, skipped, position = [], [], [], [], [], 0
    partial = raw.with_suffix(f".partial{os.getpid()}-{platform.node()}")
    partial_index = index.with_name(f"{partial.name}.npz")
    try:
        with partial.open("wb") as out:
            results = _decoded([(path, sample_rate) for path, _ in files], jobs)
            for (_, group), result in zip(
                files, tqdm(results, "decoding", len(files), unit="file", disable=None), strict=True
            ):
                if isinstance(result, str):
                    skipped.append(result)
                    continue
                samples, gain = result
                samples.tofile(out)
                offsets.append(position)
                lengths.append(samples.size)
                gains.append(gain)
                groups.append(names.index(group))
                position += samples.size
        used = {group: i for i, group in enumerate(sorted(set(groups)))}
        np.savez(
            partial_index,
            offsets=np.array(offsets, np.int64),
            lengths=np.array(lengths, np.int64),
            gains=np.array(gains, np.float32),
            groups=np.array([used[g] for g in groups], np.int64),
            skipped=json.dumps(skipped),
        )
        os.replace(partial, raw)
        os.replace(partial_index, index)
    except OSError as error:
        # NumPy's own words for a full disk name neither file nor reason.
        reason = error.strerror or "the disk is full?"
        raise DataError(f"{raw.parent}: decoded audio can't be written ({reason})") from error
    except BrokenProcessPool:
        raise DataError("a decoding process died (out of memory?); use fewer --workers") from None
    finally:
        partial.unlink(missing_ok=True)
        partial_index.unlink(missing_ok=True)


class Mixer:
    """Draws (noisy, clean) examples; example i depends on the seed and on i alone.

    Parameters
    ----------
    speech, noise : AudioPool
    responses : sequence of AudioVector
        Measured room responses, direct sound first. Half of the rooms are simulated.
    spec : MixingSpec
    n_samples : int
        Length of an example.
    seed : int
    """

    def __init__(
        self,
        speech: AudioPool,
        noise: AudioPool,
        responses: Sequence[AudioVector],
        *,
        spec: MixingSpec,
        n_samples: int,
        seed: int,
    ):
        self.pools = {"speech": speech, "noise": noise}
        self.responses = list(responses)
        self.spec, self.n_samples, self.seed = spec, n_samples, seed
        self.sample_rate = speech.sample_rate
        self._samples: dict[str, np.ndarray] = {}
        self._weights = {kind: pool.weights() for kind, pool in self.pools.items()}
        self._members = {
            kind: [np.flatnonzero(pool.groups == g) for g in range(int(pool.groups.max()) + 1)]
            for kind, pool in self.pools.items()
        }

    def __getstate__(self):
        return {**self.__dict__, "_samples": {}}  # memory maps are opened again in each process

    def _cut(self, kind: str, index: int, start: int, n: int) -> AudioVector:
        if kind not in self._samples:
            self._samples[kind] = self.pools[kind].samples()
        pool = self.pools[kind]
        begin = int(pool.offsets[index]) + start
        return self._samples[kind][begin : begin + n].astype(np.float32) * pool.gains[index]

    def _draw(self, rng: np.random.Generator, kind: str, n: int) -> AudioVector:
        """A piece of `n` samples, not silent where possible; short speech is followed by its group."""
        pool, (group_weights, weights) = self.pools[kind], self._weights[kind]
        members = self._members[kind][int(rng.choice(group_weights.size, p=group_weights))]
        audio = np.zeros(n, np.float32)
        for _ in range(8):
            pieces, missing = [], n
            while missing > 0:
                index = int(rng.choice(members, p=weights[members]))
                length = int(pool.lengths[index])
                if length > missing:
                    piece = self._cut(kind, index, int(rng.integers(length - missing + 1)), missing)
                elif kind == "noise":
                    piece = loop_to_length(
                        self._cut(kind, index, 0, length), missing, int(rng.integers(length))
                    )
                else:
                    pause = np.zeros(int(rng.uniform(0.05, 0.4) * self.sample_rate), np.float32)
                    piece = np.concatenate([self._cut(kind, index, 0, length), pause])[:missing]
                pieces.append(piece)
                missing -= piece.size
            audio = np.concatenate(pieces)
            if rms(audio) > _SILENCE:
                break
        return audio

    def _source(self, rng: np.random.Generator, kind: str) -> AudioVector:
        spec, n = self.spec, self.n_samples
        spread, range_db = (0.12, 4.0) if kind == "speech" else (0.5, 12.0)
        factor = rng.uniform(1 - spread, 1 + spread) if rng.random() < spec.speed else 1.0
        # Another length than one that is fast to transform may take ten times as long.
        drawn = n if factor == 1 else next_fast_len(round(n * factor), real=True) or n
        audio = degradation.change_speed(self._draw(rng, kind, drawn), n)
        if kind == "noise" and rng.random() < spec.reverse:
            audio = audio[::-1]
        if kind == "speech" and rng.random() < spec.formant_shift:
            ratio = 2 ** rng.uniform(-_FORMANT_OCTAVES, _FORMANT_OCTAVES)
            audio = degradation.formant_shift(audio, self.sample_rate, ratio=ratio)
        if rng.random() < spec.equalise:
            audio = degradation.equalise(audio, degradation.random_filter(rng))
            audio = degradation.colour(rng, audio, rng.uniform(0, range_db))
        return audio

    def _babble(self, rng: np.random.Generator) -> AudioVector:
        """Three to ten voices, none far louder than another, half of the time in a room."""
        voices = np.zeros(self.n_samples, np.float32)
        for _ in range(int(rng.integers(3, 11))):
            voice = self._draw(rng, "speech", self.n_samples)
            voices += voice * np.float32(10 ** rng.uniform(-0.5, 0) / (rms(voice) + 1e-9))
        if rng.random() < 0.5:
            voices, _ = degradation.reverberate(voices, self._room(rng), self.sample_rate)
        return voices

    def _noise(self, rng: np.random.Generator) -> AudioVector:
        spec = self.spec
        if rng.random() < spec.coloured_noise:
            noise = degradation.coloured_noise(rng, self.n_samples, rng.uniform(-0.5, 2.0))
        elif rng.random() < spec.synthetic_noise:
            noise = degradation.synthetic_noise(rng, self.n_samples, self.sample_rate)
        elif rng.random() < spec.babble:
            noise = self._babble(rng)
        else:
            noise = self._source(rng, "noise")
        if rng.random() < spec.modulate:
            noise = degradation.modulate(rng, noise, self.sample_rate)
        if rng.random() < spec.second_noise:
            second = self._source(rng, "noise")
            noise = noise / (rms(noise) + 1e-9) + second / (rms(second) + 1e-9) * 10 ** rng.uniform(-0.5, 0)
        return noise

    def _room(self, rng: np.random.Generator) -> AudioVector:
        if self.responses and rng.random() < 0.5:
            return self.responses[int(rng.integers(len(self.responses)))]
        return degradation.simulate_room(rng, self.sample_rate)

    def _level_dbfs(self, rng: np.random.Generator) -> float:
        (low, high), common = self.spec.level_dbfs, self.spec.common_level_dbfs
        return rng.uniform(low, high) if common is None or low == high else rng.triangular(low, common, high)

    def example(self, number: int) -> tuple[AudioVector, AudioVector]:
        """Mixture and target, (n_samples,) float32 each."""
        scene = self._scene(np.random.default_rng((self.seed, number)))
        if self.spec.scene_change:
            rng = np.random.default_rng((self.seed, number, 1))
            if rng.random() < self.spec.scene_change:
                return self._go_over(rng, scene, self._scene(rng))
        return scene

    def _go_over(
        self,
        rng: np.random.Generator,
        first: tuple[AudioVector, AudioVector],
        second: tuple[AudioVector, AudioVector],
    ) -> tuple[AudioVector, AudioVector]:
        """From one scene to another within 5 to 100 ms, somewhere between a tenth and nine tenths."""
        start, slope = rng.uniform(0.1, 0.9) * self.n_samples, rng.uniform(0.005, 0.1) * self.sample_rate
        share = np.clip((np.arange(self.n_samples, dtype=np.float32) - start) / slope, 0.0, 1.0)
        mixed = [before + share * (after - before) for before, after in zip(first, second, strict=True)]
        return mixed[0].astype(np.float32), mixed[1].astype(np.float32)

    def _scene(self, rng: np.random.Generator) -> tuple[AudioVector, AudioVector]:
        spec, rate = self.spec, self.sample_rate
        wet = target = self._source(rng, "speech")
        if rng.random() < spec.reverb:
            wet, target = degradation.reverberate(target, self._room(rng), rate)
        kind = rng.random()
        if kind < spec.noise_only:
            noise, wet, target = self._noise(rng), np.zeros_like(wet), np.zeros_like(target)
        elif kind < spec.noise_only + spec.clean_only:
            noise = np.zeros_like(wet)
        else:
            noise = self._noise(rng)
            level = active_rms(target, rate) / (rms(noise) + 1e-9)
            noise = noise * np.float32(level * 10 ** (-rng.uniform(*spec.snr_db) / 20))
        noisy = wet + noise
        if rng.random() < spec.band_limit:
            limits = {
                "low_hz": rng.uniform(50, 300) if rng.random() < 0.5 else 0.0,
                "high_hz": rate / 2 * (rng.uniform(0.4, 0.95) if rng.random() < 0.7 else 1.0),
                "sample_rate": rate,
            }
            noisy, target = degradation.band_limit(noisy, **limits), degradation.band_limit(target, **limits)
        if rng.random() < spec.clip:
            noisy = degradation.clip(noisy, rng.uniform(0.3, 0.9))
        gain = 10 ** (self._level_dbfs(rng) / 20) / (rms(noisy) + 1e-9)
        gain = np.float32(min(gain, 0.98 / (float(np.abs(noisy).max()) + 1e-9)))
        return (noisy * gain).astype(np.float32), (target * gain).astype(np.float32)

    def batch(self, number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Examples number·size … number·size + size - 1: two arrays (size, n_samples)."""
        pairs = [self.example(number * size + i) for i in range(size)]
        return np.stack([noisy for noisy, _ in pairs]), np.stack([clean for _, clean in pairs])


class BatchSource(Protocol):
    """What gives batch number n of a seed, and can be sent to another process."""

    def batch(self, number: int, size: int) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass(frozen=True)
class BatchShare:
    """One host's part of the batches of a training on several.

    Parameters
    ----------
    source : BatchSource
    host, hosts : int
        Batches of this host's size, taken together in the order of the hosts, are those of the source.

    Examples
    --------
    >>> class Numbers:
    ...     def batch(self, number, size):
    ...         return np.arange(number * size, (number + 1) * size), np.zeros(size)
    >>> [BatchShare(Numbers(), host, 2).batch(1, 3)[0].tolist() for host in (0, 1)]
    [[6, 7, 8], [9, 10, 11]]
    """

    source: BatchSource
    host: int
    hosts: int

    def batch(self, number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        return self.source.batch(number * self.hosts + self.host, size)


def _mix_forever(mixer: BatchSource, size: int, first: int, step: int, out: Connection) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    ready: queue.Queue = queue.Queue(maxsize=4)
    sender = threading.Thread(target=_send, args=(ready, out), daemon=True)
    sender.start()
    try:
        for number in itertools.count(first, step):
            if not _hand_over(mixer.batch(number, size), ready, sender):
                return
    except Exception as error:
        _hand_over(f"{type(error).__name__}: {error}", ready, sender)
        sender.join()


def _hand_over(item: object, ready: queue.Queue, sender: threading.Thread) -> bool:
    """Wait for room in the queue. False if the sender is gone, because nobody reads any more."""
    while sender.is_alive():
        try:
            ready.put(item, timeout=2)
            return True
        except queue.Full:
            continue
    return False


def _send(ready: queue.Queue, out: Connection) -> None:
    try:
        while True:
            item = ready.get()
            out.send(item)
            if isinstance(item, str):
                return
    except OSError:  # the parent was killed
        return


class MixtureStream:
    """An endless iterator of batches, mixed in parallel processes, in an order that does not depend on them.

    Parameters
    ----------
    mixer : Mixer, or another source of numbered batches
    batch_size : int
    workers : int
        Processes; 0 mixes in this one.
    first : int
        Number of the first batch: a resumed training goes on where it was.

    Attributes
    ----------
    waited_s : float
        Time that `next` has waited for the processes, an upper bound of what the training step waited.
    """

    work = "mixing"
    """What the processes do, in messages."""

    def __init__(self, mixer: BatchSource, *, batch_size: int, workers: int = 1, first: int = 0):
        self.mixer, self.batch_size, self.workers, self.number = mixer, batch_size, workers, first
        self.waited_s = 0.0
        self._processes, self._pipes = [], []
        context = multiprocessing.get_context("spawn")
        for i in range(workers):
            # Not a Queue: it would hold the writing end here as well, and a process killed in the middle of a
            # batch would leave the reader waiting for the rest of it.
            pipe, out = context.Pipe(duplex=False)
            process = context.Process(
                target=_mix_forever, args=(mixer, batch_size, first + i, workers, out), daemon=True
            )
            process.start()
            out.close()
            self._processes.append(process)
            self._pipes.append(pipe)
        self._first = first

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return self

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        started = time.perf_counter()
        if not self.workers:
            batch = self.mixer.batch(self.number, self.batch_size)
        else:
            batch = self._receive((self.number - self._first) % self.workers)
        self.number += 1
        self.waited_s += time.perf_counter() - started
        return batch

    def _receive(self, worker: int):
        try:
            batch = self._pipes[worker].recv()
        except (EOFError, OSError):
            raise DataError(f"a {self.work} process died (out of memory?); use fewer --workers") from None
        if isinstance(batch, str):
            raise DataError(f"{self.work} failed: {batch}")
        return batch

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
                process.join()

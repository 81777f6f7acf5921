"""Parallel recordings: (noisy, clean) pairs out of a table or out of folders, checked for alignment."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from audenoise.audio import resampled_length
from audenoise.errors import AudenoiseError, DataError

from .alignment import estimate_delay
from .excerpts import SILENCE, length_at, read_parallel
from .layouts import traits_of
from .pair_names import folder_pairs, match_folders, table_pairs
from .recordings import Recording, Skipped, describe_files, map_jobs, reason_of
from .rules import SpeakerRule

MAX_DELAY_S = 0.5
_CHECKED_S = 20.0
"""Longer recordings are compared over their first and their last so many seconds."""
_LENGTH_TOLERANCE_S = 0.02
_RELATED = 12.0
_FINEST_HZ = 16_000
"""A delay of one sample at this rate is taken for none: noise can shift the peak that far."""
_PAIR_CHUNK = 8


@dataclass(frozen=True)
class Pair:
    """A noisy recording and its clean one.

    Attributes
    ----------
    noisy, clean : Recording
    delay : int
        Samples at the noisy recording's rate that it lags the clean one; 0 if they are aligned.
    side : str or None
        "train" or "test", where the table or the folder's name says so.
    snr_db : float or None
        At which it is said to have been mixed; used where the SNR can't be measured.
    """

    noisy: Recording
    clean: Recording
    delay: int = 0
    side: str | None = None
    snr_db: float | None = None

    @property
    def delays(self) -> tuple[int, int]:
        """Samples, each at its own rate, that are left out at the beginning of the clean and of the noisy
        recording, so that both begin together."""
        ratio = self.clean.sample_rate / self.noisy.sample_rate
        return max(0, round(-self.delay * ratio)), max(0, self.delay)

    def length_at(self, sample_rate: int) -> int:
        """Samples at another rate that both recordings have."""
        left = [
            (each.n_samples - delay, each.sample_rate)
            for each, delay in zip((self.clean, self.noisy), self.delays, strict=True)
        ]
        return min(resampled_length(n, rate, sample_rate) if n > 0 else 0 for n, rate in left)


def find_pairs(
    source: str | os.PathLike[str],
    clean: str | os.PathLike[str] | None = None,
    *,
    align: bool = False,
    speakers: SpeakerRule | None = None,
    layout: str = "auto",
    jobs: int = 1,
    known: Mapping[str, Recording] | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> tuple[list[Pair], list[Skipped]]:
    """Find pairs of noisy and clean recordings and check that they belong together and are aligned.

    Parameters
    ----------
    source : path-like
        A CSV file with columns `noisy` and `clean` (paths, from the CSV's folder on), and, if wanted, `side`
        (train or test), `speaker` and `label`; or a folder with pairs of folders that are named alike but for
        "noisy" and "clean", such as VoiceBank+DEMAND's noisy_trainset_28spk_wav and clean_trainset_28spk_wav,
        where "test" in a folder's name makes it the test side; or, with `clean`, the folder of noisy files.
        The class of noise is read from VoiceBank+DEMAND's logs (log_trainset_28spk.txt, log_testset.txt) if
        they lie beside the folders, or in a folder logfiles there.
    clean : path-like, optional
        The folder of clean files, which are named as the noisy ones, or like DNS's ``fileid_7``.
    align : bool
        Take pairs with a constant delay too, and note the delay, and those whose lengths differ by up to
        half a second. Without it they are skipped.
    speakers : SpeakerRule, optional
        Applied to the clean recordings.
    layout, jobs, known, on_progress
        As for `find_recordings`.

    Returns
    -------
    pairs : list of Pair
        Sorted by the noisy path (in a table's order).
    skipped : list of Skipped
        Noisy files whose pair can't be used: a file is missing or damaged, lengths differ by more than 20 ms,
        one is silent, they have nothing in common, or a delay (constant, or drifting). Logs with lines that
        can't be read.

    Raises
    ------
    DataError
        If there are no pairs at all, or the table lacks a column.
    """
    source = Path(os.path.abspath(source))
    if clean is not None:
        named, skipped = match_folders(source, Path(os.path.abspath(clean)), None)
    elif source.is_dir():
        named, skipped = folder_pairs(source)
    else:
        named, skipped = table_pairs(source)
    if not named:
        raise DataError(f"{source}: holds no pair of a noisy and a clean recording")
    known = known or {}
    wanted = list(dict.fromkeys(path for each in named for path in (each.noisy, each.clean)))
    described: dict[Path, Recording | Skipped] = {p: known[str(p)] for p in wanted if str(p) in known}
    new = describe_files(
        [path for path in wanted if path not in described], jobs=jobs, on_progress=on_progress
    )
    described.update((each.path, each) for each in new)
    traits = traits_of([each.clean for each in named], layout)

    pairs: list[Pair] = []
    for each in named:
        noisy, good = described[each.noisy], described[each.clean]
        bad = next((one for one in (noisy, good) if isinstance(one, Skipped)), None)
        if bad is not None or isinstance(noisy, Skipped) or isinstance(good, Skipped):
            other = "" if bad is noisy or bad is None else f"its clean recording {bad.path}: "
            skipped.append(Skipped(each.noisy, f"{other}{bad.reason if bad else ''}"))
            continue
        trait = traits[each.clean]
        good = replace(good, speaker=each.speaker or trait.speaker, group=trait.group)
        pairs.append(Pair(replace(noisy, label=each.label), good, side=each.side, snr_db=each.snr_db))
    if speakers is not None:
        roots = {pair.clean.path: Path(os.path.abspath(clean or source)) for pair in pairs}
        roots = {path: root if root in path.parents else path.parent for path, root in roots.items()}
        voices = speakers.apply([pair.clean for pair in pairs], roots)
        pairs = [replace(pair, clean=voice) for pair, voice in zip(pairs, voices, strict=True)]
    chunks = [pairs[i : i + _PAIR_CHUNK] for i in range(0, len(pairs), _PAIR_CHUNK)]
    checked: dict[Path, Pair | Skipped] = {}
    for done in map_jobs(partial(_check_all, align=align), chunks, jobs):
        checked.update(done)
        if on_progress is not None:
            on_progress(len(done))
    results = [checked[pair.noisy.path] for pair in pairs]
    skipped += [each for each in results if isinstance(each, Skipped)]
    return [each for each in results if isinstance(each, Pair)], skipped


def _check_all(pairs: Sequence[Pair], *, align: bool) -> list[tuple[Path, Pair | Skipped]]:
    return [(pair.noisy.path, check_pair(pair, align=align)) for pair in pairs]


def check_pair(pair: Pair, *, align: bool = False) -> Pair | Skipped:
    """The pair with its delay, or why it can't be used (see `find_pairs`)."""

    def refuse(reason: str) -> Skipped:
        return Skipped(pair.noisy.path, f"{reason} (clean: {pair.clean.path})")

    rate = min(pair.noisy.sample_rate, pair.clean.sample_rate)
    lengths = [length_at(each, rate) for each in (pair.clean, pair.noisy)]
    longest = round(MAX_DELAY_S * rate)
    apart = abs(lengths[0] - lengths[1])
    if apart > _LENGTH_TOLERANCE_S * rate and not (align and apart <= longest):
        return refuse(
            f"lengths differ: noisy {pair.noisy.duration_s:.3f} s, clean {pair.clean.duration_s:.3f} s"
        )
    n_samples, size = min(lengths), round(_CHECKED_S * rate)
    if n_samples < 1:
        return refuse("holds no samples at the other one's rate")
    delays = []
    for start in (0,) if n_samples <= 2 * size else (0, n_samples - size):
        n = min(n_samples, size) if start or n_samples > 2 * size else n_samples
        try:
            first, second = read_parallel(
                pair.clean, pair.noisy, start=start, n_samples=n, sample_rate=rate, delays=(0, 0)
            )
        except AudenoiseError as error:
            return Skipped(pair.noisy.path, reason_of(error, pair.noisy.path))
        if min(abs(first).max(), abs(second).max()) < SILENCE:
            continue
        found = estimate_delay(first, second, min(longest, max(1, n - 1)))
        if found.contrast < _RELATED:
            return refuse("noisy and clean have nothing in common")
        delays.append(found.delay)
    if not delays:
        return refuse("the noisy or the clean recording is silent")
    finest = max(1, round(rate / _FINEST_HZ))
    if max(delays) - min(delays) > finest:
        return refuse(f"drifts: the delay goes from {delays[0] / rate:.4f} s to {delays[-1] / rate:.4f} s")
    delay = delays[0] if abs(delays[0]) > finest else 0
    if delay and not align:
        lag = "lags" if delay > 0 else "leads"
        return refuse(f"{lag} the clean one by {abs(delay)} samples at {rate} Hz; align shifts it back")
    return replace(pair, delay=round(delay * pair.noisy.sample_rate / rate))

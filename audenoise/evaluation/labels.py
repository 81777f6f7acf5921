"""What is known about the noise of pairs: from a table of the user's, or from VoiceBank+DEMAND's logs."""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from audenoise.errors import DataError
from audenoise.sources.pair_names import noise_logs, read_noise_logs

from .pairs import Pair, number_in, stem_of

LABEL_COLUMNS = ("label", "noise_class", "class", "noise_kind", "noise_type", "noise")
"""Where a table says of which class the noise is; the first of these that it has is taken."""


@dataclass(frozen=True)
class Label:
    """What a table says about a pair."""

    label: str | None
    snr_db: float | None


def read_labels(path: str | os.PathLike[str], *, column: str | None = None) -> dict[str, Label]:
    """Read a table that says of which class each noise is and at which SNR it was mixed.

    Parameters
    ----------
    path : path-like
        CSV with a header: `name` (or `file`, `filename`, `noisy`), and at least one of `snr_db` (or `snr`)
        and a column of `LABEL_COLUMNS`.
    column : str, optional
        The column of the class, in place of the first of `LABEL_COLUMNS`.

    Returns
    -------
    dict
        By name without the suffix of an audio file.

    Raises
    ------
    DataError
        If the table can't be read or lacks these columns.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, there = list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable table: {error}") from error
    name = next((each for each in ("name", "file", "filename", "noisy") if each in there), None)
    snr = next((each for each in ("snr_db", "snr") if each in there), None)
    kind = column or next((each for each in LABEL_COLUMNS if each in there), None)
    if name is None:
        raise DataError(f"{path}: needs a column name. Columns: {', '.join(there)}")
    if column is not None and column not in there:
        raise DataError(f"{path}: has no column {column}. Columns: {', '.join(there)}")
    if snr is None and kind is None:
        raise DataError(
            f"{path}: needs snr_db or one of {', '.join(LABEL_COLUMNS)}. Columns: {', '.join(there)}"
        )
    return {
        stem_of(row[name] or ""): Label(
            row[kind] or None if kind else None, number_in(row[snr]) if snr else None
        )
        for row in rows
    }


def apply_labels(pairs: Sequence[Pair], labels: Mapping[str, Label]) -> tuple[list[Pair], list[str]]:
    """Give pairs what a table says about them; return them and the names of those that it doesn't have.

    Matched is the path in the folder, or else the file's name alone.
    """
    labelled, unknown = [], []
    for pair in pairs:
        stem = stem_of(pair.name)
        found = labels.get(stem) or labels.get(PurePath(stem).name)
        if found is None:
            unknown.append(pair.name)
        labelled.append(pair if found is None else replace(pair, label=found.label, snr_db=found.snr_db))
    return labelled, unknown


def apply_noise_logs(pairs: Sequence[Pair], noisy: str | os.PathLike[str]) -> tuple[list[Pair], list[str]]:
    """Give pairs the class of noise and the SNR of VoiceBank+DEMAND's logs, where there are such.

    Parameters
    ----------
    pairs : sequence of Pair
        As `find_pairs` returns them.
    noisy : path-like
        The folder of the noisy recordings, such as noisy_testset_wav, or one file in it. The logs
        (log_testset.txt, with lines such as ``p232_001 bus 17.5``) lie beside the folder, or in a folder
        logfiles there or one level up, as for `audenoise.sources.find_pairs`.

    Returns
    -------
    pairs : list of Pair
    notes : list of str
        Where the classes come from, and what is wrong with a log; empty if there is none.
    """
    folder = Path(os.path.abspath(noisy))
    logs = noise_logs(folder.parent if folder.is_file() else folder)
    found, problems = read_noise_logs(logs)
    labelled, known = [], 0
    for pair in pairs:
        about = found.get(PurePath(stem_of(pair.name)).name.lower())
        known += about is not None
        labelled.append(pair if about is None else replace(pair, label=about[0], snr_db=about[1]))
    notes = [f"{each.path}: {each.reason}" for each in problems]
    if known:
        where = ", ".join(map(str, logs))
        notes.insert(0, f"class of noise and SNR of {known} of {len(pairs)} pairs are those of {where}")
    return labelled, notes

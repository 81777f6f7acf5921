"""A saved dataset for tests, written by TensorFlow itself from waveforms that are known."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from recordings import hiss, voice

from audenoise.spectral import make_window, stft

RATE = 8000
SCALE = 2.0**15
STFT: dict[str, Any] = {"n_fft": 128, "hop_length": 64, "win_length": 128, "window": "sqrt_hann"}


def mixture(number: int, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Noisy and clean number `number`, float32, levels far apart."""
    rng = np.random.default_rng(number)
    clean = voice(seconds, RATE, seed=number) * np.float32(10 ** rng.uniform(-1, 0))
    noise = hiss(seconds, RATE, seed=number + 1000) * np.float32(10 ** rng.uniform(-1, 0))
    return clean + noise, clean


def spectra(audio: np.ndarray, sizes: dict[str, Any]) -> np.ndarray:
    """(frames, bins, 2) float16, as a dataset stores it."""
    window = make_window(sizes["window"], sizes["win_length"])
    spectrum = stft(audio, **sizes).T * np.float32(SCALE / window.sum())
    return np.stack([spectrum.real, spectrum.imag], axis=-1).astype(np.float16)


def write_side(
    folder: Path, pairs: list[tuple[np.ndarray, np.ndarray]], *, shards: int, sizes: dict[str, Any]
) -> None:
    """Write pairs as TensorFlow saves them, each to the shard that `shard_of` says."""
    import tensorflow as tf

    tensor = tf.TensorSpec((None, sizes["n_fft"] // 2 + 1, 2), tf.float16)

    # Before: `save` waits for ever for a generator that raises.
    stored = [(spectra(noisy, sizes), spectra(clean, sizes)) for noisy, clean in pairs]
    dataset = tf.data.Dataset.from_generator(lambda: iter(stored), output_signature=(tensor, tensor))

    def shard(noisy: Any, _clean: Any) -> Any:
        return tf.math.floormod(tf.reduce_sum(tf.cast(noisy > 0, tf.int64)), shards)  # pyright: ignore

    save: Any = dataset.save  # annotated for other functions than it takes
    save(str(folder), shard_func=shard)


def shard_of(pair: tuple[np.ndarray, np.ndarray], shards: int, sizes: dict[str, Any]) -> int:
    """By the number of positive numbers in the noisy spectrogram: anything that spreads them will do."""
    return int(np.sum(spectra(pair[0], sizes) > 0)) % shards


def row_of(
    side: str, number: int, pair: tuple[np.ndarray, np.ndarray], sizes: dict[str, Any]
) -> dict[str, Any]:
    """A line of the table of items, as if every item had a speech recording of its own."""
    noisy, clean = pair
    digests = [hashlib.sha256(spectra(audio, sizes).tobytes()).hexdigest() for audio in pair]
    return {
        "item": number,
        "shard": 0,
        "clean": f"/speech/{side}/{number}.wav",
        "clean_offset_s": 0.0,
        "noise": f"/noise/{side}/{number % 3}.wav",
        "noise_offset_s": 0.5 * number,
        "label": f"class{number % 3}",
        "speaker": f"{side}-{number % 2}",
        "snr_db": 5.0 * (number % 4),
        "noise_ratio": 0.5,
        "duration_s": noisy.size / RATE,
        "noisy_peak": float(np.abs(noisy).max()),
        "clean_rms_db": float(10 * np.log10(np.mean(np.square(clean)) + 1e-20)),
        "sha256": digests[0],
        "samples": noisy.size,
        "clean_sha256": digests[1],
    }


def sources_of(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = {}
    for kind, key in (("clean", "speaker"), ("noise", "label")):
        for row in table:
            about = {"kind": kind, "path": row[kind], "sha256": f"of {row[kind]}", "duration_s": 1.0}
            found[row[kind]] = {**about, key: row[key]}
    return list(found.values())


def write_dataset(
    folder: Path,
    sides: dict[str, list[tuple[np.ndarray, np.ndarray]]],
    *,
    shards: int = 3,
    sizes: dict[str, Any] | None = None,
    rows: dict[str, dict[int, dict[str, Any]]] | None = None,
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Write a finished dataset; returns the pairs of each side in the order of its items.

    `rows` replaces cells: side → number of the item → column → value.
    """
    folder.mkdir(parents=True)
    sizes, about, ordered = sizes or STFT, {}, {}
    for side, pairs in sides.items():
        write_side(folder / side, pairs, shards=shards, sizes=sizes)
        # Sorting keeps the order within a shard.
        ordered[side] = sorted(pairs, key=lambda pair: shard_of(pair, shards, sizes))
        used = len({shard_of(pair, shards, sizes) for pair in pairs})
        table = [
            {**row_of(side, i, pair, sizes), **(rows or {}).get(side, {}).get(i, {})}
            for i, pair in enumerate(ordered[side])
        ]
        with (folder / f"{side}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
        snr_db = [row["snr_db"] for row in table]
        labels = [row["label"] for row in table]
        about[side] = {
            "items": len(table),
            "hours": sum(row["duration_s"] for row in table) / 3600,
            "shards": used,
            "bytes": sum(path.stat().st_size for path in (folder / side).rglob("*.snapshot")),
            "checksum": hashlib.sha256(
                "".join(row["sha256"] + row["clean_sha256"] for row in table).encode()
            ).hexdigest(),
            "snr_db": {
                "edges": [0, 5, 10, 15, 20],
                "counts": np.histogram(snr_db, [0, 5, 10, 15, 20])[0].tolist(),
            },
            "labels": {label: labels.count(label) for label in sorted(set(labels))},
            "sources": sources_of(table),
        }
    spec = {"sample_rate": RATE, "stft": sizes, "dtype": "float16", "scale": SCALE, "seed": 0}
    description = {"format_version": 1, "complete": True, "spec": spec, "sides": about, "skipped": []}
    (folder / "dataset.json").write_text(json.dumps(description))
    return ordered

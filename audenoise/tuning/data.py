"""What trials are trained and scored on: the same held-out audio for all of them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audenoise.corpus import TrainingFolders, make_mixers, training_stream
from audenoise.datasets import DatasetInfo
from audenoise.datasets.feeding import (
    DatasetStream,
    StoredSide,
    check_fit,
    open_side,
    training_reader,
    validation_examples,
)
from audenoise.durations import in_words
from audenoise.errors import DataError
from audenoise.mixtures import MixtureStream
from audenoise.spaces import Space
from audenoise.specs import ModelSpec

Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class SearchData:
    """Folders of recordings, or a saved dataset.

    Attributes
    ----------
    folders : TrainingFolders, optional
    dataset : Path, optional
        Used if there are no folders.
    cache : Path
        Where the folders' decoded audio is kept.
    workers : int
        Processes that mix or read for one trial.
    """

    folders: TrainingFolders | None
    dataset: Path | None
    cache: Path
    workers: int = 1

    def check(self, space: Space) -> None:
        """Refuse a space that this data can't serve.

        Raises
        ------
        DataError
            If it searches the spectrogram of a saved dataset, which has one already.
        """
        if self.folders is not None:
            return
        for item in space.hyperparameters:
            keys = [*(item.keys or {}), *(key for _, settings in item.options for key in settings)]
            for key in keys:
                if key.partition(".")[0] in ("stft", "mixing"):
                    raise DataError(
                        f"{self.dataset}: a saved dataset has its spectrograms and mixtures already, so that "
                        f"{key} can't be searched on it; use --clean and --noise"
                    )

    def prepare(self, base: ModelSpec) -> tuple[str, list[str]]:
        """Decode what is not decoded yet.

        Returns
        -------
        fingerprint : str
            Differs where the data does: scores on other data can't be compared.
        lines : list of str
            What there is, and what had to be left out.

        Raises
        ------
        DataError
            If there is nothing to train on, or the dataset doesn't fit the base spec.
        """
        digest = hashlib.sha256()
        if self.folders is None:
            train, test = _dataset_sides(self.dataset, base)
            for side in (train, test):
                digest.update(np.ascontiguousarray(side.index.frames).tobytes())
            lines = [
                f"training on {in_words(train.seconds)} of mixtures, validating on {in_words(test.seconds)}"
            ]
        else:
            mixers = make_mixers(base, self.folders, cache=self.cache, jobs=max(1, self.workers))
            for mixer in (mixers.train, mixers.validation):
                for kind in sorted(mixer.pools):
                    digest.update(np.ascontiguousarray(mixer.pools[kind].lengths).tobytes())
            amounts = {kind: in_words(pool.seconds) for kind, pool in mixers.train.pools.items()}
            lines = [f"left out: {line}" for line in mixers.skipped]
            lines.append(f"training on {amounts['speech']} of speech and {amounts['noise']} of noise")
        return digest.hexdigest()[:12], lines

    def validation(self, base: ModelSpec) -> Batch:
        """Held-out (noisy, clean), (examples, samples) each: those of the base spec, for every trial."""
        if self.folders is None:
            return validation_examples(_dataset_sides(self.dataset, base)[1], base)
        mixers = make_mixers(base, self.folders, cache=self.cache, jobs=max(1, self.workers))
        return mixers.validation.batch(0, base.training.validation_mixtures)

    def stream(self, spec: ModelSpec, epoch: int) -> MixtureStream:
        """Endless batches of a trial, from an epoch on."""
        if self.folders is None:
            return DatasetStream(
                training_reader(_dataset_sides(self.dataset, spec)[0], spec),
                batch_size=spec.training.batch_size,
                workers=self.workers,
                first=epoch * spec.training.steps_per_epoch,
            )
        mixers = make_mixers(spec, self.folders, cache=self.cache, jobs=max(1, self.workers))
        return training_stream(mixers, spec, workers=self.workers, epoch=epoch)


def _dataset_sides(dataset: Path | None, spec: ModelSpec) -> tuple[StoredSide, StoredSide]:
    if dataset is None:
        raise DataError("neither folders nor a dataset to search on")
    info = DatasetInfo.read(dataset)
    check_fit(info, spec)
    if "test" not in info.sides:
        raise DataError(f"{dataset}: has nothing held out to validate on; build it with a --test-split")
    return open_side(info, "train"), open_side(info, "test")

"""What a dataset is made from: the folders that a person names, and the recordings of a side."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audenoise.errors import DataError

from .excerpts import length_at
from .pairs import Pair
from .recordings import Recording


@dataclass(frozen=True)
class Inputs:
    """Where recordings come from: clean speech and noise, or parallel recordings.

    Attributes
    ----------
    clean, noise, rir : tuple of Path
        Folders to mix from; `rir` holds room impulse responses.
    test_clean, test_noise : tuple of Path
        Folders of the test side, in place of holding some out of the others.
    pairs : Path or None
        CSV or folder of pairs, see `find_pairs`.
    noisy : Path or None
        Folder of noisy recordings, whose clean ones are in `clean`.
    noise_labels : Path or None
        CSV with the class of each noise.
    """

    clean: tuple[Path, ...] = ()
    noise: tuple[Path, ...] = ()
    rir: tuple[Path, ...] = ()
    test_clean: tuple[Path, ...] = ()
    test_noise: tuple[Path, ...] = ()
    pairs: Path | None = None
    noisy: Path | None = None
    noise_labels: Path | None = None

    @property
    def parallel(self) -> bool:
        """Whether there is nothing to mix."""
        return self.pairs is not None or self.noisy is not None

    def check(self) -> None:
        """Refuse what doesn't fit together.

        Raises
        ------
        DataError
        """
        if self.pairs is not None and (self.clean or self.noisy):
            raise DataError("pairs: a table or folder of pairs says all; leave clean and noisy out")
        if self.parallel and (self.noise or self.rir or self.test_clean or self.test_noise):
            raise DataError("noise: pairs are noisy already; give either pairs, or clean speech and noise")
        if self.noisy is not None and len(self.clean) != 1:
            raise DataError("noisy: needs one folder of clean recordings beside it")
        if not self.parallel and not (self.clean and self.noise):
            missing = "noise" if self.clean else "clean speech"
            raise DataError(f"{missing}: give a folder of it (clean speech and noise, or pairs)")

    def to_dict(self) -> dict[str, Any]:
        """Absolute paths, for a dataset's JSON."""

        def absolute(value: Any) -> Any:
            if isinstance(value, tuple):
                return [os.path.abspath(each) for each in value]
            return None if value is None else os.path.abspath(value)

        return {name: absolute(getattr(self, name)) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class Side:
    """The recordings of one side: either speech, noises and responses, or pairs."""

    speech: tuple[Recording, ...] = ()
    noises: tuple[Recording, ...] = ()
    responses: tuple[Recording, ...] = ()
    pairs: tuple[Pair, ...] = ()

    def lengths(self, sample_rate: int) -> list[int]:
        """Samples of each recording that items are cut from."""
        if not self.pairs:
            return [length_at(each, sample_rate) for each in self.speech]
        return [each.length_at(sample_rate) for each in self.pairs]

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            name: [_plain(asdict(each)) for each in getattr(self, name)] for name in self.__dataclass_fields__
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Side":
        """The side that `to_dict` made a dictionary of."""
        lists = {
            name: tuple(_recording(each) for each in data[name]) for name in ("speech", "noises", "responses")
        }
        pairs = tuple(
            Pair(
                _recording(each["noisy"]),
                _recording(each["clean"]),
                each["delay"],
                each["side"],
                each.get("snr_db"),
            )
            for each in data["pairs"]
        )
        return cls(**lists, pairs=pairs)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return str(value) if isinstance(value, Path) else value


def _recording(data: Mapping[str, Any]) -> Recording:
    return Recording(**{**data, "path": Path(data["path"])})

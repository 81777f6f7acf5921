"""The folder of a dataset while it is being built: whose it is, what was asked for, what is known already."""

import errno
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audenoise.errors import AudenoiseError, DataError
from audenoise.locks import only_one
from audenoise.sources.parts import write_text
from audenoise.sources.recordings import Recording

from .info import BUILDING, INFO_FILE


class Workplace:
    """`OUT/.building`: everything unfinished is in there.

    Parameters
    ----------
    out : Path
        The dataset's folder.
    request : dict
        All that decides what the dataset holds. A build continues only one with the same request.
    """

    def __init__(self, out: Path, request: Mapping[str, Any]) -> None:
        self.out, self.request = out, json.loads(json.dumps(request))
        self.folder = out / BUILDING
        self.is_new = False

    def is_finished(self) -> bool:
        """Whether the dataset is there already, built from the same request.

        Raises
        ------
        DataError
            If `out` holds something else: another dataset, another unfinished one, or other files.
        """
        done = _read_json(self.out / INFO_FILE)
        if done is not None:
            before = {**done.get("spec", {}), **done.get("inputs", {})}
            self._refuse_other(before, "holds a dataset", "Give the same options")
            return True
        begun = _read_json(self.folder / "request.json")
        if begun is not None:
            self._refuse_other(begun, "holds an unfinished dataset", "Give the same options to continue it")
            return False
        if self.out.exists() and (
            not self.out.is_dir() or any(p.name != BUILDING for p in self.out.iterdir())
        ):
            raise DataError(f"{self.out}: exists and is no dataset; choose another folder")
        return False

    def _refuse_other(self, before: Mapping[str, Any], what: str, advice: str) -> None:
        old, new = _flat(before), _flat(self.request)
        differ = [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]
        if differ:
            listed = "; ".join(
                f"{key} was {_short(old.get(key))}, is {_short(new.get(key))}" for key in differ[:5]
            )
            more = f" and {len(differ) - 5} more" if len(differ) > 5 else ""
            raise DataError(
                f"{self.out}: {what} that was asked for otherwise: {listed}{more}. {advice}, another folder, "
                "or remove this one to start over"
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, or take it over from a build that was interrupted, for this process alone."""
        self.is_new = not (self.folder / "request.json").is_file()
        made = not self.out.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.out}: can't be made ({error.strerror})") from None
        refusal = DataError(f"{self.out}: another process is building this dataset; wait for it")
        with only_one(self.folder / "lock", refusal):
            write_text(self.folder / "request.json", json.dumps(self.request, indent=1))
            _remove_leftovers(self.folder)
            try:
                yield
            except AudenoiseError:
                if self.is_new and not (self.folder / "blueprint.json").is_file():
                    self.clear()
                    if made:
                        self.out.rmdir()
                raise

    def clear(self) -> None:
        """Remove all that was unfinished."""
        shutil.rmtree(self.folder)

    def known(self) -> dict[str, Recording]:
        """What an earlier attempt found out about files that have not changed since."""
        found: dict[str, Recording] = {}
        for entry in _read_json(self.folder / "scan.json") or []:
            path = Path(entry["path"])
            try:
                stat = path.stat()
            except OSError:
                continue
            if [stat.st_size, stat.st_mtime_ns] == entry.pop("stat"):
                found[str(path)] = Recording(**{**entry, "path": path})
        return found

    def remember(self, recordings: Sequence[Recording]) -> None:
        """Keep what is known for `known`."""
        entries = []
        for each in recordings:
            stat = each.path.stat()
            entry = {**asdict(each), "path": str(each.path), "stat": [stat.st_size, stat.st_mtime_ns]}
            entries.append({**entry, "speaker": None, "label": None, "group": None})
        write_text(self.folder / "scan.json", json.dumps(entries))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            return None
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise DataError(f"{path}: is damaged; remove the folder and build the dataset again") from None


def _flat(data: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(data, Mapping):
        return {key: data}
    flat: dict[str, Any] = {}
    for name, value in data.items():
        flat.update(_flat(value, f"{key}.{name}" if key else str(name)))
    return flat


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _remove_leftovers(folder: Path) -> None:
    """What a killed process was writing."""
    for path in folder.rglob("*.partial*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

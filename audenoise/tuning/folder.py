"""The folder of a search: begun or gone on with, by one process at a time."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from audenoise.errors import AudenoiseError
from audenoise.locks import only_one
from audenoise.searches.records import FORMAT_VERSION, SearchFolder, read_description, write_json
from audenoise.tuning.settings import SearchSettings, planned


def open_folder(
    out: Path, settings: SearchSettings, identity: dict[str, str], *, report: Callable[[str], object]
) -> tuple[SearchFolder, str]:
    """Begin a search in a folder, or go on with the one that is there.

    Returns
    -------
    folder : SearchFolder
    search_id : str
        Tells this search from others with the same settings.

    Raises
    ------
    AudenoiseError
        If the folder holds something else, or a search with other settings.
    """
    folder = SearchFolder(out)
    if folder.description.exists():
        stored = read_description(folder)
        for key, value in identity.items():
            theirs = stored["identity"].get(key)
            if theirs == value:
                continue
            if key in ("audenoise", "keras-tuner"):
                report(f"{out}: goes on with {key} {value}; it was begun with {theirs}")
                continue
            raise AudenoiseError(
                f"{out}: holds a search with another {key} ({theirs}, not {value}); give the same one to "
                "go on with it, or choose another --out"
            )
        search_id = stored["search_id"]
    else:
        others = (
            [path.name for path in out.iterdir() if path.name not in ("cache", "search.lock")]
            if out.is_dir()
            else []
        )
        if others:
            raise AudenoiseError(f"{out}: is not empty and holds no search; choose another --out")
        search_id = uuid.uuid4().hex
    write_json(
        folder.description,
        {
            "format_version": FORMAT_VERSION,
            "search_id": search_id,
            "identity": identity,
            "algorithm": settings.algorithm,
            "objective": str(settings.objective),
            "weights": dict(settings.objective.weights),
            "budget": {
                "parameters": settings.budget.parameters,
                "macs_per_second": settings.budget.macs_per_second,
            },
            "planned_trials": planned(settings)[0],
            "seed": settings.seed,
            "space": settings.space.to_dict(),
        },
    )
    return folder, search_id


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Give out the trials of a search in this folder, for this process alone.

    Raises
    ------
    AudenoiseError
        If another process does.
    """
    out.mkdir(parents=True, exist_ok=True)
    refusal = AudenoiseError(f"{out}: another search is running there; wait for it or choose another --out")
    with only_one(out / "search.lock", refusal, patience_s=0.0):
        yield

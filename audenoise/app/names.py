"""Names of uploads. They are shown and given back, and never become a path on this machine."""

import unicodedata
from collections.abc import Iterable

_LONGEST = 100
_RESERVED = set('<>:"/\\|?*')
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def safe_name(name: str) -> str:
    """Turn what a browser calls a file into a plain name that any system can save.

    Parameters
    ----------
    name : str
        Anything.

    Returns
    -------
    str
        1 to 100 characters without folders, control characters, and what Windows forbids.

    Examples
    --------
    >>> safe_name("../../etc/passwd"), safe_name("C:\\\\talks\\\\a\\nb.wav"), safe_name("...")
    ('passwd', 'ab.wav', 'recording')
    >>> safe_name("con.wav"), safe_name("Größe 5 µm.flac")
    ('_con.wav', 'Größe 5 µm.flac')
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    # Marks that turn the direction of writing make "exe.wav" out of "vaw.exe".
    kept = "".join(
        each for each in last if each not in _RESERVED and unicodedata.category(each)[0] != "C"
    ).strip(" .")
    stem, dot, suffix = kept.rpartition(".")
    if len(kept) > _LONGEST:
        kept = (
            stem[: _LONGEST - 1 - len(suffix)] + dot + suffix
            if stem and len(suffix) < 10
            else kept[:_LONGEST]
        )
    if kept.partition(".")[0].lower() in _DEVICES:
        kept = f"_{kept}"
    return kept or "recording"


def result_name(name: str, suffix: str, *, mark: str = "_denoised") -> str:
    """Name of the result for a recording.

    >>> result_name("talk.WAV", ".wav"), result_name("talk", ".mp3", mark="_enhanced")
    ('talk_denoised.wav', 'talk_enhanced.mp3')
    """
    safe = safe_name(name)
    stem, dot, ending = safe.rpartition(".")
    # "No. 5 take" has no suffix.
    return f"{stem if dot and stem and ending.isalnum() and len(ending) <= 5 else safe}{mark}{suffix}"


def unique_names(names: Iterable[str]) -> list[str]:
    """Number names that are there already, capitals or not, as an unpacked zip needs it.

    >>> unique_names(["a.wav", "b.wav", "A.wav", "a.wav"])
    ['a.wav', 'b.wav', 'A (2).wav', 'a (3).wav']
    """
    seen: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        while candidate.lower() in seen:
            number += 1
            stem, dot, suffix = name.rpartition(".")
            candidate = f"{stem} ({number}){dot}{suffix}" if dot else f"{name} ({number})"
        seen.add(candidate.lower())
        unique.append(candidate)
    return unique

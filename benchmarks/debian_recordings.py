#!/usr/bin/env python3
# pyright: reportMissingImports=false
"""Make folders of speech and noise to train on, from freely licensed Debian packages (games, prompts).

    pip install av
    python benchmarks/debian_recordings.py recordings      # on Debian or Ubuntu; needs no root
    audenoise train --clean recordings/clean --noise recordings/noise …

Some hours of speech in some forty languages, mostly single words and short lines, and some hours of effects,
ambiences and music. Recordings with noise in the pauses, or that the bundled denoiser would change
much, are no clean speech and are left out; short ones of one voice are joined. `recordings/SOURCES.md` has
each package with its version, its amount, and the licence in its copyright file.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from scipy.signal import butter, sosfiltfilt

HIGHEST_RATE = 48000
SUFFIXES = {".ogg", ".wav", ".opus", ".flac", ".g722"}
PIECE_S, PAUSE_S = 25.0, (0.15, 0.6)
RUMBLE_HZ = 60.0
"""Many of the speech recordings have a voltage offset, or rumble, below what a voice has."""
LEVEL_DBFS = -20.0
"""Of the loud frames of speech, before pieces are joined."""
CLEAN_RANGE_DB, CLEAN_SDR_DB = 42.0, 18.0
CLIPPED_SHARE = 0.006


@dataclass(frozen=True)
class Source:
    """Recordings of a package.

    Attributes
    ----------
    package : str
    inside : str
        Pattern of the paths, in the package or in an archive in it.
    voice : str
        Pattern whose match in the path tells one voice (or kind of noise) from another.
    licence : str
        Of the recordings, as the package's copyright file has it.
    seconds : float, optional
        At most this much of each recording: music would else outweigh the rest.
    """

    package: str
    inside: str
    voice: str
    licence: str
    seconds: float | None = None


SPEECH = (
    *(
        Source(f"asterisk-core-sounds-{language}-g722", "", r"sounds/[^/]+", licence)
        for language, licence in {
            "en": "CC BY-SA 3.0, Allison Smith",
            "es": "CC BY-SA 3.0, Allison Smith",
            "fr": "CC BY-SA 3.0, June Wallack",
            "it": "CC BY 3.0, Carlo Flora (segreterietelefoniche.it)",
            "ru": "CC BY 3.0, Maxim",
        }.items()
    ),
    Source("klettres-data", "klettres/", r"klettres/[^/]+", "GPL-2+, KLettres authors"),
    Source("ktuberling-data", "sounds/", r"sounds/[^/]+", "GPL-2+, KTuberling authors"),
    Source("gcin-voice", "", r"\d\.ogg", "GPL-3 or LGPL-3, Edward Der-Hua Liu; CC BY 3, ChionMeilin"),
    Source("hedgewars-data", "Sounds/voices/(?!Robot|Singer)", r"voices/[^/]+", "GFDL 1.3, Andrey Korotaev"),
    Source("0ad-data", "audio/voice/", r"voice/[^/]+", "CC BY-SA 3.0, Wildfire Games"),
    Source("festvox-ru", "msu_ru_nsh_clunits/wav/", r"msu_ru_nsh", "MIT-like, Nickolay V. Shmyrev"),
    Source(
        "fillets-ng-data-nl",
        "sound/",
        r"-[mv]-",  # the small fish and the big one
        "GPL-2, Danihelka brothers, ALTAR interactive and others",
    ),
    Source(
        "tuxpaint-stamps-default",
        "_desc_(be|bg|da|el|es|ro|ru)",
        r"_desc_[a-z]+",
        "GPL-2, Bill Kendrick and others",
    ),
)
NOISE = (
    Source(
        "0ad-data",
        "audio/(ambient|attack|resource|actor/(fauna|human/movement|mounted|ship|singlesteps|gate)|interface/"
        "(complete|select))/",
        r"audio/[^/]+/[^/]+(/[^/]+)?(?=/)",
        "CC BY-SA 3.0, Wildfire Games",
        60.0,
    ),
    Source("0ad-data", "audio/music/", r"music/[^/]+", "CC BY-SA 3.0, Wildfire Games", 20.0),
    Source(
        "ufoai-sound",
        "sound/(ambience|doors|footsteps|geoscape|impact|ugv|weapons|misc)/",
        r"sound/[^/]+",
        "GPL-2+, CC BY 3.0 and CC BY-SA 3.0, the UFO:AI team and others",
        30.0,
    ),
    Source(
        "nexuiz-data",
        "sound/(ambient|desertfactory|weapons|misc)/",
        r"sound/[^/]+",
        "GPL-2+, Alientrap",
        30.0,
    ),
    Source("fillets-ng-data", "music/", r"music/[^/]+", "GPL-2, ALTAR interactive and others", 20.0),
    Source(
        "minetest-data", "minetest_game/mods/", r"mods/[^/]+", "CC BY-SA 3.0, CC BY 3.0, Minetest authors"
    ),
    Source("scorched3d-data", "wav/", r"wav/[^/]+", "GPL-2+, CC BY-SA 3.0, public domain, Gavin Camp", 30.0),
    Source(
        "openarena-data",
        "sound/(items|misc|movers|player/footsteps|weapons|world)",
        r"sound/[^/]+",
        "GPL-2+, OpenArena contributors",
        30.0,
    ),
    Source(
        "megaglest-data",
        "(commondata/sounds|water_sounds|menu/sound|music)/",
        r"(commondata|water_sounds|menu|music)",
        "CC BY-SA 3.0, the MegaGlest Team and others",
        20.0,
    ),
    Source(
        "unknown-horizons",
        "audio/(sounds|music)/",
        r"audio/[^/]+",
        "GPL-2+ and CC BY-SA 3.0, the Unknown Horizons team",
        20.0,
    ),
    Source(
        "freedroidrpg-data",
        "sound/(music|effects/(?!bot_sounds/voice|tux_ingame))",
        r"sound/[^/]+",
        "GPL-2+ and CC0, the FreedroidRPG team",
        20.0,
    ),
    Source(
        "widelands-data",
        "data/(sound|music|world)/",
        r"data/[^/]+(/[^/]+(?=/))?",
        "GPL-2+ and CC BY-SA, the Widelands Development Team",
        20.0,
    ),
    Source(
        "wesnoth-1.16-data",
        "sounds/",
        r"(campaigns|sounds)(/[^/]+(?=/))?",
        "GPL-2+ and CC BY-SA 4.0, the Battle for Wesnoth project",
        30.0,
    ),
    Source(
        "warzone2100-data",
        "audio/(sfx|radclick)/",
        r"sfx/[^/]+",
        "GPL-2+, CC BY-SA 3.0 and CC0, Pumpkin Studios, the Warzone 2100 project",
    ),
    Source(
        "colobot-common-sounds", "(sounds|music)/", r"colobot/[^/]+", "GPL-3+, Epsitec, TerranovaTeam", 20.0
    ),
    Source(
        "extremetuxracer-data", "(sounds|music)/", r"etr/[^/]+", "GPL-2+, the Extreme Tux Racer team", 20.0
    ),
    Source("lincity-ng-data", "(sounds|music)/", r"(sounds|music)", "GPL-2+, the LinCity-NG team", 20.0),
    Source(
        "wesnoth-1.16-music", "music/", r"music", "GPL-2+, CC BY-SA 4.0, the Battle for Wesnoth project", 20.0
    ),
    Source("nexuiz-music", "", r"nexuiz", "GPL-2+, Alientrap and others", 20.0),
    Source("ufoai-music", "music/", r"music", "GPL-2+, CC BY-SA 3.0, the UFO:AI team and others", 20.0),
)


def unpacked(package: str, folder: Path) -> tuple[Path, str]:
    """The files of a package, archives in it unpacked as well, and its version."""
    download = folder / "download"
    download.mkdir()
    subprocess.run(
        ["apt-get", "download", "-qq", package], cwd=download, check=True, stderr=subprocess.DEVNULL
    )
    (archive,) = download.glob("*.deb")
    files = folder / "files"
    subprocess.run(["dpkg-deb", "-x", archive, files], check=True)
    shutil.rmtree(download)
    for path in [path for path in files.rglob("*") if path.suffix in (".zip", ".pk3", ".wz")]:
        with zipfile.ZipFile(path) as inner:
            wanted = [name for name in inner.namelist() if Path(name).suffix.lower() in SUFFIXES]
            inner.extractall(path.with_suffix(""), wanted)
        path.unlink()
    return files, archive.name.split("_")[1].replace("%3a", ":")


def decoded(path: Path, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Mono samples, of the middle if `seconds` is given, and their rate; empty if it can't be decoded."""
    import av
    from av.error import FFmpegError

    blocks, rate = [np.zeros(0, np.float32)], 16000
    try:
        container = "g722" if path.suffix == ".g722" else None
        with av.open(str(path), format=container, metadata_errors="ignore") as file:
            stream = file.streams.audio[0]
            rate = min(stream.rate, HIGHEST_RATE)
            if seconds is not None and (spare_us := (file.duration or 0) - seconds * 1e6) > 0:
                file.seek(round(spare_us / 2))
            resampler = av.AudioResampler("flt", "mono", rate)
            for frame in file.decode(stream):
                blocks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
                if seconds is not None and sum(map(len, blocks)) >= seconds * rate:
                    break
            blocks += [part.to_ndarray()[0] for part in resampler.resample(None)]
    except (FFmpegError, IndexError):
        return np.zeros(0, np.float32), rate
    return np.concatenate(blocks)[: None if seconds is None else round(seconds * rate)], rate


def without_rumble(samples: np.ndarray, rate: int) -> np.ndarray:
    return sosfiltfilt(butter(4, RUMBLE_HZ, "highpass", fs=rate, output="sos"), samples).astype(np.float32)


def frame_levels_db(samples: np.ndarray, rate: int) -> np.ndarray:
    """Of frames of 25 ms; those of digital silence are left out."""
    length = rate // 40
    frames = samples[: len(samples) // length * length].reshape(-1, length)
    power = np.mean(frames.astype(np.float64) ** 2, axis=1)
    return 10 * np.log10(power[power > 1e-12])


def clean_speech(samples: np.ndarray, rate: int, denoiser) -> np.ndarray | None:
    """Speech at a common level, or None where it is clipped, noisy, or too short to tell."""
    if len(samples) < rate // 4 or np.mean(np.abs(samples) > 0.985) > CLIPPED_SHARE:
        return None
    samples = without_rumble(samples, rate)
    levels = frame_levels_db(samples, rate)
    if len(levels) < 8:
        return None
    loud = np.percentile(levels, 95)
    if loud - np.percentile(levels, 10) < CLEAN_RANGE_DB or loud < -50:
        padded = np.pad(samples, rate // 4)
        changed = denoiser.denoise(padded, rate) - padded
        if 10 * np.log10(np.sum(samples**2) / np.sum(changed**2)) < CLEAN_SDR_DB:
            return None
    return samples * 10 ** ((LEVEL_DBFS - loud) / 20)


def joined(parts: Iterator[np.ndarray], rate: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Pieces of at least `PIECE_S`, as far as there is so much, with pauses between what is joined."""
    piece: list[np.ndarray] = []
    for part in parts:
        fade = min(len(part) // 4, rate // 100)
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        part = part.copy()
        part[:fade] *= ramp
        part[len(part) - fade :] *= ramp[::-1]
        piece += [part, np.zeros(round(rng.uniform(*PAUSE_S) * rate), np.float32)]
        if sum(map(len, piece)) > PIECE_S * rate:
            yield np.concatenate(piece)
            piece = []
    if piece:
        yield np.concatenate(piece)


def write(source: Source, files: Path, out: Path, *, speech: bool, denoiser) -> tuple[float, float, int]:
    """Seconds taken, seconds left out, voices."""
    rng = np.random.default_rng(0)
    voices: dict[tuple[str, int], list[np.ndarray]] = defaultdict(list)
    taken = left = 0.0
    for path in sorted(files.rglob("*")):
        name = str(path.relative_to(files))
        if path.suffix.lower() not in SUFFIXES or not re.search(source.inside, name) or path.is_symlink():
            continue
        samples, rate = decoded(path, source.seconds)
        seconds = len(samples) / rate
        kept = clean_speech(samples, rate, denoiser) if speech else samples
        if kept is None or not len(kept):
            left += seconds
            continue
        taken += seconds
        match = re.search(source.voice, name)
        voices[re.sub(r"\W+", "-", match.group() if match else "all").strip("-"), rate].append(kept)
    folder = out / ("clean" if speech else "noise") / source.package
    folder.mkdir(parents=True, exist_ok=True)
    for (voice, rate), parts in voices.items():
        for i, piece in enumerate(joined(iter(parts), rate, rng)):
            peak = max(1.0, float(np.max(np.abs(piece))))
            sf.write(folder / f"{voice}-{rate}-{i:03d}.flac", piece / peak, rate)
    return taken, left, len(voices)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--packages", nargs="*", help="only these")
    options = parser.parse_args()

    from audenoise import Denoiser

    denoiser, lines = Denoiser.from_preset("standard", threads=1), []
    for package in dict.fromkeys(source.package for source in (*SPEECH, *NOISE)):
        if options.packages and package not in options.packages:
            continue
        with tempfile.TemporaryDirectory() as folder:
            files, version = unpacked(package, Path(folder))
            for source in (*SPEECH, *NOISE):
                if source.package != package:
                    continue
                speech = source in SPEECH
                taken, left, voices = write(source, files, options.out, speech=speech, denoiser=denoiser)
                kind = "speech" if speech else "noise"
                amounts = f"{taken / 60:.1f} | {left / 60:.1f}"
                lines.append(f"| {package} {version} | {kind} | {amounts} | {source.licence} |")
                print(lines[-1], f"{voices} voices" if speech else "", flush=True)
    head = "| package | what | minutes | left out | licence |\n|---|---|---:|---:|---|\n"
    (options.out / "SOURCES.md").write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

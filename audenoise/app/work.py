"""What is done with one recording: denoise and enhance it, prepare what is heard and what is seen."""

import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from audenoise.audio import (
    AudioInfo,
    AudioReader,
    AudioWriter,
    audio_info,
    check_output,
    read_audio,
    resampled_blocks,
    resampled_length,
)
from audenoise.batch import Clipped, denoise_file
from audenoise.denoiser import Denoiser
from audenoise.enhancer import Enhancer
from audenoise.enhancer_batch import EnhanceSettings, Tools, enhance_file, result_format
from audenoise.errors import AudenoiseError, AudioFileError, DataError, ModelError
from audenoise.file_plan import FilePair

from .jobs import Job, check_room
from .names import result_name
from .settings import MAX_CHANNELS, MAX_SAMPLE_RATE, AppSettings

SEGMENT_S = 10.0
"""The longest piece that is sent for playing."""
PICTURE = "picture.png"
_SUFFIXES = {
    "WAV": ".wav",
    "WAVEX": ".wav",
    "FLAC": ".flac",
    "OGG": ".ogg",
    "MP3": ".mp3",
    "AIFF": ".aiff",
    "W64": ".w64",
    "RF64": ".rf64",
    "AU": ".au",
    "CAF": ".caf",
}
_BLOCK = 1 << 16
_DENOISED, _HEARD, _DRAWN = 0.85, 0.92, 0.95  # shares of the work that is done by then


class Workshop:
    """Denoises and enhances jobs with models that are loaded when first asked for.

    Parameters
    ----------
    settings : AppSettings
    """

    def __init__(self, settings: AppSettings) -> None:
        self._settings = settings
        self._denoisers: dict[str, Denoiser] = {}
        self._loaded_enhancer: Enhancer | None = None
        self._lock = threading.Lock()

    def __call__(self, job: Job) -> None:
        """Denoise a job's upload, enhance it if that is wanted, and fill in the job's facts.

        Raises
        ------
        AudenoiseError
            With the visitor's name of the recording and no path of this machine.
        Cancelled
            If the job is cancelled meanwhile.
        """
        try:
            self._work(job)
        except ModelError as error:
            # Its message names folders of this machine, which are for whoever started the server.
            raise RuntimeError(str(error)) from error
        except AudenoiseError as error:
            text = str(error)
            for path in sorted(job.folder.iterdir(), key=lambda path: -len(path.name)):
                text = text.replace(str(path), job.name)
            raise AudioFileError(text.replace(f"{job.folder}/", "")) from error

    def _work(self, job: Job) -> None:
        job.advance("reading", 0.0)
        info = audio_info(job.upload)
        self._check(job.name, info)
        suffix = _SUFFIXES.get(info.format, ".wav")
        source = job.upload.rename(job.folder / f"source{suffix}")
        stage = "enhancing" if job.enhance > 0 else "denoising"
        seconds = 0.0

        def progress(block_s: float) -> None:
            nonlocal seconds
            seconds += block_s
            job.advance(stage, _DENOISED * seconds / info.duration_s)

        job.advance(stage, 0.0)
        target, clipped = (self._enhance if job.enhance > 0 else self._denoise)(job, source, progress)
        heard = write_heard(job, source, target)
        result = audio_info(target)
        facts = {
            "result": target.name,
            "result_name": result_name(
                job.name, target.suffix, mark="_enhanced" if job.enhance > 0 else "_denoised"
            ),
            "heard": heard.name,
            "sample_rate": result.sample_rate,
            "n_samples": result.n_samples,
            "channels": min(2, result.channels),
            "clipped_db": None if clipped is None else round(clipped.over_db, 1),
        }
        job.facts = facts
        job.advance("drawing", _HEARD)
        from audenoise.plotting import read_before_after, save_differences

        levels = read_before_after(source, target)
        job.advance("drawing", _DRAWN)
        boxes = save_differences(*levels, job.folder / PICTURE, narrow=job.narrow)
        job.facts = facts | {"panels": [asdict(box) for box in boxes]}
        source.unlink()

    def _denoise(
        self, job: Job, source: Path, progress: Callable[[float], object]
    ) -> tuple[Path, Clipped | None]:
        target = job.folder / f"result{source.suffix}"
        clipped = denoise_file(
            self._denoiser(job.model),
            source,
            target,
            strength=job.strength,
            max_attenuation_db=job.max_attenuation_db,
            on_progress=progress,
        )
        return target, clipped

    def _enhance(
        self, job: Job, source: Path, progress: Callable[[float], object]
    ) -> tuple[Path, Clipped | None]:
        enhancer, info = self._enhancer(), audio_info(source)
        n_samples = resampled_length(info.n_samples, info.sample_rate, enhancer.sample_rate)
        # The upload may be of a far lower rate: the result in 32 bits at most, and what is heard in 16.
        check_room(job.folder, 4 * n_samples * (info.channels + min(2, info.channels)))
        target = job.folder / f"result{_enhanced_suffix(source.suffix, info, enhancer.sample_rate)}"
        # With a strength of 0 the denoiser gives back what went in.
        tools = Tools(enhancer, self._denoiser(job.model) if job.strength > 0 else None)
        settings = EnhanceSettings(
            strength=job.strength, max_attenuation_db=job.max_attenuation_db, amount=job.enhance
        )
        return target, enhance_file(tools, FilePair(source, target), settings, on_progress=progress)

    def _enhancer(self) -> Enhancer:
        with self._lock:
            if self._loaded_enhancer is None:
                if self._settings.enhancer is None:
                    raise ModelError("no enhancer is offered")
                self._loaded_enhancer = Enhancer(self._settings.enhancer)
            return self._loaded_enhancer

    def _denoiser(self, model: str) -> Denoiser:
        with self._lock:
            if model not in self._denoisers:
                self._denoisers[model] = Denoiser(self._settings.models[model])
            return self._denoisers[model]

    def _check(self, name: str, info: AudioInfo) -> None:
        limit = self._settings.max_minutes
        if info.duration_s > 60 * limit:
            raise DataError(
                f"{name} is {info.duration_s / 60:.1f} minutes long; {limit:g} minutes are allowed here."
            )
        if info.channels > MAX_CHANNELS or info.sample_rate > MAX_SAMPLE_RATE:
            raise DataError(
                f"{name} has {info.channels} channels at {info.sample_rate} Hz; {MAX_CHANNELS} channels and "
                f"{MAX_SAMPLE_RATE} Hz are allowed here."
            )


def _enhanced_suffix(suffix: str, info: AudioInfo, sample_rate: int) -> str:
    """The source's, or .wav where its kind of file can't hold the enhancer's rate."""
    kind, subtype = result_format(Path(f"result{suffix}"), info)
    try:
        check_output(suffix, sample_rate=sample_rate, channels=info.channels, format=kind, subtype=subtype)
    except AudioFileError:
        return ".wav"
    return suffix


def write_heard(job: Job, source: Path, target: Path) -> Path:
    """Write before and after as the channels of one file, so that they can't drift apart.

    One or two channels of either, 16 bit, at the rate of the target: the first half of the channels is
    before, the second after.
    """
    with AudioReader(source) as before, AudioReader(target) as after:
        info = after.info
        channels = min(2, info.channels)
        # FLAC is small and can be entered anywhere; it doesn't know every rate.
        fits = info.sample_rate <= 65_535 or info.sample_rate % 10 == 0
        path = job.folder / ("heard.flac" if fits else "heard.w64")
        with AudioWriter(
            path,
            sample_rate=info.sample_rate,
            channels=2 * channels,
            subtype="PCM_16",
            n_samples=info.n_samples,
        ) as writer:
            done = 0
            blocks = resampled_blocks(before.blocks(_BLOCK), before.info.sample_rate, info.sample_rate)
            for first in blocks:
                second = next(after.blocks(len(first), start=done))
                writer.write(np.concatenate([first[:, :channels], second[:, :channels]], axis=1))
                done += len(first)
                job.advance("preparing to play", _DENOISED + (_HEARD - _DENOISED) * done / info.n_samples)
    return path


def heard_segment(job: Job, start: int, n_samples: int) -> bytes:
    """Read a piece of what is heard.

    Parameters
    ----------
    job : Job
        Done.
    start, n_samples : int
        In samples; cut to the recording and to `SEGMENT_S`.

    Returns
    -------
    bytes
        16-bit little-endian integers, the channels of before and then those of after for each sample; empty
        beyond the end.
    """
    n_samples = min(n_samples, round(SEGMENT_S * job.facts["sample_rate"]), job.facts["n_samples"] - start)
    if start < 0 or n_samples < 1:
        return b""
    audio, _ = read_audio(job.folder / job.facts["heard"], start=start, n_samples=n_samples)
    return np.rint(np.clip(audio * 32768.0, -32768, 32767)).astype("<i2").tobytes()

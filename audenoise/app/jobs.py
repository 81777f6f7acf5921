"""Recordings that visitors have uploaded: their folders, their turn, their end."""

import secrets
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audenoise.errors import AudenoiseError

from .settings import AppSettings

UPLOADING, WAITING, WORKING, DONE, FAILED = "uploading", "waiting", "working", "done", "failed"
_ROOM_BYTES = 1 << 30


class Busy(AudenoiseError):
    """Too much is waiting, or the disk is nearly full."""


def check_room(folder: Path, n_bytes: int) -> None:
    """Raise `Busy` if the disk could not take so much and have room left."""
    if shutil.disk_usage(folder).free < _ROOM_BYTES + n_bytes:
        raise Busy("The server's disk is nearly full. Try again later.")


class Cancelled(Exception):
    """Whoever uploaded the recording no longer wants it."""


@dataclass(eq=False)
class Job:
    """One recording, from its upload to its removal.

    Attributes
    ----------
    key : str
        Who knows it may ask for the recording; it can't be guessed.
    folder : Path
        Holds all its files, under names of ours.
    name : str
        As the visitor calls it; only shown.
    model : str
        One of `AppSettings.models`.
    strength : float
    max_attenuation_db : float or None
    enhance : float
        How much of the enhanced signal to take, 0 to 1; with 0 nothing is enhanced.
    narrow : bool
        Draw for the screen of a phone.
    state : str
    stage : str
        What is being done, in words.
    progress : float
        0 to 1.
    error : str
        A sentence, where `state` is failed.
    facts : dict
        What the page needs to play and show the result. They are there before the picture is.
    """

    key: str
    folder: Path
    name: str
    model: str
    strength: float
    max_attenuation_db: float | None
    enhance: float = 0.0
    narrow: bool = False
    state: str = UPLOADING
    stage: str = ""
    progress: float = 0.0
    error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    touched: float = field(default_factory=time.monotonic)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def upload(self) -> Path:
        """Where the bytes of the upload go."""
        return self.folder / "upload"

    def advance(self, stage: str, progress: float) -> None:
        """Note how far the work is.

        Raises
        ------
        Cancelled
            If it isn't wanted any more.
        """
        if self.cancelled.is_set():
            raise Cancelled
        self.stage, self.progress = stage, min(1.0, progress)


class JobStore:
    """All jobs of one server.

    Parameters
    ----------
    settings : AppSettings
    folder : Path
        Empty; belongs to the store.
    work : callable
        Does a job: called with it in a thread, raises `AudenoiseError` with a sentence, or `Cancelled`.
    report : callable
        Called with each exception that is a defect.
    """

    def __init__(
        self,
        settings: AppSettings,
        folder: Path,
        work: Callable[[Job], object],
        *,
        report: Callable[[BaseException], object],
    ) -> None:
        self.settings, self.folder = settings, folder
        self._work, self._report = work, report
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(settings.at_once, thread_name_prefix="denoise")

    def open(
        self,
        name: str,
        model: str,
        *,
        strength: float,
        max_attenuation_db: float | None,
        enhance: float = 0.0,
        narrow: bool = False,
    ) -> Job:
        """Make room for an upload.

        Raises
        ------
        Busy
            If too many recordings wait, or the disk is nearly full.
        """
        with self._lock:
            waiting = sum(job.state in (UPLOADING, WAITING, WORKING) for job in self._jobs.values())
            if waiting >= self.settings.max_waiting:
                raise Busy(f"The server is busy: {waiting} recordings are waiting. Try again in a minute.")
            # A result and what is played take about as much again, each.
            check_room(self.folder, 4 * self.settings.max_bytes)
            key = secrets.token_urlsafe(24)
            folder = self.folder / secrets.token_hex(12)
            folder.mkdir()
            job = Job(key, folder, name, model, strength, max_attenuation_db, enhance, narrow)
            self._jobs[key] = job
        return job

    def submit(self, job: Job) -> None:
        """Queue a job whose upload is complete."""
        job.state, job.touched = WAITING, time.monotonic()
        future = self._pool.submit(self._run, job)
        future.add_done_callback(self._reported)

    def find(self, key: str) -> Job | None:
        """Return a job, and note that somebody still wants it."""
        with self._lock:
            job = self._jobs.get(key)
        if job is not None:
            job.touched = time.monotonic()
        return job

    def ahead(self, job: Job) -> int:
        """How many recordings come before this one."""
        with self._lock:
            before = list(self._jobs.values())
        before = before[: before.index(job)] if job in before else []
        return sum(each.state in (WAITING, WORKING) for each in before)

    def remove(self, key: str) -> bool:
        """Cancel a job, and remove its files as soon as nothing is written there any more."""
        with self._lock:
            job = self._jobs.pop(key, None)
            if job is None:
                return False
            job.cancelled.set()
            running = job.state == WORKING
        # The thread that works on it removes the folder when it notices.
        if not running:
            shutil.rmtree(job.folder, ignore_errors=True)
        return True

    def expire(self) -> None:
        """Remove what nobody has asked for in a while."""
        oldest = time.monotonic() - 60 * self.settings.keep_minutes
        with self._lock:
            # A visitor who leaves in the middle no longer asks.
            stale = [key for key, job in self._jobs.items() if job.touched < oldest]
        for key in stale:
            self.remove(key)

    def close(self) -> None:
        """Cancel everything, wait for what is running and remove all files."""
        with self._lock:
            keys = list(self._jobs)
        for key in keys:
            self.remove(key)
        self._pool.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, job: Job) -> None:
        problem: str | None = None
        try:
            with self._lock:
                if not job.cancelled.is_set():
                    job.state = WORKING
            if job.state == WORKING:
                self._work(job)
                job.progress, job.state = 1.0, DONE
        except Cancelled:
            pass
        except AudenoiseError as error:
            problem = str(error)
        except (OSError, MemoryError) as error:
            problem = "The server has no room left for this recording. Try a shorter one, or try later."
            self._report(error)
        except Exception as error:
            problem = "Something went wrong on the server, and the recording was not denoised."
            self._report(error)
        if problem is not None or job.cancelled.is_set():
            shutil.rmtree(job.folder, ignore_errors=True)
        if problem is not None:  # who is told that it failed finds nothing left
            job.error, job.state = problem, FAILED

    def _reported(self, future: Future[None]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self._report(error)

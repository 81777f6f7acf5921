"""What is said while a search runs: a line for each trial, and how long the rest will take."""

import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from audenoise.durations import in_words
from audenoise.searches.goals import in_short


class Progress:
    """Counts epochs of trials.

    Parameters
    ----------
    trials, epochs : int
        Of the whole search; 0 trials in a worker, which has a part of them.
    done_trials, done_epochs : int
        By earlier sessions.
    report : callable
        Called with one line.
    bar : bool
        Draw a bar on stderr.
    """

    def __init__(
        self,
        *,
        trials: int,
        epochs: int,
        done_trials: int,
        done_epochs: int,
        report: Callable[[str], object],
        bar: bool = False,
    ):
        self.trials, self.epochs = trials, epochs
        self.done_trials, self.done_epochs = done_trials, done_epochs
        self._report, self._started, self._first = report, time.monotonic(), done_epochs
        self._best: tuple[float, str] | None = None
        self._bar = tqdm(total=epochs, initial=done_epochs, unit="epoch", desc="search") if bar else None

    def best(self, score: float | None, trial_id: str) -> None:
        """Take note of a trial's score."""
        if score is not None and (self._best is None or score > self._best[0]):
            self._best = score, trial_id

    def running(self, trial_id: str, epoch: int) -> None:
        """A trial has finished some epochs."""
        if self._bar is not None:
            self._bar.set_description(f"trial {trial_id}", refresh=False)
            self._bar.n = min(self.epochs, self.done_epochs + epoch)
            self._bar.refresh()

    def ended(self, trial_id: str, epochs: int, result: dict[str, Any]) -> None:
        """A trial is done: its epochs as they were planned, and its result."""
        self.done_trials += 1
        self.done_epochs += epochs
        of = f" ({self.done_trials} of {self.trials})" if self.trials else ""
        if result.get("status") == "completed":
            self.best(result["score"], trial_id)
            costs = [f"score {result['score']:.3f}"]
            if self._best is not None:
                costs[0] += f" (best {self._best[0]:.3f}, trial {self._best[1]})"
            if result.get("parameters"):
                costs += [f"{in_short(result['parameters'])} parameters",
                          f"{in_short(result['macs_per_second'])} MAC/s"]  # fmt: skip
            if result.get("seconds"):
                costs.append(f"trained in {in_words(result['seconds'])}")
            if result.get("peak_memory_mb"):
                costs.append(f"{result['peak_memory_mb']:.0f} MB")
            line = f"trial {trial_id}{of}: {', '.join(costs)}"
        else:
            line = f"trial {trial_id}{of} failed: {result.get('message') or 'unknown reason'}"
        left = self.seconds_left() if self.trials else None  # how fast the others are isn't known
        if left is not None:
            line += f"; about {in_words(left)} left"
        self.say(line)
        self.running(trial_id, 0)

    def seconds_left(self) -> float | None:
        """From the pace of this session; None before its first trial and after the last."""
        done, rest = self.done_epochs - self._first, self.epochs - self.done_epochs
        if done <= 0 or rest <= 0:
            return None
        return (time.monotonic() - self._started) / done * rest

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._bar is None:
            self._report(line)
            return
        with self._bar.external_write_mode():
            self._report(line)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

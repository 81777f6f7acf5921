"""One line that shows what is heard, and single keys, on terminals that can do that."""

import os
import shutil
import sys
import time
from types import TracebackType
from typing import Any, Self, TextIO

_BAR_CELLS = 12
_BAR_FLOOR_DB = -60.0
_PLAIN_EVERY_S = 5.0


class Keys:
    """Keys as they are pressed, without Enter and without an echo; a context manager.

    Where standard input is no terminal, or belongs to another program at the moment, there are none. The
    terminal is as before when the block is left, by an error too.
    """

    def __init__(self, source: TextIO | None = None) -> None:
        self._source = sys.stdin if source is None else source
        self._before: Any = None
        self._console: Any = None
        self.available = False

    def __enter__(self) -> Self:
        if self._source is None or self._source.closed or not self._source.isatty():
            return self
        if sys.platform == "win32":
            import msvcrt

            self._console, self.available = msvcrt, True
            return self
        try:
            import termios
            import tty

            descriptor = self._source.fileno()
            if os.tcgetpgrp(descriptor) != os.getpgrp():
                return self  # in the background: to touch the terminal would stop this process
            self._before = termios.tcgetattr(descriptor)
            tty.setcbreak(descriptor, termios.TCSADRAIN)
        except (ImportError, OSError, ValueError, *_terminal_errors()):
            return self
        self.available = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.available = False
        if self._before is not None:
            import termios

            before, self._before = self._before, None
            termios.tcsetattr(self._source.fileno(), termios.TCSADRAIN, before)

    def wait(self, seconds: float) -> str:
        """Wait that long at most, and return what was pressed, "" for nothing."""
        if not self.available:
            time.sleep(seconds)
            return ""
        if self._console is not None:
            return self._wait_on_windows(seconds)
        import select

        descriptor = self._source.fileno()
        if not select.select([descriptor], [], [], seconds)[0]:
            return ""
        try:
            pressed = os.read(descriptor, 64)
        except OSError:
            pressed = b""
        if not pressed:  # the terminal is gone
            self.available = False
        return pressed.decode(errors="ignore")

    def _wait_on_windows(self, seconds: float) -> str:
        end = time.monotonic() + seconds
        while not self._console.kbhit():
            if (left := end - time.monotonic()) <= 0:
                return ""
            time.sleep(min(left, 0.02))
        return self._console.getwch()


class Meter:
    """The levels, on one line that is drawn again; where the output is no terminal, a line now and then."""

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._redraws = target.isatty()
        self._next = 0.0
        self._drawn = False

    def show(self, *, input_db: float, output_db: float, state: str) -> None:
        """Levels in dBFS, and in a few words what is going on."""
        if self._redraws:
            line = f"in {_bar(input_db)} out {_bar(output_db)} dBFS  {state}"
            width = shutil.get_terminal_size().columns - 1
            self._target.write(f"\r{line[:width].ljust(width)}")
            self._drawn = True
        elif (now := time.monotonic()) >= self._next:
            self._next = now + _PLAIN_EVERY_S
            self._target.write(f"in {input_db:.1f} dBFS, out {output_db:.1f} dBFS, {state}\n")
        self._target.flush()

    def close(self) -> None:
        """Leave the line, so that what is printed next has its own."""
        if self._drawn:
            self._target.write("\n")
            self._target.flush()
            self._drawn = False


def _bar(level_db: float) -> str:
    filled = round(_BAR_CELLS * min(1.0, max(0.0, 1.0 - level_db / _BAR_FLOOR_DB)))
    return f"[{'#' * filled}{'.' * (_BAR_CELLS - filled)}] {max(level_db, -99.9):5.1f}"


def _terminal_errors() -> tuple[type[Exception], ...]:
    try:
        import termios
    except ImportError:
        return ()
    return (termios.error,)

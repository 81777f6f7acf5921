"""Errors that audenoise raises on purpose.

Every message is one line that names the file or the key at fault and says what to do, so that the command
line can print it as it is. Anything that is not an `AudenoiseError` is a defect of the toolkit.
"""


def one_line(text: str) -> str:
    """Escape what can't be printed, such as a line break in a file's name.

    >>> one_line("two\\nlines.wav")
    'two\\\\nlines.wav'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def brief(error: BaseException, most: int = 160) -> str:
    """What another library's error says, on one line of at most so many characters."""
    return " ".join(str(error).split())[:most]


class AudenoiseError(Exception):
    """Base of all errors that a person can put right."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class AudioFileError(AudenoiseError):
    """An audio file can't be read or written: missing, empty, damaged, of an unsuitable format, disk full."""


class SignalError(AudenoiseError, ValueError):
    """An array of samples or a parameter of signal processing is unusable: shape, NaN, silence, range."""


class SpecError(AudenoiseError, ValueError):
    """A specification is wrong; the message names its key, as in `encoder[2].filters: must be at least 1`."""


class ModelError(AudenoiseError):
    """A published model is missing, damaged or made for another version."""


class DataError(AudenoiseError):
    """A folder of recordings or a dataset can't serve: no audio, too little, wrong layout."""


class TrainingError(AudenoiseError):
    """Training can't go on: the loss is NaN, the output collapsed, a run folder doesn't fit its spec."""


class DownloadError(AudenoiseError):
    """A corpus can't be downloaded: no connection, missing, changed or damaged file, disk full."""


class DeviceError(AudenoiseError):
    """A microphone or a speaker is missing, can't be opened as asked, or went away."""

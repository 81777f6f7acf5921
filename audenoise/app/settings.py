"""What the person who starts the web page decides."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from audenoise.enhancer import DEFAULT_ENHANCER
from audenoise.errors import DataError, ModelError
from audenoise.presets import METADATA_FILE, Preset, bundled_denoisers, list_presets, load_preset

MAX_CHANNELS = 8
MAX_SAMPLE_RATE = 192_000


@dataclass(frozen=True)
class AppSettings:
    """Limits and models of the page.

    Attributes
    ----------
    models : mapping
        Name → model that can be chosen; the first is chosen to begin with.
    enhancer : Preset or None
        Gives back what a recording has lost, for visitors who ask for it. None offers no such choice.
    max_upload_mb : float
        Of one recording, in MB of 10^6 bytes.
    max_minutes : float
        Length of one recording.
    max_files : int
        Recordings in one batch, and in one zip.
    at_once : int
        Recordings worked on at a time, those of all visitors together.
    max_waiting : int
        Recordings that are uploaded or wait for their turn; more are refused.
    keep_minutes : float
        How long a recording and its result stay when nobody asks for them.
    """

    models: Mapping[str, Preset] = field(default_factory=dict)
    enhancer: Preset | None = None
    max_upload_mb: float = 200.0
    max_minutes: float = 60.0
    max_files: int = 50
    at_once: int = 1
    max_waiting: int = 20
    keep_minutes: float = 30.0

    def __post_init__(self) -> None:
        for name in ("max_upload_mb", "max_minutes", "max_files", "at_once", "max_waiting", "keep_minutes"):
            if not getattr(self, name) > 0:
                raise DataError(f"{name} must be above 0. Received: {getattr(self, name)}")
        if not self.models:
            raise ModelError("there is no model to offer; train and publish one, or install audenoise again")

    @property
    def max_bytes(self) -> int:
        """Bytes of one upload."""
        return int(self.max_upload_mb * 1e6)


def offered_models(chosen: tuple[str | os.PathLike[str], ...] = ()) -> dict[str, Preset]:
    """Load what is offered: the denoisers named, or all that are bundled, the one for files first.

    Raises
    ------
    ModelError
        If a model is missing, damaged or no denoiser, or two have one name.
    """
    models: dict[str, Preset] = {}
    for preset in map(load_preset, chosen or bundled_denoisers()):
        if preset.is_enhancer:
            raise ModelError(f"{preset.folder}: {METADATA_FILE}: is an enhancer's; offer it with --enhancer")
        if preset.name in models:
            raise ModelError(
                f"{preset.folder}: {models[preset.name].folder} has the same name; leave one out"
            )
        preset.verify()
        models[preset.name] = preset
    return models


def offered_enhancer(chosen: str | os.PathLike[str] | None = None) -> Preset | None:
    """Load the enhancer that is offered: the one named, or the bundled one; None where there is none.

    Raises
    ------
    ModelError
        If it is missing, damaged or no enhancer.
    """
    if chosen is None and DEFAULT_ENHANCER not in list_presets():
        return None
    preset = load_preset(DEFAULT_ENHANCER if chosen is None else chosen)
    if not preset.is_enhancer:
        raise ModelError(f"{preset.folder}: {METADATA_FILE}: is no enhancer's; offer it with --model")
    preset.verify()
    return preset

"""What a trial is asked to do. This loads no Keras: it is the first that a trial's process reads."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audenoise.searches.goals import Budget, Objective
from audenoise.specs import dump_spec, parse_spec
from audenoise.tuning.data import SearchData


@dataclass(frozen=True)
class TrialRequest:
    """All that a trial needs; plain enough to be sent to another process.

    Attributes
    ----------
    run : Path
        Its folder; a run that lies there with the same spec is continued.
    spec, base : dict
        Of the trial, and of the search: the latter says what is validated on.
    data : SearchData
    objective : Objective
    budget : Budget
    previous : Path, optional
        The run of a shorter trial with the same network, to go on from.
    worker : str
    """

    run: Path
    spec: dict[str, Any]
    base: dict[str, Any]
    data: SearchData
    objective: Objective
    budget: Budget
    previous: Path | None = None
    worker: str = ""

    @property
    def stamp(self) -> str:
        """Tells a result for this spec from one for another."""
        text = dump_spec(parse_spec(self.spec)) + str(self.objective)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

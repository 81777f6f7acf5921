"""Which part a process has in a search. This loads no Keras: a wrong address is told at once."""

import os
import uuid
from dataclasses import dataclass

from audenoise.addresses import Address
from audenoise.errors import AudenoiseError

DEFAULT_ADDRESS = "127.0.0.1:5454"
LOST_AFTER_S = 60.0
WAIT_S = 120.0
_VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")


@dataclass(frozen=True)
class Role:
    """The part that this process has in a search.

    Attributes
    ----------
    kind : str
        ``alone``, ``chief`` or ``worker``.
    address : Address, optional
        Of the chief.
    name : str
        Of a worker.
    lost_after_s : float
        Silence after which a worker's trial is given out again.
    wait_s : float
        How long a worker waits for a chief that is not there yet.
    """

    kind: str = "alone"
    address: Address | None = None
    name: str = ""
    lost_after_s: float = LOST_AFTER_S
    wait_s: float = WAIT_S


def find_role(kind: str | None, address: str | None) -> Role:
    """The role of this process, by what was given or else by KerasTuner's environment variables.

    Parameters
    ----------
    kind : str, optional
        ``chief`` or ``worker``.
    address : str, optional
        ``HOST:PORT``.

    Raises
    ------
    AudenoiseError
        If the parts don't make a role.
    """
    name, host, port = (os.environ.get(variable, "") for variable in _VARIABLES)
    if not kind and not address and not (name or host or port):
        return Role()
    if not kind:
        if not name:
            given = "--oracle" if address else "KERASTUNER_ORACLE_IP or KERASTUNER_ORACLE_PORT"
            raise AudenoiseError(f"{given} is given, but no role: add --role chief, or --role worker")
        kind = "chief" if "chief" in name else "worker"
    elif name and ("chief" in name) != (kind == "chief"):
        raise AudenoiseError(
            f"--role {kind} and KERASTUNER_TUNER_ID={name} contradict each other; leave one out"
        )
    option = "--oracle"
    if not address:
        if bool(host) != bool(port):
            here, gone = ("IP", "PORT") if host else ("PORT", "IP")
            raise AudenoiseError(f"KERASTUNER_ORACLE_{here} is set, but KERASTUNER_ORACLE_{gone} is not")
        option = " and ".join(_VARIABLES[1:])
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if host else DEFAULT_ADDRESS
    if kind == "worker" and not name:
        name = f"worker-{uuid.uuid4().hex[:8]}"
    parsed = Address.parse(address, option, example=DEFAULT_ADDRESS)
    return Role(kind, parsed, name if kind == "worker" else "")

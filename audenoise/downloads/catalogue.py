"""Which corpora there are, as data: `corpora.yaml`, or a file of the same form that a person writes."""

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from audenoise.errors import DownloadError

_MAX_CATALOGUE_BYTES = 1 << 20
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

Name = Annotated[str, StringConstraints(pattern=_NAME)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=300)]


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must start with http:// or https://")
    return url


Address = Annotated[str, AfterValidator(_web_address)]


@dataclass(frozen=True)
class Checksum:
    """What the bytes of a file must hash to."""

    algorithm: Literal["md5", "sha256"]
    digits: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.digits}"


class Archive(BaseModel):
    """One zip or tar file of a corpus, wherever it can be had.

    Attributes
    ----------
    file : str
        Name on disk.
    urls : tuple of str
        The same file at several hosts, tried in order.
    bytes : int or None
        Exact size, where known.
    about_mb : float or None
        Rough size in 10^6 bytes, where the exact one is not known.
    md5, sha256 : str or None
    checksum : str
        `published` by the host, `observed` by those who got the file before, or `none`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Name
    urls: Annotated[tuple[Address, ...], Field(min_length=1)]
    bytes: Annotated[int, Field(ge=1)] | None = None
    about_mb: Annotated[float, Field(gt=0)] | None = None
    md5: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{32}$")] | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    checksum: Literal["published", "observed", "none"] = "none"

    @model_validator(mode="after")
    def _says_where_a_sum_comes_from(self) -> Self:
        if (self.expected is None) != (self.checksum == "none"):
            raise ValueError("checksum: published or observed goes with md5 or sha256, none without")
        return self

    @property
    def expected(self) -> Checksum | None:
        """The stronger of the checksums that are known."""
        if self.sha256:
            return Checksum("sha256", self.sha256.lower())
        return Checksum("md5", self.md5.lower()) if self.md5 else None

    @property
    def size(self) -> int:
        """Bytes to expect; 0 where nobody knows."""
        return self.bytes or round(1e6 * (self.about_mb or 0))


class Corpus(BaseModel):
    """A corpus: what it is, under which licence, in which archives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    title: Text
    kind: Literal["speech", "noise", "rooms", "pairs", "other"] = "other"
    licence: Text = "not stated"
    homepage: Address | None = None
    archives: Annotated[tuple[Archive, ...], Field(min_length=1, max_length=1000)]

    @property
    def size(self) -> int:
        """Bytes to download, as far as known."""
        return sum(archive.size for archive in self.archives)


def read_catalogue(path: str | Path | None = None) -> dict[str, Corpus]:
    """Read the corpora of a catalogue, in the order in which it lists them.

    Parameters
    ----------
    path : str or Path, optional
        YAML or JSON with `mirrors` and `corpora`. Default: the catalogue in the package.

    Raises
    ------
    DownloadError
        If it can't be read; the message names file and key.

    Examples
    --------
    >>> read_catalogue()["librispeech-dev-clean"].archives[0].file
    'dev-clean.tar.gz'
    """
    where = str(path) if path else "corpora.yaml"
    source = Path(path) if path else files("audenoise.downloads") / "corpora.yaml"
    try:
        with source.open("rb") as file:
            content = file.read(_MAX_CATALOGUE_BYTES + 1)
        if len(content) > _MAX_CATALOGUE_BYTES:
            raise DownloadError(f"{where}: is larger than {_MAX_CATALOGUE_BYTES >> 20} MiB, no catalogue")
        data = yaml.safe_load(content)
    except OSError as error:
        raise DownloadError(f"{where}: can't be read ({error.strerror or error})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DownloadError(f"{where}: is no YAML ({' '.join(str(error).split())[:200]})") from None
    corpora = data.get("corpora") if isinstance(data, dict) else None
    if not isinstance(corpora, dict) or not corpora:
        raise DownloadError(f"{where}: needs a key corpora that holds names and what belongs to them")
    mirrors = data.get("mirrors") or {}
    return {
        str(name): _corpus(f"{where}: {name}", str(name), entry, mirrors) for name, entry in corpora.items()
    }


def own_corpus(
    name: str, urls: tuple[str, ...], *, sha256: str | None = None, md5: str | None = None
) -> Corpus:
    """Describe one archive that no catalogue knows.

    Parameters
    ----------
    name : str
        Of the folder that it will get.
    urls : tuple of str
        Where the same file lies, the first to be tried first.
    sha256, md5 : str, optional
        Hexadecimal.

    Raises
    ------
    DownloadError
        If one of them is not of its form.
    """
    file = re.sub(r"[^A-Za-z0-9._-]", "_", urlsplit(urls[0]).path.rpartition("/")[2])[-100:].lstrip("._-")
    archive = {
        "file": file or "archive",
        "urls": urls,
        "sha256": sha256,
        "md5": md5,
        "checksum": "observed" if sha256 or md5 else "none",
    }
    return _parse(name, {"name": name, "title": urls[0][:300], "archives": [archive]})


def _corpus(where: str, name: str, entry: object, mirrors: object) -> Corpus:
    if not isinstance(entry, dict) or not isinstance(entry.get("archives"), list):
        raise DownloadError(f"{where}: needs a list archives")
    if not isinstance(mirrors, dict):
        raise DownloadError(f"{where}: mirrors must be names with lists of addresses")
    archives = []
    for archive in entry["archives"]:
        if isinstance(archive, dict) and isinstance(url := archive.get("url"), str):
            host, _, path = url.partition(":")
            bases = mirrors.get(host)
            urls = [f"{base}{path}" for base in bases] if isinstance(bases, list) else [url]
            archive = {**{key: value for key, value in archive.items() if key != "url"}, "urls": urls}
        archives.append(archive)
    return _parse(where, {**entry, "name": name, "archives": archives})


def _parse(where: str, data: dict[str, object]) -> Corpus:
    try:
        corpus = Corpus.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        received = str(first["input"])[:80]
        raise DownloadError(f"{where}: {key}: {first['msg']}. Received: {received}") from None
    names = [archive.file for archive in corpus.archives]
    if len(set(names)) < len(names):
        raise DownloadError(f"{where}: archives: two have the same file name")
    return corpus

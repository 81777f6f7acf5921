"""What libsndfile doesn't say: is a file cut short, and does an MP3 know its own length?

libsndfile clamps the length of a cut WAV, AIFF, AU, W64 or RF64 file to what is there and reads it without an
error; an Ogg file gets the length of its last whole page; an MP3 without a length tag gets a guess from its
first frames. FLAC, and MP3 with a tag, keep the announced length, so that a cut shows as a short read (see
`reader`).
"""

import os
import re
from pathlib import Path

# "data : 192000 (should be 95978)" in libsndfile's parse log: the header announces more bytes than the file
# holds.
_SHORT_CHUNK = re.compile(r"^\s*(data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_SHORT_RF64 = re.compile(r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
# Programs that write to a pipe can't know the length and announce about 2 or 4 GiB: such files are whole.
_PIPE_SIZES = (2**31, 2**32)
_PIPE_SLACK = 8192

_OGG_MAX_PAGE = 65_307
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MP3_KBPS_V1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBPS_V2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def announced_bytes(parse_log: str) -> tuple[int, int] | None:
    """Read out of libsndfile's parse log that a header announces more than the file holds.

    Returns
    -------
    tuple of int or None
        (present, announced), in bytes or, for RF64, in samples; None if nothing is missing.
    """
    found = _SHORT_RF64.search(parse_log)
    if found and int(found[1]) < int(found[2]):
        return int(found[1]), int(found[2])
    for _, announced, present in _SHORT_CHUNK.findall(parse_log):
        piped = any(-_PIPE_SLACK <= int(announced) - size <= 0 for size in _PIPE_SIZES)
        if int(present) < int(announced) and not piped:
            return int(present), int(announced)
    return None


def unannounced_bytes(path: Path) -> int:
    """How many bytes follow in a WAV file whose header, never finished, says that there is no audio."""
    with open(path, "rb") as file:
        head, size = file.read(4096), file.seek(0, os.SEEK_END)
    start = head.find(b"data")
    if head[:4] != b"RIFF" or start < 0 or int.from_bytes(head[4:8], "little") > start:
        return 0
    return max(0, size - start - 8)


def ogg_is_cut(path: Path) -> bool:
    """Tell whether an Ogg file ends inside a page.

    A file that ends with a whole page passes even without the end-of-stream flag, since recorders of live
    streams leave it out; a cut exactly between two pages is therefore not seen.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _OGG_MAX_PAGE))
        tail = file.read()
    start = tail.rfind(b"OggS")
    if start < 0:
        return False  # something else follows the audio, such as a tag
    header = tail[start : start + 27]
    if len(header) < 27:
        return True
    lacing = tail[start + 27 : start + 27 + header[26]]
    return len(lacing) < header[26] or start + 27 + header[26] + sum(lacing) > len(tail)


def ogg_last_page_start(path: Path) -> int:
    """The first sample of the last page of an Ogg Vorbis file, or an earlier one; 0 if that can't be told."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 3 * _OGG_MAX_PAGE))
        tail = file.read()
    last = tail.rfind(b"OggS")
    previous = tail.rfind(b"OggS", 0, last) if last > 0 else -1
    if previous < 0 or len(tail) < previous + 14:
        return 0
    # The granule position of a page is the number of samples up to its end, -1 if none ends on it.
    return max(0, int.from_bytes(tail[previous + 6 : previous + 14], "little", signed=True))


def mp3_has_length(path: Path) -> bool:
    """Tell whether the first frame of an MP3 carries a Xing or Info tag with the number of frames."""
    with open(path, "rb") as file:
        file.seek(_id3_size(file.read(10)))
        head = file.read(4096)
    for name in (b"Xing", b"Info"):
        start = head.find(name)
        if start >= 0 and len(head) >= start + 8 and head[start + 7] & 1:
            return True
    return False


def mp3_samples(path: Path) -> int:
    """Count the samples per channel of an MP3 by walking over its frame headers, without decoding."""
    total = 0
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        position = _id3_size(file.read(10))
        while position + 4 <= size:
            file.seek(position)
            header = file.read(4)
            frame = _mp3_frame(header)
            if frame is None:
                if (
                    total or position > 65_536
                ):  # the first frame may follow some padding; after that, a tag ends it
                    break
                position += 1
                continue
            total += frame[1]
            position += frame[0]
    return total


def _id3_size(head: bytes) -> int:
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    a, b, c, d = head[6:10]
    return 10 + (a << 21 | b << 14 | c << 7 | d)


def _mp3_frame(header: bytes) -> tuple[int, int] | None:
    """(bytes, samples) of the layer III frame that starts with these four bytes."""
    if header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version, bitrate, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or rate == 3 or bitrate in (0, 15):
        return None
    samples = 1152 if version == 3 else 576
    kbps = (_MP3_KBPS_V1 if version == 3 else _MP3_KBPS_V2)[bitrate]
    return samples // 8 * kbps * 1000 // _MP3_RATES[version][rate] + (header[2] >> 1 & 1), samples

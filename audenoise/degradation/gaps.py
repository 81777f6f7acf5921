"""What goes missing on the way: lost packets and dropouts."""

import numpy as np

from audenoise.array_types import AudioVector

_FADE_S = 0.002
_REPEATS_FADE = 0.5


def lost_packets(n_packets: int, *, share: float, burst_packets: float, seed: int) -> np.ndarray:
    """Which packets are lost, after Gilbert's two-state model (Bell System Technical Journal, 1960).

    Parameters
    ----------
    n_packets : int
    share : float
        Of packets that are lost, in the mean.
    burst_packets : float
        Mean length of a burst, at least 1.
    seed : int

    Returns
    -------
    ndarray of bool, (n_packets,)
    """
    rng = np.random.default_rng(seed)
    lost = np.zeros(n_packets, bool)
    if share <= 0:
        return lost
    # Bursts and what lies between them are geometric; a gap can be no shorter than a packet.
    gap = max(1.0, burst_packets * (1 - share) / share)
    position = int(rng.geometric(1 / gap)) - int(rng.random() < share)
    while position < n_packets:
        length = int(rng.geometric(1 / max(1.0, burst_packets)))
        lost[position : position + length] = True
        position += length + int(rng.geometric(1 / gap))
    return lost


def lose_packets(
    audio: AudioVector,
    sample_rate: int,
    *,
    packet_s: float,
    share: float,
    burst_packets: float,
    repeat: bool,
    seed: int,
) -> AudioVector:
    """Lose packets; see `lost_packets`.

    Parameters
    ----------
    audio : AudioVector
    sample_rate : int
        In Hz.
    packet_s : float
        Length of a packet.
    share, burst_packets, seed
        See `lost_packets`.
    repeat : bool
        Put the packet before in the place of a lost one, 6 dB softer each time; otherwise silence. The first
        has none before it.
    """
    size = max(1, round(packet_s * sample_rate))
    packets = np.pad(audio, (0, -audio.size % size)).reshape(-1, size)
    lost = lost_packets(len(packets), share=share, burst_packets=burst_packets, seed=seed)
    number = np.arange(len(packets))
    last_heard = np.maximum.accumulate(np.where(lost, -1, number))
    gain = np.where(lost, 0.0, 1.0)
    if repeat:
        gain = np.where(last_heard >= 0, _REPEATS_FADE ** (number - last_heard), 0.0)
    heard = packets[np.maximum(last_heard, 0)] * gain[:, np.newaxis].astype(np.float32)
    return heard.reshape(-1)[: audio.size].astype(np.float32)


def drop_out(
    audio: AudioVector,
    sample_rate: int,
    *,
    per_second: float,
    duration_s: tuple[float, float],
    depth_db: float,
    seed: int,
) -> AudioVector:
    """Let the level drop for moments, with edges of 2 ms.

    Parameters
    ----------
    audio : AudioVector
    sample_rate : int
        In Hz.
    per_second : float
        Gaps in a second, in the mean (Poisson).
    duration_s : tuple of float
        Shortest and longest gap.
    depth_db : float
        What is lost in a gap.
    seed : int
    """
    rng = np.random.default_rng(seed)
    count = int(rng.poisson(per_second * audio.size / sample_rate))
    gain = np.ones(audio.size, np.float32)
    floor = np.float32(10 ** (-depth_db / 20))
    for start, share in rng.uniform(size=(count, 2)):
        length = max(1, round((duration_s[0] + share * (duration_s[1] - duration_s[0])) * sample_rate))
        first = int(start * audio.size)
        inside = gain[first : first + length]
        edge = max(1.0, min(_FADE_S * sample_rate, length / 2))
        place = np.arange(length, dtype=np.float32)
        slope = np.minimum(np.minimum(place + 1, length - place) / np.float32(edge), 1)[: inside.size]
        np.minimum(inside, 1 - (1 - floor) * slope, out=inside)
    return audio * gain

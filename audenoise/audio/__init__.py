"""Audio files in and out, whole or in blocks, and resampling.

Samples are float32 with full scale 1.0, shaped (samples, channels) as soundfile reads them. Every problem
with a file is an `AudioFileError` of one line that names the file and what to do.
"""

from .embedding import flac_base64
from .info import (
    AUDIO_SUFFIXES,
    MAX_CHANNELS,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    AudioInfo,
    audio_info,
    find_audio,
    shown,
)
from .media import MEDIA_SUFFIXES, can_read_media, is_media
from .reader import AudioReader, read_audio
from .resampling import StreamResampler, resample, resampled_blocks, resampled_length
from .writer import AudioWriter, can_write, check_output, output_format, remove_left_parts, write_audio

__all__ = [
    "AUDIO_SUFFIXES",
    "MAX_CHANNELS",
    "MAX_SAMPLE_RATE",
    "MEDIA_SUFFIXES",
    "MIN_SAMPLE_RATE",
    "AudioInfo",
    "AudioReader",
    "AudioWriter",
    "StreamResampler",
    "audio_info",
    "can_read_media",
    "can_write",
    "check_output",
    "find_audio",
    "flac_base64",
    "is_media",
    "output_format",
    "read_audio",
    "remove_left_parts",
    "resample",
    "resampled_blocks",
    "resampled_length",
    "shown",
    "write_audio",
]

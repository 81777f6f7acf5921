"""python denoise_onnx.py NOISY.wav CLEAN.wav, beside model.onnx; pip install numpy onnxruntime soundfile"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile

if len(sys.argv) != 3:
    sys.exit(f"usage: {__doc__}")
source, target = sys.argv[1:]
if not Path(source).is_file():
    sys.exit(f"{source}: no such file")
if Path(target).exists():
    sys.exit(f"{target}: exists already; choose another name")
if Path(target).suffix[1:].upper() not in soundfile.available_formats() or not Path(target).parent.is_dir():
    sys.exit(f"{target}: must end in .wav or .flac, in a folder that is there")
here = Path(__file__).parent
settings = json.loads((here / "settings.json").read_text(encoding="utf-8"))
try:
    audio, rate = soundfile.read(source, dtype="float32", always_2d=True)
except soundfile.SoundFileError as error:
    sys.exit(str(error))
if rate != (wanted := settings["sample_rate"]):
    advice = f'ffmpeg -i "{source}" -ar {wanted} resampled.wav'
    sys.exit(f"{source} has {rate} Hz; this model takes {wanted} Hz, resample it first: {advice}")

session = onnxruntime.InferenceSession(here / "model.onnx")
delay, hop, ahead = settings["delay_samples"], settings["hop_length"], settings["ahead_samples"]
padded = np.pad(audio.T, ((0, 0), (0, delay + -(len(audio) + delay) % hop)))
block, parts = settings["block_samples"] or padded.shape[1], []
shapes = settings["states"].items()
states = {f"{name}_in": np.zeros((len(padded), *shape), np.float32) for name, shape in shapes}
for start in range(0, padded.shape[1], block):
    shown = padded[:, start : start + block + ahead]  # what comes after the block is looked at only
    more = {"ahead": np.array([max(0, shown.shape[1] - block) // hop])} if ahead else {}
    denoised, *after = session.run(None, {"audio": shown, **more, **states})
    states = dict(zip(states, after, strict=True))  # what the next block needs of this one
    parts.append(denoised)
clean = np.concatenate(parts, axis=1)[:, delay : delay + len(audio)].T
soundfile.write(target, clean, rate)
print(f"wrote {target}")

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
delay, hop = settings["delay_samples"], settings["hop_length"]
padded = np.pad(audio.T, ((0, 0), (0, delay + -(len(audio) + delay) % hop)))
block = settings["block_samples"] or padded.shape[1]
states = {i.name: np.zeros((len(padded), *i.shape[1:]), np.float32) for i in session.get_inputs()[1:]}
parts = []
for start in range(0, padded.shape[1], block):
    denoised, *after = session.run(None, {"audio": padded[:, start : start + block], **states})
    states = dict(zip(states, after, strict=True))  # what the next block needs of this one
    parts.append(denoised)
clean = np.concatenate(parts, axis=1)[:, delay : delay + len(audio)].T
soundfile.write(target, clean, rate)
print(f"wrote {target}")

"""python denoise_onnx.py NOISY.wav CLEAN.wav, beside model.onnx; pip install numpy onnxruntime soundfile"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile

here = Path(__file__).parent
settings = json.loads((here / "settings.json").read_text(encoding="utf-8"))
audio, rate = soundfile.read(sys.argv[1], dtype="float32", always_2d=True)
if rate != settings["sample_rate"]:
    sys.exit(f"{sys.argv[1]} has {rate} Hz; this model takes {settings['sample_rate']} Hz, resample it first")

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
soundfile.write(sys.argv[2], clean, rate)

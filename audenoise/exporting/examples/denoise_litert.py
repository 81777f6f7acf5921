"""python denoise_litert.py NOISY.wav CLEAN.wav, beside model.tflite; pip install ai-edge-litert soundfile"""

import json
import sys
from pathlib import Path

import numpy as np
import soundfile
from ai_edge_litert.interpreter import Interpreter

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

process = Interpreter(str(here / "model.tflite")).get_signature_runner("process")
delay, block = settings["delay_samples"], settings["block_samples"]
padded = np.pad(audio.T, ((0, 0), (0, delay + -(len(audio) + delay) % block)))
clean = np.empty_like(padded)
for channel, samples in enumerate(padded):
    states = {name: np.zeros((1, *shape), np.float32) for name, shape in settings["states"].items()}
    for start in range(0, len(samples), block):
        states = process(audio=samples[None, start : start + block], **states)
        clean[channel, start : start + block] = states.pop("denoised")[0]
soundfile.write(target, clean[:, delay : delay + len(audio)].T, rate)
print(f"wrote {target}")

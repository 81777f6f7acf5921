"""python denoise_saved_model.py NOISY.wav CLEAN.wav, beside saved_model/; pip install soundfile tensorflow"""

import json
import sys
from pathlib import Path

import soundfile
import tensorflow as tf

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

model = tf.saved_model.load(str(here / "saved_model"))
clean = model.signatures["denoise"](audio=tf.constant(audio.T))["denoised"]
soundfile.write(target, clean.numpy().T, rate)
print(f"wrote {target}")

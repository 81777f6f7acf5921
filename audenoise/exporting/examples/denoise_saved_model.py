"""python denoise_saved_model.py NOISY.wav CLEAN.wav, beside saved_model/; pip install soundfile tensorflow"""

import json
import sys
from pathlib import Path

import soundfile
import tensorflow as tf

here = Path(__file__).parent
settings = json.loads((here / "settings.json").read_text(encoding="utf-8"))
audio, rate = soundfile.read(sys.argv[1], dtype="float32", always_2d=True)
if rate != settings["sample_rate"]:
    sys.exit(f"{sys.argv[1]} has {rate} Hz; this model takes {settings['sample_rate']} Hz, resample it first")

model = tf.saved_model.load(str(here / "saved_model"))
clean = model.signatures["denoise"](audio=tf.constant(audio.T))["denoised"]
soundfile.write(sys.argv[2], clean.numpy().T, rate)

// Records the microphone as a wav file, untouched by the browser's own noise suppression.

export class Recorder {
  async start() {
    if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
      throw new Error("This browser records only on pages with https or on this computer itself.");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
      });
    } catch (error) {
      const why = error.name === "NotFoundError" ? "there is none" : "the browser doesn't allow it";
      throw new Error(`The microphone can't be used: ${why}.`);
    }
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("/static/recorder-worklet.js");
    this.parts = [];
    this.length = 0;
    this.tap = new AudioWorkletNode(this.context, "tap", { numberOfInputs: 1, numberOfOutputs: 0 });
    this.tap.port.onmessage = ({ data }) => {
      // 16 bits at once: an hour is 350 MB as it is.
      this.parts.push(Int16Array.from(data, (x) => Math.max(-32768, Math.min(32767, Math.round(x * 32768)))));
      this.length += data.length;
    };
    this.context.createMediaStreamSource(this.stream).connect(this.tap);
  }

  get seconds() { return this.length / this.context.sampleRate; }

  async stop() {
    this.stream.getTracks().forEach((track) => track.stop());
    const rate = this.context.sampleRate;
    await this.context.close();
    if (!this.length) throw new Error("Nothing was recorded. Is the microphone on?");
    const stamp = new Date().toLocaleTimeString("sv").replaceAll(":", ".");
    return new File([header(this.length, rate), ...this.parts], `recording ${stamp}.wav`);
  }
}

function header(nSamples, rate) {
  const view = new DataView(new ArrayBuffer(44));
  const word = (at, text) => [...text].forEach((each, i) => view.setUint8(at + i, each.charCodeAt(0)));
  word(0, "RIFF"); view.setUint32(4, 36 + 2 * nSamples, true); word(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  word(36, "data"); view.setUint32(40, 2 * nSamples, true);
  return view;
}

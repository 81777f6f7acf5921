// Plays before and after at once, one of them silent: switching can't lose the place.
//
// Both come as the channels of one piece of samples, a few seconds at a time, so that an hour takes no more
// memory than a minute. Pieces are started at exact times of the audio clock, which runs at the recording's
// own rate: nothing is resampled here, and there is no seam.

const PIECE_S = 5;
const AHEAD_S = 8;
const FADE_S = 0.008;

export class Player {
  // source: { url, sample_rate, n_samples, channels }; onState is called when playing starts, stops or fails.
  constructor(source, onState) {
    this.source = source;
    this.onState = onState;
    this.side = "after";
    this.playing = false;
    this.position = 0;
    this.context = null;
    this.run = 0;
    this.pieces = new Map();
  }

  get duration() { return this.source.n_samples / this.source.sample_rate; }

  now() {
    if (!this.playing || this.startedAt === undefined) return this.position;
    return Math.min(this.duration, Math.max(this.position, this.position + this.context.currentTime - this.startedAt));
  }

  setSide(side) {
    this.side = side;
    if (!this.context) return;
    const time = this.context.currentTime;
    for (const [name, gain] of Object.entries(this.gains)) {
      gain.gain.cancelScheduledValues(time);
      gain.gain.setTargetAtTime(name === side ? 1 : 0, time, FADE_S);
    }
  }

  async seek(seconds) {
    const wasPlaying = this.playing;
    this.#stop();
    this.position = Math.min(Math.max(0, seconds), this.duration);
    if (wasPlaying) await this.play(); else this.onState();
  }

  pause() {
    this.position = this.now();
    this.#stop();
    this.onState();
  }

  async play() {
    if (this.playing) return;
    if (this.position >= this.duration - 0.01) this.position = 0;
    const run = ++this.run;
    this.playing = true;
    this.startedAt = undefined;
    this.voices = new Set();
    this.onState();
    try {
      this.#open();
      await this.context.resume();
      await this.#feed(run);
    } catch (error) {
      if (run !== this.run) return;
      this.#stop();
      this.onState(error.message || "The recording can't be played in this browser. Download it instead.");
    }
  }

  close() {
    this.#stop();
    this.context?.close();
    this.context = null;
    this.pieces.clear();
  }

  #open() {
    if (this.context) return;
    try {
      this.context = new AudioContext({ sampleRate: this.source.sample_rate });
    } catch {
      throw new Error(`This browser can't play ${this.source.sample_rate} Hz. Download the result instead.`);
    }
    this.gains = {};
    for (const name of ["before", "after"]) {
      const gain = this.context.createGain();
      gain.gain.value = name === this.side ? 1 : 0;
      gain.connect(this.context.destination);
      this.gains[name] = gain;
    }
  }

  #stop() {
    this.run++;
    this.playing = false;
    this.startedAt = undefined;
    for (const voice of this.voices ?? []) { voice.onended = null; voice.stop(); voice.disconnect(); }
    this.voices = new Set();
  }

  async #feed(run) {
    const { sample_rate: rate, n_samples: total } = this.source;
    const length = PIECE_S * rate;
    let sample = Math.min(total - 1, Math.round(this.position * rate));
    let due;
    while (sample < total) {
      const number = Math.floor(sample / length);
      const piece = await this.#piece(number);
      if (run !== this.run) return;
      const offset = sample - number * length;
      const after = piece.after;
      // The clock starts when the first piece is there; should a later one be late, it waits with it.
      const earliest = this.context.currentTime + 0.05;
      if (due === undefined || due < this.context.currentTime) {
        due = earliest;
        this.startedAt = due;
        this.position = sample / rate;
      }
      for (const name of ["before", "after"]) {
        const voice = this.context.createBufferSource();
        voice.buffer = piece[name];
        voice.connect(this.gains[name]);
        voice.start(due, offset / rate);
        this.voices.add(voice);
        voice.onended = () => {
          this.voices.delete(voice);
          voice.disconnect();
          if (run === this.run && name === "after" && number * length + after.length >= total) {
            this.#stop();
            this.position = this.duration;
            this.onState();
          }
        };
      }
      due += (after.length - offset) / rate;
      sample = number * length + after.length;
      while (due - this.context.currentTime > AHEAD_S) {
        await new Promise((resolve) => setTimeout(resolve, 200));
        if (run !== this.run) return;
      }
    }
  }

  #piece(number) {
    if (!this.pieces.has(number)) {
      this.pieces.set(number, this.#load(number).catch((error) => { this.pieces.delete(number); throw error; }));
      if (this.pieces.size > 6) this.pieces.delete(this.pieces.keys().next().value);
    }
    return this.pieces.get(number);
  }

  async #load(number) {
    const { url, sample_rate: rate, channels } = this.source;
    const length = PIECE_S * rate;
    const response = await fetch(`${url}?start=${number * length}&count=${length}`);
    if (!response.ok) throw new Error((await response.json()).error);
    const content = new DataView(await response.arrayBuffer());
    const width = 2 * channels;
    const n = content.byteLength / (2 * width);
    const piece = {};
    ["before", "after"].forEach((name, side) => {
      const buffer = this.context.createBuffer(channels, n, rate);
      for (let channel = 0; channel < channels; channel++) {
        const samples = buffer.getChannelData(channel);
        for (let i = 0; i < n; i++) {
          samples[i] = content.getInt16(2 * (i * width + side * channels + channel), true) / 32768;
        }
      }
      piece[name] = buffer;
    });
    return piece;
  }
}

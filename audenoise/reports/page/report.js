"use strict";
// All recordings of a file play at once, looped, all but one silent: switching keeps the place.
let context, current;

class FilePlayer {
  constructor(article) {
    this.play = article.querySelector("button.main");
    this.switches = [...article.querySelectorAll("button[data-side]")];
    this.time = article.querySelector(".time");
    this.texts = [...article.querySelectorAll("script")].map((each) => each.textContent);
    this.side = 1;
    this.sources = [];
    this.play.onclick = () => (this.sources.length ? this.stop() : this.start());
    this.switches.forEach((button, side) => { button.onclick = () => this.choose(side); });
    this.choose(1);
  }

  choose(side) {
    this.side = side;
    this.switches.forEach((button, i) => button.classList.toggle("on", i === side));
    this.gains?.forEach((gain, i) => gain.gain.setTargetAtTime(i === side ? 1 : 0, context.currentTime, 0.005));
  }

  async start() {
    current?.stop();
    current = this;
    try {
      context ??= new AudioContext();
      await context.resume();
      this.buffers ??= await Promise.all(this.texts.map((text) =>
        context.decodeAudioData(Uint8Array.from(atob(text), (each) => each.charCodeAt(0)).buffer)));
    } catch (error) {
      this.time.textContent = `This browser can't play it (${error.message}).`;
      return;
    }
    this.gains = this.buffers.map((_, i) => {
      const gain = new GainNode(context, { gain: i === this.side ? 1 : 0 });
      gain.connect(context.destination);
      return gain;
    });
    const when = context.currentTime + 0.03;
    this.length = Math.min(...this.buffers.map((buffer) => buffer.duration));
    this.sources = this.buffers.map((buffer, i) => {
      const source = new AudioBufferSourceNode(context, { buffer, loop: true, loopEnd: this.length });
      source.connect(this.gains[i]);
      source.start(when);
      return source;
    });
    this.when = when;
    this.play.textContent = "Stop";
    this.follow();
  }

  stop() {
    for (const source of this.sources) { source.stop(); source.disconnect(); }
    this.sources = [];
    this.gains = undefined;
    this.play.textContent = "Play";
  }

  follow() {
    if (!this.sources.length) return;
    const now = Math.max(0, context.currentTime - this.when) % this.length;
    this.time.textContent = `${now.toFixed(1)} / ${this.length.toFixed(1)} s`;
    requestAnimationFrame(() => this.follow());
  }
}

for (const article of document.querySelectorAll(".player")) new FilePlayer(article);

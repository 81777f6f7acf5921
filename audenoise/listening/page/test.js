"use strict";
// A listening test. All stimuli of a trial play at once, looped, all but one silent: switching keeps the place.
const $ = (id) => document.getElementById(id);
const test = JSON.parse(atob($("data").textContent.trim()));
const FADE_S = 0.005;
const BANDS = ["bad", "poor", "fair", "good", "excellent"];
const seed = crypto.getRandomValues(new Uint32Array(1))[0];
const random = mulberry32(seed);
const questions = shuffled(test.kind === "abx" ? abxQuestions() : test.trials.map((trial) => ({ trial })));
const answers = { format_version: 1, test: test.test, kind: test.kind, title: test.title, reference: test.reference,
  conditions: test.conditions, seed, listener: "", started: null, finished: null, browser: navigator.userAgent, trials: [] };
let context, voices, number = 0, since, frame;

function mulberry32(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffled(list) {
  const result = [...list];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j], result[i]];
  }
  return result;
}

function abxQuestions() {
  return test.trials.flatMap((trial) => test.conditions.flatMap((first, i) =>
    test.conditions.slice(i + 1).map((second) => {
      const [a, b] = shuffled([first, second]);
      return { trial, a, b, x: random() < 0.5 ? a : b };
    })));
}

// ---- sound

async function decoded(text) {
  const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
  return context.decodeAudioData(bytes.buffer);
}

async function load(keys, trial) {
  const buffers = await Promise.all(keys.map((key) => decoded(trial.stimuli[key])));
  return Object.fromEntries(keys.map((key, i) => [key, buffers[i]]));
}

function play(slot) {
  if (!voices.started) start(0);
  for (const [key, gain] of Object.entries(voices.gains)) {
    gain.gain.setTargetAtTime(key === slot ? 1 : 0, context.currentTime, FADE_S);
  }
  voices.slot = slot;
  for (const button of document.querySelectorAll("[data-slot]")) {
    button.classList.toggle("playing", button.dataset.slot === slot);
    if (button.dataset.slot === slot) button.classList.add("heard");
  }
  check();
}

function start(offset) {
  halt();
  voices.sources = Object.entries(voices.buffers).map(([slot, buffer]) => {
    const source = new AudioBufferSourceNode(context, { buffer, loop: true });
    source.connect(voices.gains[slot]);
    return source;
  });
  const when = context.currentTime + 0.03;
  voices.sources.forEach((source) => source.start(when, offset));
  Object.assign(voices, { started: true, when, offset });
  cancelAnimationFrame(frame);
  follow();
}

function halt() {
  for (const source of voices?.sources ?? []) { source.stop(); source.disconnect(); }
  if (voices) Object.assign(voices, { sources: [], started: false });
  for (const button of document.querySelectorAll("[data-slot]")) button.classList.remove("playing");
}

function follow() {
  if (!voices?.started) return;
  const duration = Object.values(voices.buffers)[0].duration;
  const now = (voices.offset + Math.max(0, context.currentTime - voices.when)) % duration;
  $("position").value = 1000 * now / duration;
  frame = requestAnimationFrame(follow);
}

// ---- questions

async function ask() {
  const question = questions[number];
  $("count").textContent = `Question ${number + 1} of ${questions.length}`;
  $("next").disabled = true;
  // Slots, in the order on the page, and what is behind them.
  if (test.kind === "abx") question.slots = { A: question.a, B: question.b, X: question.x };
  else {
    const order = shuffled(test.conditions);
    question.slots = { Reference: test.reference, ...Object.fromEntries(order.map((key, i) => [String.fromCharCode(65 + i), key])) };
  }
  const loaded = await load([...new Set(Object.values(question.slots))], question.trial);
  voices = { buffers: {}, gains: {}, sources: [], started: false };
  for (const [slot, key] of Object.entries(question.slots)) {
    voices.buffers[slot] = loaded[key];
    voices.gains[slot] = new GainNode(context, { gain: 0 });
    voices.gains[slot].connect(context.destination);
  }
  $("question").replaceChildren(...(test.kind === "abx" ? abxForm(question) : mushraForm(question)));
  $("position").value = 0;
  since = performance.now();
  check();
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function playButton(slot, text) {
  const button = element("button", { type: "button", textContent: text ?? slot, onclick: () => play(slot) });
  button.dataset.slot = slot;
  return button;
}

function abxForm(question) {
  const choice = (name) => {
    const radio = element("input", { type: "radio", name: "x", value: name, onchange: () => { question.chosen = name; check(); } });
    return element("label", {}, radio, ` X is ${name}`);
  };
  return [
    element("p", { className: "row" }, playButton("A", "Play A"), playButton("B", "Play B"), playButton("X", "Play X")),
    element("fieldset", {}, element("legend", { textContent: "X is the same recording as A or as B. Which one?" }), choice("A"), choice("B")),
  ];
}

function mushraForm(question) {
  question.ratings = {};
  const scale = element("div", { className: "scale", ariaHidden: "true" }, element("span", { style: "border:0" }),
    element("div", {}, ...BANDS.map((text) => element("span", { textContent: text }))));
  const rows = Object.keys(question.slots).filter((slot) => slot !== "Reference").map((slot) => {
    const shown = element("output", { textContent: "–" });
    const slider = element("input", { type: "range", min: 0, max: 100, value: 50, className: "unset", ariaLabel: `Quality of ${slot}` });
    slider.oninput = () => {
      slider.className = "";
      shown.textContent = slider.value;
      question.ratings[slot] = Number(slider.value);
      check();
    };
    slider.onpointerup = slider.oninput;  // who wants 50 leaves it where it is
    return element("div", { className: "rating" }, playButton(slot), slider, shown);
  });
  return [element("p", { className: "row" }, playButton("Reference", "Reference")), scale, ...rows];
}

function check() {
  const question = questions[number];
  const unheard = [...document.querySelectorAll("[data-slot]:not(.heard)")].map((each) => each.dataset.slot);
  let open = "";
  if (unheard.length) open = `Not heard yet: ${unheard.join(", ")}.`;
  else if (test.kind === "abx" && !question.chosen) open = "Choose A or B.";
  else if (test.kind === "mushra") {
    const left = Object.keys(question.slots).filter((slot) => slot !== "Reference" && !(slot in question.ratings));
    if (left.length) open = `Not rated yet: ${left.join(", ")}.`;
  }
  $("missing").textContent = open;
  $("next").disabled = Boolean(open);
}

function keep() {
  const { trial, slots, ratings, chosen, a, b, x } = questions[number];
  const seconds = Math.round((performance.now() - since) / 100) / 10;
  if (test.kind === "abx") {
    answers.trials.push({ name: trial.name, a, b, x, chosen: slots[chosen], seconds });
  } else {
    const scores = Object.fromEntries(Object.entries(ratings).map(([slot, score]) => [slots[slot], score]));
    answers.trials.push({ name: trial.name, order: Object.values(slots).slice(1), scores, seconds });
  }
}

function finish() {
  answers.finished = new Date().toISOString();
  const name = `answers-${test.test}-${answers.listener.replace(/[^A-Za-z0-9_-]+/g, "_") || seed}.json`;
  $("answers").href = URL.createObjectURL(new Blob([JSON.stringify(answers, null, 1)], { type: "application/json" }));
  $("answers").download = name;
  $("answers").onclick = () => { window.onbeforeunload = null; };
  $("trial").hidden = true;
  $("end").hidden = false;
}

function failed(error) {
  $("problem").hidden = false;
  $("problem").textContent = `This browser can't play the recordings (${error.message}). Try another one.`;
}

$("task").textContent = test.kind === "abx"
  ? `${questions.length} questions. In each, X is the same recording as A or as B: listen to all three and say which. Guess if you hear no difference.`
  : `${questions.length} questions. In each, compare every recording with the reference and rate it from 0 to 100 against it. One of them is the reference itself: it deserves 100.`;
$("begin").onclick = async () => {
  try {
    context ??= new AudioContext();
    await context.resume();
    answers.listener = $("listener").value.trim();
    answers.started = new Date().toISOString();
    window.onbeforeunload = (event) => event.preventDefault();
    await ask();
    $("start").hidden = true;
    $("trial").hidden = false;
  } catch (error) { failed(error); }
};
$("stop").onclick = halt;
$("position").oninput = () => {
  if (!voices.started) return;
  const { slot } = voices;
  start(Object.values(voices.buffers)[0].duration * $("position").value / 1000);
  play(slot);
};
$("next").onclick = async () => {
  halt();
  keep();
  $("next").disabled = true;
  if (++number === questions.length) finish();
  else await ask().then(() => window.scrollTo(0, 0), failed);
};

import { Player } from "./player.js";
import { Recorder } from "./recorder.js";

const $ = (id) => document.getElementById(id);
const HEADERS = { "X-Audenoise": "1" };
const NO_LIMIT_DB = 61;
const LOST = "The server can't be reached. Is it still running?";
const narrow = matchMedia("(max-width: 36rem)");
const items = [];
let settings, shown, player, recorder, running = false;

// ---- talking to the server

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { headers: HEADERS, ...options });
  } catch {
    throw new Error(LOST);
  }
  if (!response.ok) throw new Error((await response.json().catch(() => ({}))).error ?? LOST);
  return response.status === 204 ? null : response.json();
}

function upload(item) {
  const query = new URLSearchParams({ name: item.file.name, ...item.wanted });
  return new Promise((resolve, reject) => {
    const request = item.request = new XMLHttpRequest();
    request.open("POST", `/api/jobs?${query}`);
    request.setRequestHeader("X-Audenoise", "1");
    request.upload.onprogress = (event) => update(item, "uploading", event.loaded / event.total);
    request.onabort = () => reject(new Error("cancelled"));
    request.onerror = () => reject(new Error(LOST));
    request.onload = () => {
      const answer = JSON.parse(request.responseText || "{}");
      if (request.status === 201) resolve(answer.key); else reject(new Error(answer.error ?? LOST));
    };
    request.send(item.file);
  });
}

function forget(key) {
  if (key) fetch(`/api/jobs/${key}`, { method: "DELETE", headers: HEADERS, keepalive: true }).catch(() => {});
}

// ---- recordings, one after the other: so a batch doesn't keep other visitors waiting

function wanted() {
  const limit = Number($("limit").value);
  return {
    model: $("model").value,
    strength: String($("strength").value / 100),
    ...(narrow.matches ? { narrow: "1" } : {}),
    ...($("enhance").checked ? { enhance: String($("amount").value / 100) } : {}),
    ...(limit < NO_LIMIT_DB ? { max_attenuation_db: String(limit) } : {}),
  };
}

function add(files) {
  problem("");
  const here = items.length;
  if (here + files.length > settings.max_files) {
    problem(`${settings.max_files} recordings are allowed at a time; ${here + files.length} would be here.`);
    return;
  }
  for (const file of files) {
    const item = { file, wanted: wanted(), state: "queued", key: null };
    draw(item);
    items.push(item);
    if (file.size > settings.max_upload_bytes) {
      fail(item, `${file.name} is ${size(file.size)}; ${size(settings.max_upload_bytes)} are allowed here.`);
    } else if (file.size === 0) {
      fail(item, `${file.name} is empty.`);
    }
  }
  refresh();
  next();
}

async function next() {
  const item = items.find((each) => each.state === "queued");
  if (running || !item) return;
  running = true;
  try {
    await denoise(item);
  } catch (error) {
    if (item.state !== "removed") fail(item, error.message);
  }
  running = false;
  refresh();
  next();
}

async function denoise(item) {
  item.state = "working";
  update(item, "uploading", 0);
  const key = await upload(item);
  if (item.state !== "working") { forget(key); return; }
  item.key = key;
  let missed = 0;
  while (item.state === "working") {
    let answer;
    try {
      answer = await ask(`/api/jobs/${item.key}`);
      missed = 0;
    } catch (error) {
      // A phone loses its network for a moment, the server goes on.
      if (error.message !== LOST || ++missed > 20) throw error;
      await pause(1000);
      continue;
    }
    if (item.state !== "working") break;
    if (answer.result_name && !item.result) {
      item.result = answer;
      // It can be heard before it is drawn.
      if (!shown?.result || shown === item) show(item);
    }
    if (answer.state === "done") {
      item.state = "done";
      item.result = answer;
      const clipped = answer.clipped_db === null ? "" : `; peaks of up to ${answer.clipped_db} dB over full scale are cut off`;
      update(item, `done, ${clock(answer.n_samples / answer.sample_rate)}${clipped}`, 1);
      if (shown === item) picture();
    } else if (answer.state === "failed") {
      throw new Error(answer.error);
    } else {
      const ahead = answer.ahead === 1 ? "1 recording is" : `${answer.ahead} recordings are`;
      update(item, answer.state === "waiting" && answer.ahead ? `waiting: ${ahead} before it` : answer.stage || "waiting", answer.progress);
      await pause(300);
    }
  }
}

function fail(item, message) {
  item.state = "failed";
  update(item, message, 0);
  forget(item.key);
  item.key = null;
}

function remove(item) {
  item.state = "removed";
  item.request?.abort();
  forget(item.key);
  item.row.remove();
  items.splice(items.indexOf(item), 1);
  if (shown === item) show(items.find((each) => each.result));
  refresh();
}

function again(item) {
  player?.close();
  forget(item.key);
  Object.assign(item, { key: null, result: null, state: "queued", wanted: wanted() });
  update(item, "waiting", 0);
  show(null);
  shown = item;
  refresh();
  next();
}

// ---- drawing the list

function draw(item) {
  const row = item.row = document.createElement("li");
  const part = (tag, name) => Object.assign(row.appendChild(document.createElement(tag)), { className: name });
  part("span", "name").textContent = item.file.name;
  item.said = part("span", "said");
  item.bar = part("progress", "");
  const doing = part("span", "doing");
  item.listen = Object.assign(doing.appendChild(document.createElement("button")), { type: "button", textContent: "Listen" });
  item.stop = Object.assign(doing.appendChild(document.createElement("button")), { type: "button" });
  item.listen.onclick = () => { show(item); $("listen").scrollIntoView({ behavior: "smooth" }); };
  item.stop.onclick = () => remove(item);
  $("list").append(row);
  update(item, "waiting", 0);
}

function update(item, said, progress) {
  const busy = item.state === "queued" || item.state === "working";
  item.said.textContent = busy && progress > 0 && progress < 1 ? `${said}, ${Math.round(100 * progress)} %` : said;
  item.said.className = item.state === "failed" ? "said failed" : "said";
  item.said.role = item.state === "failed" ? "alert" : "status";
  item.bar.value = progress;
  item.bar.hidden = !busy;
  item.listen.hidden = !item.result;
  item.stop.textContent = busy ? "Cancel" : "Remove";
}

function refresh() {
  const done = items.filter((each) => each.state === "done");
  $("batch").hidden = !items.length;
  $("all").hidden = items.length < 2;
  $("zip").hidden = done.length < 2;
  $("zip").textContent = `Download ${done.length} as zip`;
  $("zip").href = `/api/zip?${done.map((each) => `key=${each.key}`).join("&")}`;
  for (const item of items) item.row.classList.toggle("shown", item === shown && items.length > 1);
}

// ---- hearing and seeing

function show(item) {
  player?.close();
  player = null;
  shown = item;
  $("listen").hidden = !item;
  refresh();
  if (!item) return;
  const { result, key } = item;
  player = new Player({ url: `/api/jobs/${key}/audio`, ...result }, heard);
  player.setSide(document.querySelector("input[name=side]:checked").value);
  $("playing").textContent = item.file.name;
  $("download").href = `/api/jobs/${key}/result`;
  $("download").download = result.result_name;
  picture();
  heard();
}

function picture() {
  const panels = shown.result.panels ?? [];
  $("pictures").hidden = true;
  $("drawing").hidden = false;
  if (panels.length) $("picture").src = `/api/jobs/${shown.key}/picture`;
  $("heads").replaceChildren(...panels.map((box) => {
    const panel = document.createElement("div");
    for (const side of ["left", "top", "width", "height"]) panel.style[side] = `${100 * box[side]}%`;
    panel.append(document.createElement("i"));
    panel.onclick = (event) => {
      const { left, width: across } = panel.getBoundingClientRect();
      player.seek(player.duration * (event.clientX - left) / across);
    };
    return panel;
  }));
  follow();
}

function heard(error) {
  problem(error ?? "");
  $("play").textContent = player?.playing ? "Pause" : "Play";
  follow();
  if (player?.playing) requestAnimationFrame(tick);
}

function tick() {
  follow();
  if (player?.playing) requestAnimationFrame(tick);
}

function follow() {
  if (!player) return;
  const now = player.now();
  const share = now / player.duration;
  $("time").textContent = `${clock(now)} / ${clock(player.duration)}`;
  if (document.activeElement !== $("position") || player.playing) $("position").value = 1000 * share;
  for (const head of $("heads").querySelectorAll("i")) head.style.left = `${100 * share}%`;
}

function toggle() {
  if (!player) return;
  if (player.playing) player.pause(); else player.play();
}

function side(name) {
  document.querySelector(`input[name=side][value=${name}]`).checked = true;
  player?.setSide(name);
}

// ---- words

function problem(text) { $("problem").textContent = text; $("problem").hidden = !text; }
function pause(ms) { return new Promise((resolve) => setTimeout(resolve, ms)); }
function size(bytes) { return `${(bytes / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} MB`; }
function clock(seconds) {
  const whole = Math.floor(seconds);
  const part = seconds < 60 ? `.${Math.floor(10 * (seconds % 1))}` : "";
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}${part}`;
}
function labels() {
  const limit = Number($("limit").value);
  $("strength-value").textContent = `${$("strength").value} %`;
  $("limit-value").textContent = limit < NO_LIMIT_DB ? `${limit} dB` : "none";
  $("amount").disabled = !$("enhance").checked;
  $("amount-value").textContent = $("enhance").checked ? `${$("amount").value} %` : "off";
  $("model-about").textContent = settings.models.find((each) => each.name === $("model").value)?.description ?? "";
}

// ---- the page's own events

$("files").onchange = () => { add([...$("files").files]); $("files").value = ""; };
$("record").onclick = async () => {
  problem("");
  const button = $("record");
  try {
    if (recorder) {
      const ready = recorder;
      recorder = null;
      button.className = "";
      button.textContent = "Record";
      add([await ready.stop()]);
      return;
    }
    button.disabled = true;
    const fresh = new Recorder();
    await fresh.start();
    recorder = fresh;
    button.className = "recording";
    const count = setInterval(() => {
      if (recorder !== fresh) { clearInterval(count); return; }
      button.textContent = `Stop (${clock(fresh.seconds)})`;
      if (fresh.seconds > 60 * settings.max_minutes) button.click();
    }, 100);
  } catch (error) {
    recorder = null;
    problem(error.message);
  } finally {
    button.disabled = false;
  }
};
$("picture").onload = () => { $("pictures").hidden = false; $("drawing").hidden = true; };
$("play").onclick = toggle;
$("again").onclick = () => again(shown);
$("clear").onclick = () => [...items].forEach(remove);
$("position").oninput = () => player?.seek(player.duration * $("position").value / 1000);
for (const each of document.querySelectorAll("input[name=side]")) each.onchange = () => player?.setSide(each.value);
for (const id of ["model", "strength", "limit", "enhance", "amount"]) $(id).oninput = labels;
document.onkeydown = (event) => {
  if (event.target.closest("input:not([type=radio]):not([type=range]), select, button, a") && event.key === " ") return;
  if (event.key === " ") { event.preventDefault(); toggle(); }
  if (event.key.toLowerCase() === "b" && player && !event.ctrlKey && !event.metaKey) side(player.side === "after" ? "before" : "after");
};
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  if (event.dataTransfer.files.length) add([...event.dataTransfer.files]);
});
window.addEventListener("pagehide", (event) => { if (!event.persisted) items.forEach((item) => forget(item.key)); });

try {
  settings = await ask("/api/settings");
  $("model").replaceChildren(...settings.models.map(({ name }) => new Option(name)));
  $("model-field").hidden = settings.models.length < 2;
  $("enhance-field").hidden = !settings.enhancer;
  if (settings.enhancer) {
    $("enhancer-about").textContent = `After denoising, give back high frequencies and clipped peaks that the recording has lost. They are made up, and may sound right and be wrong. The result is at ${settings.enhancer.sample_rate / 1000} kHz.`;
  }
  $("keeping").textContent = `Nothing leaves the machine that serves this page; recordings are removed when you close it, or after ${settings.keep_minutes} minutes.`;
  $("limits").textContent = `wav, flac, ogg, mp3, aiff${settings.media ? ", m4a, mp4, webm" : ""} and others; up to ${size(settings.max_upload_bytes)} and ${settings.max_minutes} minutes each.`;
  labels();
} catch (error) {
  problem(error.message);
}

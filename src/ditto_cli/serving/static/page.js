// Talks to this server alone. Whatever a model or a person wrote is put into the page as text, never as HTML.

const $ = (id) => document.getElementById(id);
const state = { adapters: [], key: sessionStorage.getItem("key"), stop: null, pair: null, skipped: [] };

function make(tag, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
}

function say(text, isProblem = false) {
  $("status").textContent = text;
  $("status").classList.toggle("problem", isProblem);
}

async function ask(path, content, signal) {
  const headers = content === undefined ? {} : { "content-type": "application/json" };
  if (state.key) headers.authorization = `Bearer ${state.key}`;
  const body = content === undefined ? undefined : JSON.stringify(content);
  const answer = await fetch(path, { method: body ? "POST" : "GET", headers, body, signal });
  if (answer.status === 401) {
    state.key = await askedKey();
    return ask(path, content, signal);
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => null);
    throw new Error(problem?.error?.message ?? `The server answered ${answer.status}.`);
  }
  return answer;
}

let openKey = null; // one question for all requests that wait for it

function askedKey() {
  openKey ??= new Promise((resolve) => {
    $("locked").addEventListener("close", () => {
      sessionStorage.setItem("key", $("key").value.trim());
      openKey = null;
      resolve($("key").value.trim());
    }, { once: true });
    $("locked").showModal();
  });
  return openKey;
}

// Runs what a button does; a problem is said, and stopping is none.
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    if (error.name === "AbortError") say("Stopped.");
    else say(error instanceof TypeError ? "The server does not answer: is ditto serve still running?" : error.message, true);
  }
}

// ---- Write

function voiceRow(name, isChecked, hasStrength) {
  const box = make("input", { type: "checkbox", value: name, checked: isChecked });
  const row = make("div", { className: "voice" }, make("label", {}, box, ` ${name}`));
  if (hasStrength) {
    const slider = make("input", { type: "range", min: "0", max: "1.5", step: "0.1", value: "1" });
    const shown = make("output", {}, "1.0");
    slider.setAttribute("aria-label", `Strength of ${name}`);
    slider.addEventListener("input", () => { shown.textContent = Number(slider.value).toFixed(1); });
    row.append(make("span", { className: "strength" }, "strength", slider, shown));
  }
  return row;
}

function showVoices() {
  const rows = state.adapters.map((adapter, index) => voiceRow(adapter.name, index === 0, true));
  const stages = state.adapters.flatMap((adapter) =>
    adapter.stages.filter((stage) => stage !== adapter.published).map((stage) => voiceRow(`${adapter.name}:${stage}`, false, true)));
  const more = stages.length ? [make("details", {}, make("summary", {}, "other stages of training"), ...stages)] : [];
  $("voices").replaceChildren(voiceRow("base", true, false), ...rows, ...more);
  $("several").checked = state.adapters.some((adapter) => adapter.best_of > 1 && adapter.has_texts);
}

function chosenVoices() {
  return [...document.querySelectorAll("#voices .voice")].filter((row) => row.querySelector("[type=checkbox]").checked).map((row) => {
    const strength = Number(row.querySelector("[type=range]")?.value ?? 1);
    const name = row.querySelector("[type=checkbox]").value;
    return strength === 1 ? name : `${name}:${strength.toFixed(1)}`;
  });
}

async function* eventsOf(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
    }
  }
}

async function writeAs(voice, prompt, seed, signal) {
  const text = make("p", { className: "text" });
  const note = make("p", { className: "note" }, "waits");
  const card = make("article", {}, make("h2", {}, voice), text, note);
  card.setAttribute("aria-busy", "true");
  $("texts").append(card);
  const adapter = adapterOf(voice);
  const drafts = $("several").checked && adapter?.has_texts ? Math.max(adapter.best_of, 8) : 1;
  const asked = { model: voice, messages: [{ role: "user", content: prompt }], seed, stream: true, best_of: drafts };
  note.textContent = drafts > 1 ? `writes ${drafts} drafts` : "writes";
  try {
    let ended = "stop";
    for await (const event of eventsOf(await ask("/v1/chat/completions", asked, signal))) {
      if (event.error) throw new Error(event.error.message);
      const [choice] = event.choices;
      text.textContent += choice?.delta?.content ?? "";
      ended = choice?.finish_reason ?? ended;
    }
    note.textContent = [drafts > 1 && `the best of ${drafts}`, ended === "length" && "cut at the length limit"].filter(Boolean).join(", ");
    card.append(actionsFor(card, text, prompt, voice));
    return true;
  } catch (error) {
    note.textContent = error.name === "AbortError" ? "stopped" : error.message;
    return error.name === "AbortError";
  } finally {
    card.removeAttribute("aria-busy");
  }
}

function adapterOf(voice) {
  return state.adapters.find((adapter) => adapter.name === voice.split(/[:+]/)[0]);
}

function actionsFor(card, text, prompt, voice) {
  const copy = make("button", { type: "button" }, "Copy");
  copy.addEventListener("click", () => attempt(async () => {
    await navigator.clipboard.writeText(text.textContent);
    say("Copied.");
  }));
  const take = make("button", { type: "button" }, "Edit and keep");
  take.addEventListener("click", () => { take.disabled = true; card.append(editor(text.textContent, prompt, voice, take)); });
  const keepable = state.adapters.some((adapter) => adapter.has_texts);
  return make("p", { className: "actions" }, copy, ...(keepable ? [take] : []));
}

function editor(written, prompt, voice, opener) {
  const area = make("textarea", { rows: 8, value: written });
  area.setAttribute("aria-label", "The text, as you would have written it");
  const choice = make("select");
  choice.setAttribute("aria-label", "Whose texts it joins");
  choice.append(...state.adapters.filter((a) => a.has_texts).map((a) => make("option", {}, a.name)));
  if (adapterOf(voice)?.has_texts) choice.value = adapterOf(voice).name;
  const keep = make("button", { type: "button", className: "main" }, "Keep as a text of");
  const note = make("p", { className: "note" }, "Make it yours: what you keep joins the texts that are learnt from at the next ditto train.");
  keep.addEventListener("click", () => attempt(async () => {
    const content = { prompt, text: area.value, written, writer: adapterOf(voice)?.name };
    const answer = await ask(`/page/adapters/${encodeURIComponent(choice.value)}/texts`, content);
    note.textContent = (await answer.json()).message;
    say(note.textContent);
  }));
  queueMicrotask(() => { area.focus(); area.setSelectionRange(0, 0); area.scrollTop = 0; });
  const close = make("button", { type: "button" }, "Close");
  const box = make("div", {}, area, make("p", { className: "actions" }, keep, choice, close), note);
  close.addEventListener("click", () => { box.remove(); opener.disabled = false; opener.focus(); });
  return box;
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const voices = chosenVoices();
    if (!voices.length) throw new Error("Choose at least one voice.");
    const prompt = $("prompt").value.trim();
    if (!prompt) throw new Error("Say what should be written.");
    state.stop = new AbortController();
    $("texts").replaceChildren();
    $("go").disabled = true;
    $("stop").hidden = false;
    say("Writing.");
    const seed = crypto.getRandomValues(new Uint32Array(1))[0];
    const written = await Promise.all(voices.map((voice) => writeAs(voice, prompt, seed, state.stop.signal)));
    if (written.includes(false)) say("Not all could be written.", true);
    else say(state.stop.signal.aborted ? "Stopped." : "Done.");
  }).finally(() => { $("go").disabled = false; $("stop").hidden = true; });
});

$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("ask").requestSubmit();
});

$("stop").addEventListener("click", () => state.stop?.abort());

// ---- Compare blind

async function nextPair() {
  const name = $("of").value;
  $("pair").hidden = $("nothing").hidden = true;
  if (!name) return;
  const answer = await ask(`/page/adapters/${encodeURIComponent(name)}/pairs/next`, { skipped: state.skipped });
  const { pair, total, tally } = await answer.json();
  state.pair = pair;
  $("pair").hidden = !pair;
  $("nothing").hidden = Boolean(pair);
  if (pair) {
    $("asked").textContent = pair.prompt;
    $("progress").textContent = `Pair ${pair.number} of ${pair.total}`;
    $("left").textContent = pair.left;
    $("right").textContent = pair.right;
  } else {
    $("nothing").textContent = total
      ? `You have seen all ${total} pairs. ditto eval --adapter ${name} --judge me makes the report of it.`
      : `There are no pairs of ${name} yet: run ditto eval --adapter ${name}, which writes them.`;
  }
  $("tally").hidden = !tally.length;
  $("tally").querySelector("tbody").replaceChildren(...tally.map((row) =>
    make("tr", {}, ...[row.adapter, row.rival, row.won, row.lost, row.same].map((cell) => make("td", {}, String(cell))))));
}

async function pick(what) {
  const pair = state.pair;
  const { id, left, right } = pair;
  state.pair = null; // one answer to a pair
  try {
    if (what === "skip") state.skipped.push(id);
    else await ask(`/page/adapters/${encodeURIComponent($("of").value)}/pairs`, { id, left, right, pick: what });
  } catch (error) {
    state.pair = pair;
    throw error;
  }
  await nextPair();
}

for (const button of document.querySelectorAll("[data-pick]")) {
  button.addEventListener("click", () => state.pair && attempt(() => pick(button.dataset.pick)));
}

document.addEventListener("keydown", (event) => {
  const what = { 1: "left", 2: "right", 0: "same", s: "skip" }[event.key];
  const isTyping = event.repeat || event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey;
  if (what && state.pair && !isTyping && !$("compare").hidden && !$("pair").hidden) attempt(() => pick(what));
});

$("of").addEventListener("change", () => { state.skipped = []; attempt(nextPair); });

// ---- Adapters

async function openReport(name) {
  const path = `/page/adapters/${encodeURIComponent(name)}/report`;
  if (!state.key) {
    window.open(path, "_blank", "noopener");
    return;
  }
  const url = URL.createObjectURL(await (await ask(path)).blob());
  make("a", { href: url, download: `${name}-report.html` }).click();
  URL.revokeObjectURL(url);
}

function adapterRow(adapter) {
  const stages = adapter.stages.map((stage) => (stage === adapter.published ? `${stage} (published)` : stage)).join(", ");
  const report = make("button", { type: "button" }, "Report");
  report.addEventListener("click", () => attempt(() => openReport(adapter.name)));
  const evaluation = adapter.has_report ? report : `none yet: ditto eval --adapter ${adapter.name}`;
  const cells = [adapter.name, stages, adapter.has_texts ? "there" : "not where they were", evaluation];
  return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
}

async function showAdapters() {
  state.adapters = await (await ask("/page/adapters")).json();
  $("adapters").querySelector("tbody").replaceChildren(...state.adapters.map(adapterRow));
  const chosen = $("of").value;
  $("of").replaceChildren(...state.adapters.map((adapter) => make("option", { selected: adapter.name === chosen }, adapter.name)));
}

// ---- Views

const opened = { compare: nextPair, adapters: showAdapters };

for (const button of document.querySelectorAll("[data-view]")) {
  button.addEventListener("click", () => {
    for (const other of document.querySelectorAll("[data-view]")) {
      other.toggleAttribute("aria-current", other === button);
      $(other.dataset.view).hidden = other !== button;
    }
    button.setAttribute("aria-current", "page");
    say("");
    attempt(opened[button.dataset.view] ?? (() => {}));
  });
}

attempt(async () => {
  await showAdapters();
  showVoices();
  if (!state.adapters.length) say("There is no adapter yet: ditto train FOLDER makes one. The base writes as it is.");
});

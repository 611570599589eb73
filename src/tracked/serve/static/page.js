// Ask the model about what is typed. Everything is shown as text (textContent): nothing of an answer becomes HTML.
"use strict";

const LEVELS = 5; // shades of each colour
const FAINT = 0.02; // of the strongest effect; below, a piece is not shaded
const SHOWN = 10; // parts in the table before a click on the button for the others
const GRACE = 10; // seconds that the server may take beyond its own limit
const NUMBER = /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i;
const TOKEN = /^[\x21-\x7e]+$/; // what a header can hold
const UNREADABLE = "The server's answer cannot be read.";

const find = (id) => document.getElementById(id);
const form = find("form"), button = find("ask"), token = find("token");
const facts = JSON.parse(form.dataset.facts);
const notes = new Map(Object.entries(facts.notes));
const inputs = facts.columns.map((_, number) => find(`column-${number}`));
let isWaiting = false;

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children); // a string becomes a text node
  return element;
}

function formatNumber(value) {
  const text = Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
  return text.replace("-", "−");
}

function formatProbability(value) {
  if (value < 0.001) return "below 0.001";
  return value > 0.999 ? "above 0.999" : value.toFixed(3);
}

function formatEffect(effect) {
  return `${effect < 0 ? "−" : "+"}${Math.abs(effect).toFixed(3)}`;
}

function format(value) {
  if (typeof value === "number") return formatNumber(value);
  return typeof value === "string" ? value : JSON.stringify(value) ?? "";
}

function convert(typed, kind) {
  if (kind === "number" && NUMBER.test(typed) && Number.isFinite(Number(typed))) return Number(typed);
  if (kind === "boolean" && /^\s*(true|false)\s*$/i.test(typed)) return typed.trim().toLowerCase() === "true";
  return typed;
}

function readRow() {
  // fromEntries: also a column named __proto__ becomes a key.
  return Object.fromEntries(facts.columns.map((name, at) => [name, convert(inputs[at].value, facts.kinds[at])]));
}

async function send(path, body) {
  const headers = { "Content-Type": "application/json" };
  if (token?.value) {
    if (!TOKEN.test(token.value)) throw new Error("The token has a character that no token has.");
    headers.Authorization = `Bearer ${token.value}`;
  }
  const signal = AbortSignal.timeout(1000 * (facts.seconds + GRACE));
  const response = await fetch(path, { method: "POST", headers, body, signal, cache: "no-store" }).catch((error) => {
    const isLate = error.name === "TimeoutError";
    throw new Error(isLate ? "The server did not answer in time." : "The server cannot be reached.");
  });
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    const message = typeof answer?.message === "string" && answer.message;
    throw new Error(message || `The server answered with status ${response.status}.`, { cause: response.status });
  }
  if (answer === null || typeof answer !== "object") throw new Error(UNREADABLE);
  return { answer, model: response.headers.get("Model-Version") };
}

function makeCaption(name) {
  const caption = make("span", "caption", name);
  if (notes.has(name)) caption.append(" ", make("span", "note", notes.get(name)));
  return caption;
}

function makeBar(className, share) {
  const bar = make("span", `bar ${className}`);
  bar.style.width = `${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%`;
  return bar;
}

function showAnswer(prediction, model) {
  const values = new Map(Object.entries(prediction)), card = make("section", "card");
  const headline = values.has("predicted") ? "predicted" : [...values.keys()].find((name) => name !== "probability");
  if (headline !== undefined) {
    const value = make("strong", "headline", format(values.get(headline)));
    value.dir = "auto";
    card.append(make("p", "", makeCaption(headline), value));
    values.delete(headline);
  }
  const probability = values.get("probability");
  if (typeof probability === "number" && probability >= 0 && probability <= 1) {
    const number = make("b", "number", formatProbability(probability));
    const track = make("span", "track", makeBar("", probability));
    card.append(make("p", "probability", makeCaption("probability"), number, track));
    values.delete("probability");
  }
  if (values.size) {
    const rows = [...values].map(([name, value]) => {
      const head = make("th", "", makeCaption(name)), cell = make("td", "", format(value));
      head.scope = "row";
      return make("tr", "", head, cell);
    });
    card.append(make("table", "values", make("tbody", "", ...rows)));
  }
  if (model) card.append(make("p", "hint", `Answered by ${model}`));
  find("answer").replaceChildren(card);
}

function findLargest(effects) {
  // Not Math.max(...): a long input has more pieces than a call may have arguments.
  return effects.reduce((most, { effect }) => (typeof effect === "number" ? Math.max(most, Math.abs(effect)) : most), 0);
}

function makePiece(piece, largest) {
  const effect = typeof piece.effect === "number" ? piece.effect : 0, classes = [];
  if (piece.is_read === false) classes.push("unread");
  if (piece.is_known === false) classes.push("unknown");
  const isShaded = largest > 0 && Math.abs(effect) >= FAINT * largest;
  if (isShaded) {
    const level = Math.min(LEVELS, 1 + Math.floor((LEVELS * Math.abs(effect)) / largest));
    classes.push(`${effect > 0 ? "for" : "against"}${level}`);
  }
  const text = format(piece.text ?? "");
  if (!classes.length) return text;
  const made = make(isShaded ? "mark" : "span", classes.join(" "), text);
  if (isShaded) made.title = formatEffect(effect);
  return made;
}

function makeLegend(pieces) {
  const shades = (kind) => Array.from({ length: LEVELS }, (_, at) => make("mark", `${kind}${at + 1}`, "\u00a0"));
  const legend = make("div", "legend");
  legend.append(make("span", "", make("b", "", ...shades("against").reverse()), " against the prediction (dashed)"));
  legend.append(make("span", "", make("b", "", ...shades("for")), " for the prediction (solid)"));
  if (pieces.some((piece) => piece.is_known === false)) legend.append(make("span", "unknown", "unknown to the model"));
  if (pieces.some((piece) => piece.is_read === false)) legend.append(make("span", "unread", "not read by the model"));
  return legend;
}

function makeParts(parts) {
  const largest = findLargest(parts) || 1;
  const hasNotes = parts.some((part) => part.note);
  const names = ["part", "effect", ...(hasNotes ? ["note"] : [])];
  const head = names.map((name) => Object.assign(make("th", "", name), { scope: "col" }));
  const rows = parts.map((part, at) => {
    const kind = part.effect > 0 ? "for" : "against";
    const effect = make("td", "number", formatEffect(part.effect), makeBar(kind, Math.abs(part.effect) / largest));
    const row = make("tr", "", make("td", "", format(part.name)), effect);
    if (hasNotes) row.append(make("td", "", format(part.note ?? "")));
    row.cells[0].dir = "auto";
    row.hidden = at >= SHOWN;
    return row;
  });
  const table = make("table", "parts", make("thead", "", make("tr", "", ...head)), make("tbody", "", ...rows));
  if (rows.length <= SHOWN) return [table];
  const more = Object.assign(make("button", "quiet", `Show all ${rows.length}`), { type: "button" });
  more.addEventListener("click", () => {
    rows.forEach((row) => { row.hidden = false; });
    more.remove();
  });
  return [table, more];
}

function showExplanation({ pieces = [], parts = [], note = "" }) {
  const largest = findLargest(pieces);
  const card = make("section", "card", make("h2", "", "What decided"));
  if (pieces.length) {
    const shown = make("div", "pieces");
    pieces.forEach((piece) => shown.append(makePiece(piece, largest)));
    shown.dir = "auto";
    card.append(makeLegend(pieces), shown);
  }
  if (parts.length) card.append(...makeParts(parts));
  if (note) card.append(make("p", "hint", note));
  find("explanation").replaceChildren(card);
}

function showError(message) {
  find("error").replaceChildren(...(message ? [make("p", "error", message)] : []));
}

function setWaiting(waiting, words = "") {
  isWaiting = button.disabled = waiting;
  find("waiting").textContent = words;
  find("results").classList.toggle("stale", waiting);
}

async function ask() {
  if (isWaiting) return;
  const focused = document.activeElement;
  setWaiting(true, "Waiting for the answer …");
  showError("");
  let isAnswered = false;
  try {
    const body = JSON.stringify({ [facts.name]: [readRow()] });
    const { answer, model } = await send("predict", body);
    if (!answer.predictions?.[0] || typeof answer.predictions[0] !== "object") throw new Error(UNREADABLE);
    showAnswer(answer.predictions[0], model);
    find("explanation").replaceChildren();
    isAnswered = true;
    if (token) keep(token.value);
    if (facts.explains) {
      find("results").classList.remove("stale");
      find("waiting").textContent = "Waiting for the reasons …";
      const { answer: reasons, model: explained } = await send("explain", body);
      if (explained !== model) showAnswer(reasons.prediction, explained); // another version has come meanwhile
      showExplanation(reasons);
    }
  } catch (error) {
    if (!isAnswered) [find("answer"), find("explanation")].forEach((one) => one.replaceChildren());
    showError(error instanceof TypeError ? UNREADABLE : error.message); // a TypeError: the answer lacks what it must have
    if (error.cause === 401 && token) token.select();
  }
  setWaiting(false);
  // A button loses the focus when it is disabled.
  if (focused === button && document.activeElement === document.body) button.focus();
  find(isAnswered ? "answer" : "error").scrollIntoView({ block: "nearest" });
}

function keep(value) {
  try {
    sessionStorage.setItem("token", value);
  } catch {
    // The browser keeps nothing: the token is typed again after a reload.
  }
}

function recall() {
  try {
    return sessionStorage.getItem("token") ?? "";
  } catch {
    return "";
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    ask();
  }
});
find("example")?.addEventListener("click", () => {
  inputs.forEach((input, at) => { input.value = facts.example[at]; });
  inputs[0].focus();
});
if (token) token.value = recall();

// The admin page: asks `status` every two seconds and shows it. What the server says is only ever
// set as text, and an element that stays keeps its place and its focus.
"use strict";

const POLL_MS = 2000;
const ANSWER_MS = 5000;
const RELOAD_MS = 60000;
const ROWS_MOST = 200;
const EVENTS_MOST = 40;
const POINTS = 90;
const DAYS_FEW = 14;
const SVG = "http://www.w3.org/2000/svg";

// Of each state: its name, its kind (a colour), its shape, and what it means.
const STATES = {
  down: ["Down", "bad", "M6 11 11 2H1Z", "It is not dialled now."],
  not_found: ["Not found", "bad", "M1 3 3 1 6 4 9 1 11 3 8 6 11 9 9 11 6 8 3 11 1 9 4 6Z", "Its name leads nowhere."],
  forced_down: ["Forced down", "bad", "M6 12 11 4H1ZM1 0h10v2H1Z", "An operator said that it is not to be dialled."],
  suspect: ["Suspect", "warn", "M6 0 12 6 6 12 0 6Z", "Its dials have been silent for longer than usual: better ones come first."],
  probe_due: ["Probe due", "wait", "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1ZM6 3a3 3 0 1 1 0 6A3 3 0 1 1 6 3Z", "Its down time is over: the next request tries it."],
  probing: ["Probing", "wait", "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1ZM6 3a3 3 0 0 1 0 6Z", "A request is trying it now; the others wait for its verdict."],
  set_aside: ["Set aside", "calm", "M2 1h3v10H2ZM7 1h3v10H7Z", "It asked to be left alone for a while."],
  drained: ["Drained", "calm", "M1 1h10v10H1ZM3 3v6h6V3Z", "An operator said that it gets no new work."],
  forced_up: ["Forced up", "good", "M6 0 11 8H1ZM1 10h10v2H1Z", "An operator said that it is dialled, whatever happens."],
  up: ["Up", "good", "M6 1 11 10H1Z", "It is dialled."],
};
const ORDER = Object.keys(STATES);
const DONE = { up: "Forced up.", down: "Forced down.", drain: "Drained.", release: "Released.", reset: "Reset." };

const $ = (id) => document.getElementById(id);
const list = (value) => (Array.isArray(value) ? value : []);
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// --- Words ------------------------------------------------------------------------------------

function stateOf(name) {
  return STATES[name] ?? [words(name ?? "unknown"), "calm", STATES.drained[2], ""];
}

function words(name) {
  return String(name).replaceAll("_", " ");
}

function span(ms) {
  if (!isNumber(ms)) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = Math.floor(ms / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

function ago(ms) {
  if (!isNumber(ms)) return "–";
  return ms < 1000 ? "just now" : `${span(ms)} ago`;
}

function count(value) {
  return isNumber(value) ? Math.round(value).toLocaleString("en").replaceAll(",", "\u202f") : "–";
}

function rate(value) {
  return value < 10 ? value.toFixed(1) : count(value);
}

function bytes(value) {
  if (!isNumber(value)) return ["–", "B"];
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit += 1) value /= 1000;
  return [unit && value < 99.95 ? value.toFixed(1) : String(Math.round(value)), units[unit]];
}

function several(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

function because(change) {
  if (!change.cause) return "";
  const evidence = change.evidence > 1 ? `, ${change.evidence} in a row` : "";
  return words(change.cause) + evidence;
}

// --- Elements ---------------------------------------------------------------------------------

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function drawn(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function set(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

// Makes `nodes` the children of `parent`, moving only what has to move; the focus stays.
function place(parent, nodes) {
  const focused = document.activeElement;
  nodes.forEach((node, at) => {
    if (parent.children[at] !== node) parent.insertBefore(node, parent.children[at] ?? null);
  });
  while (parent.children.length > nodes.length) parent.lastElementChild.remove();
  if (document.activeElement !== focused && parent.contains(focused)) focused.focus({ preventScroll: true });
}

// One child of `parent` for each item; those that are there are filled anew.
function fillAll(parent, items, create, fill) {
  const nodes = items.map((_, at) => parent.children[at] ?? create());
  nodes.forEach((node, at) => fill(node, items[at]));
  place(parent, nodes);
}

function badge() {
  const icon = drawn("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" });
  icon.append(drawn("path", { "fill-rule": "evenodd" }));
  return make("span", "state", icon, make("span"));
}

function setBadge(element, state) {
  const [name, kind, shape] = stateOf(state);
  set(element, "data-kind", kind);
  set(element.querySelector("path"), "d", shape);
  say(element.lastElementChild, name);
}

// --- Asking -----------------------------------------------------------------------------------

class Refusal extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function ask(path, { method = "GET", timeout = ANSWER_MS } = {}) {
  const headers = {};
  const token = sessionStorage.getItem("risefall-token");
  if (token) headers.Authorization = `Bearer ${token}`;
  if (method === "POST") headers["X-Risefall-Action"] = "1";
  const answer = await fetch(path, {
    method, headers, cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(timeout),
  });
  if (answer.ok) return answer;
  const text = (await answer.text()).trim().slice(0, 4000);
  if (answer.status === 401) askForToken(Boolean(token));
  throw new Refusal(answer.status, text || `The proxy answered ${answer.status}.`);
}

function reason(error) {
  if (error instanceof Refusal) return error.message;
  if (error.name === "TimeoutError") return "The proxy did not answer in time.";
  return "The proxy does not answer.";
}

const pathOf = (address) => `endpoints/${encodeURIComponent(address)}`;

// --- Polling ----------------------------------------------------------------------------------

let timer = 0;
let isAsking = false;
let isWithoutToken = false;
let answeredAt = 0;
let latest = null;

async function poll() {
  clearTimeout(timer);
  if (isAsking || isWithoutToken || document.hidden) return;
  isAsking = true;
  let status = null;
  try {
    status = await (await ask("status")).json();
  } catch (error) {
    gap();
    trouble(whatFailed(error));
  }
  isAsking = false;
  timer = setTimeout(poll, POLL_MS);
  if (status === null) return;
  answeredAt = Date.now();
  trouble("");
  render(status);
  if (selected) fetchDetails();
}

function whatFailed(error) {
  if (error instanceof SyntaxError) return "What answers here does not speak as risefall does.";
  if (!(error instanceof Refusal)) return reason(error);
  return error.status === 401 ? "The proxy asks for a token." : `The proxy answered ${error.status}: ${error.message}`;
}

function trouble(what) {
  show($("trouble"), what !== "");
  document.body.classList.toggle("is-stale", what !== "");
  say($("trouble-what"), what);
  show($("trouble-token"), isWithoutToken);
  if (!what) return;
  say($("readiness"), isWithoutToken ? "Locked" : "No answer");
  set($("readiness"), "data-kind", "bad");
  const seen = answeredAt ? `What is shown is from ${span(Date.now() - answeredAt)} ago. ` : "";
  say($("trouble-since"), seen + (isWithoutToken ? "" : "Asking again every 2 s."));
  document.title = isWithoutToken ? "Locked · risefall" : "No answer · risefall";
}

function render(status) {
  const changed = noteChanges(status);
  latest = status;
  renderHeader(status);
  renderSummary();
  sample(status);
  renderTiles(status.traffic ?? {});
  renderHealth();
  renderListeners(list(status.listeners));
  renderSites(list(status.sites));
  renderCertificates(list(status.certificates));
  renderEvents(list(status.events));
  renderRules(status.policy);
  if (changed) say($("live"), changed);
}

// --- The header, and how it stands --------------------------------------------------------------

function renderHeader(status) {
  say($("version"), status.version ? `v${status.version}` : "");
  set($("version"), "title", status.pid ? `process ${status.pid}` : "");
  const [text, kind] = status.draining ? ["Draining", "warn"]
    : status.ready === false ? ["Not ready", "bad"] : ["Ready", "good"];
  say($("readiness"), text);
  set($("readiness"), "data-kind", kind);
  say($("uptime"), span(status.uptime_ms));
  say($("generation"), isNumber(status.generation) ? `generation ${status.generation}` : "–");
  const reload = status.last_reload;
  set($("reloaded"), "data-kind", reload && !reload.ok ? "bad" : "");
  const outcome = reload && (reload.ok ? "done" : "failed");
  const told = reload ? `${outcome} ${ago(reload.age_ms)}${reload.summary ? `: ${reload.summary}` : ""}` : "none since the start";
  say($("reloaded"), told);
  set($("reloaded"), "title", told);
}

// Every address once, with its state: the worst, where several upstreams have it.
function standings() {
  const all = new Map();
  for (const { address, status } of grouped().flatMap((group) => group.entries)) {
    const known = all.get(address);
    if (!known || ORDER.indexOf(status.state) < ORDER.indexOf(known)) all.set(address, status.state);
  }
  return all;
}

function renderSummary() {
  const counts = new Map();
  const all = standings();
  for (const state of all.values()) counts.set(state, (counts.get(state) ?? 0) + 1);
  const states = [...counts.keys()].sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b));
  const off = ["down", "not_found", "forced_down"].reduce((sum, state) => sum + (counts.get(state) ?? 0), 0);
  const well = (counts.get("up") ?? 0) + (counts.get("forced_up") ?? 0);
  let headline = `${several(all.size - well, "address is", "addresses are")} not quite well`;
  if (!all.size) headline = "Nothing is held against any address";
  else if (off) headline = `${count(off)} of ${several(all.size, "address is", "addresses are")} down`;
  else if (well === all.size) headline = all.size === 1 ? "The one address is up" : `All ${count(all.size)} addresses are up`;
  say($("headline"), headline);
  document.title = `${off ? `▼ ${off} down` : "▲ well"} · risefall`;
  fillAll($("counts"), states, () => make("li", "", badge(), make("span", "figure")), (item, state) => {
    setBadge(item.firstChild, state);
    say(item.lastChild, count(counts.get(state)));
  });
  let x = 0;
  set($("share"), "viewBox", `0 0 ${Math.max(all.size, 1)} 1`);
  fillAll($("share"), states, () => drawn("rect", { height: 1 }), (rect, state) => {
    set(rect, "data-kind", stateOf(state)[1]);
    set(rect, "x", String(x));
    set(rect, "width", String(counts.get(state)));
    x += counts.get(state);
  });
}

// --- Rates ------------------------------------------------------------------------------------

const history = { requests: [], connections: [], bytes_in: [], bytes_out: [] };
let before = null;

function push(name, value) {
  history[name].push(value);
  if (history[name].length > POINTS) history[name].shift();
}

function gap() {
  before = null;
  for (const name of Object.keys(history)) if (history[name].length) push(name, null);
}

// Counters become rates by the proxy's own clock: what this page waited for does not count.
function sample(status) {
  const now = { pid: status.pid, at: status.uptime_ms ?? performance.now(), ...status.traffic };
  const passed = before ? now.at - before.at : 0;
  if (before && (now.pid !== before.pid || passed < 0 || passed > 5 * POLL_MS)) gap();
  if (before && passed > 0) {
    for (const name of ["requests", "bytes_in", "bytes_out"]) {
      const more = (now[name] ?? 0) - (before[name] ?? 0);
      push(name, more < 0 ? null : (more * 1000) / passed);
    }
  }
  if (!before || passed > 0) {
    push("connections", now.connections ?? 0);
    before = now;
  }
}

const TILES = [
  ["requests", "Requests", "/s", (t) => `${count(t.requests)} in all, ${count(t.failed)} failed`],
  ["connections", "Connections", "open", (t) => several(t.in_flight ?? 0, "request in flight", "requests in flight")],
  ["bytes_in", "In", "/s", (t) => `${bytes(t.bytes_in).join(" ")} in all`],
  ["bytes_out", "Out", "/s", (t) => `${bytes(t.bytes_out).join(" ")} in all`],
];

function tile() {
  const graph = drawn("svg", { viewBox: `0 0 ${POINTS - 1} 32`, preserveAspectRatio: "none", "aria-hidden": "true" });
  graph.append(drawn("path", { class: "area" }), drawn("path", { class: "line" }));
  return make("div", "tile", make("h3"), make("p", "value", make("span"), make("small")), graph, make("p", "quiet"));
}

function renderTiles(traffic) {
  fillAll($("tiles"), TILES, tile, (node, [name, title, unit, foot]) => {
    const [heading, value, graph, note] = node.children;
    const present = history[name].at(-1);
    let [figure, per] = name === "connections" ? [count(present), unit] : [isNumber(present) ? rate(present) : "–", unit];
    if (name.startsWith("bytes")) {
      [figure, per] = bytes(present ?? NaN);
      per += unit;
    }
    say(heading, title);
    say(value.firstChild, figure);
    say(value.lastChild, per);
    say(note, foot(traffic));
    sparkline(graph, history[name]);
  });
}

function sparkline(graph, values) {
  const most = Math.max(...values.filter(isNumber), 0) || 1;
  let line = "";
  let area = "";
  let from = null;
  values.forEach((value, at) => {
    const x = POINTS - values.length + at;
    if (isNumber(value)) {
      const point = `${x} ${(30 - (28 * value) / most).toFixed(2)}`;
      line += (from === null ? "M" : "L") + point;
      area += from === null ? `M${x} 32L${point}` : `L${point}`;
      from ??= x;
    }
    if (from !== null && (!isNumber(value) || at === values.length - 1)) {
      area += `L${isNumber(value) ? x : x - 1} 32Z`;
      from = null;
    }
  });
  set(graph.firstChild, "d", area);
  set(graph.lastChild, "d", line);
}

// --- Addresses --------------------------------------------------------------------------------

const rows = new Map();
const groups = new Map();
let selected = "";
let opener = "";

// The upstreams as they are configured, then every other address that is known, the worst first.
function grouped() {
  const known = new Map(list(latest.health).map((one) => [one.address, one]));
  const all = list(latest.upstreams).map((upstream) => ({
    name: String(upstream.name ?? ""),
    upstream,
    entries: list(upstream.endpoints).flatMap((endpoint) => entriesOf(endpoint, known)),
  }));
  for (const group of all) for (const entry of group.entries) known.delete(entry.address);
  const others = [...known.values()].map((status) => ({ address: status.address, status }));
  others.sort((a, b) => ORDER.indexOf(a.status.state) - ORDER.indexOf(b.status.state)
    || String(a.address).localeCompare(String(b.address), "en", { numeric: true }));
  if (others.length) all.push({ name: "", entries: others });
  return all;
}

// The addresses of one server, each with the word that keeps it from being used, else that of its dials.
function entriesOf(endpoint, known) {
  const { address: server, weight, backup, lookup_error: error } = endpoint;
  const found = list(endpoint.addresses);
  if (!found.length && error) return [{ address: server, weight, backup, status: { state: "not_found", is_down: true }, reason: error }];
  if (!found.length) return [{ ...endpoint, status: endpoint.status ?? known.get(server) ?? { state: "up" } }];
  return found.map((one) => {
    const said = [["dials", one.dial], ["traffic", one.traffic], ["checks", one.check]].filter(([, word]) => word);
    const [by, word] = said.find(([, each]) => each.is_down) ?? said[0];
    // Checks alone bring back what checks took down.
    const status = by === "checks" ? { ...word, retry_in_ms: null } : word;
    const reason = [one.reason, error && `its last address; ${error}`].filter(Boolean).join("; ");
    return { address: one.address, server: server === one.address ? "" : server, weight, backup, status, by, said, reason, checks: one.check_report };
  });
}

function renderHealth() {
  const wanted = $("filter").value.trim().toLowerCase();
  let total = 0;
  let matching = 0;
  let room = ROWS_MOST;
  const bodies = [];
  const kept = new Set();
  for (const [at, group] of grouped().entries()) {
    const key = `${group.name}\n${at}`;
    const fits = group.entries.filter((entry) => matches(entry, group, wanted));
    total += group.entries.length;
    matching += fits.length;
    const shown = fits.slice(0, room);
    room -= shown.length;
    if (!shown.length && (wanted || group.entries.length)) continue;
    bodies.push(renderGroup(key, group, shown, kept));
  }
  for (const key of rows.keys()) if (!kept.has(key)) rows.delete(key);
  place($("table"), [$("table").tHead, ...bodies]);
  show($("table"), bodies.length > 0);
  renderEmpty(wanted, total, matching);
}

function matches(entry, group, wanted) {
  if (!wanted) return true;
  const { state, last_cause: cause } = entry.status;
  const text = [entry.address, entry.server ?? "", group.name, stateOf(state)[0], state, words(cause ?? "")].join("\n");
  return text.toLowerCase().includes(wanted);
}

function renderGroup(key, group, shown, kept) {
  if (!groups.has(key)) {
    const title = make("th", "", make("span"), make("small"));
    for (const [name, value] of [["role", "rowheader"], ["scope", "rowgroup"], ["colspan", "7"]]) set(title, name, value);
    const body = make("tbody", "", make("tr", "group", title));
    set(body, "role", "rowgroup");
    set(body.firstChild, "role", "row");
    groups.set(key, body);
  }
  const body = groups.get(key);
  const [name, note] = body.firstChild.firstChild.children;
  say(name, group.name || "Other addresses");
  const well = group.entries.filter((entry) => !entry.status.is_down).length;
  say(note, !group.entries.length ? "no endpoints"
    : group.name ? [`${count(well)} of ${count(group.entries.length)} used`, ...work(group.upstream)].join(" · ") : several(group.entries.length, "address", "addresses"));
  const lines = shown.map((entry, at) => {
    const id = `${key}\n${entry.address}\n${shown.findIndex((one) => one.address === entry.address) === at ? "" : at}`;
    if (!rows.has(id)) rows.set(id, row());
    kept.add(id);
    fillRow(rows.get(id), entry);
    return rows.get(id);
  });
  place(body, [body.firstChild, ...lines]);
  return body;
}

// What an upstream has had, in a few words; nothing while it has had nothing.
function work({ requests, in_flight: now, waiting, retries, retries_refused: refused, failures, group }) {
  if (!requests) return [];
  const { ejected, most_ejected: most, failing_open: open } = group ?? {};
  const failed = Object.values(failures ?? {}).reduce((sum, one) => sum + one, 0);
  return [several(requests, "request"), now && `${count(now)} in flight`, waiting && `${count(waiting)} waiting`,
    failed && several(failed, "failed try", "failed tries"), retries && `${count(retries)} sent again`,
    refused && `${count(refused)} not, for want of budget`,
    ejected && `${count(ejected)} ejected, ${count(most)} at most`, open && "fails open"].filter(Boolean);
}

function row() {
  const button = make("button", "address code");
  set(button, "type", "button");
  set(button, "aria-controls", "panel");
  const head = make("th", "", button, make("span", "tags"));
  set(head, "scope", "row");
  set(head, "role", "rowheader");
  const line = make("tr", "", head, make("td", "", badge()));
  for (const label of ["Cause", "Failures", "Trips", "Tried again", "Connect"]) {
    const cell = make("td", label === "Cause" ? "" : "number");
    set(cell, "data-label", label);
    line.append(cell);
  }
  set(line, "role", "row");
  for (const cell of line.querySelectorAll("td")) set(cell, "role", "cell");
  return line;
}

function fillRow(line, { address, server, weight, backup, status, by, reason: why }) {
  const [head, state, ...cells] = line.children;
  line.dataset.address = address;
  say(head.firstChild, String(address));
  set(head.firstChild, "aria-expanded", String(address === selected));
  line.classList.toggle("is-open", address === selected);
  const judged = status.is_down && by && by !== "dials" && `by ${by}`;
  set(state, "title", why ?? "");
  say(head.lastChild, [server, judged, backup && "backup", isNumber(weight) && weight !== 1 && `weight ${weight}`].filter(Boolean).join(" · "));
  setBadge(state.firstChild, status.state);
  const texts = [status.last_cause ? words(status.last_cause) : "", status.failures || "", status.trips || "",
    isNumber(status.retry_in_ms) ? `in ${span(status.retry_in_ms)}` : "",
    isNumber(status.usual_connect_ms) ? span(status.usual_connect_ms) : ""];
  cells.forEach((cell, at) => {
    cell.classList.toggle("none", texts[at] === "");
    say(cell, texts[at] === "" ? "–" : String(texts[at]));
  });
}

function renderEmpty(wanted, total, matching) {
  const rest = matching - ROWS_MOST;
  say($("shown"), !total ? "" : wanted ? `${count(matching)} of ${count(total)}` : count(total));
  show($("more"), rest > 0);
  say($("more"), `${several(rest, "more is", "more are")} not shown: narrow the filter.`);
  const overflow = latest.overflow ?? 0;
  show($("overflow"), overflow > 0);
  say($("overflow"), `${several(overflow, "first failure")} found no room in the registry.`);
  show($("empty"), matching === 0);
  const isAddress = /^(\d+(\.\d+){3}|\[[\da-f:.%]+\]):\d+$/.test(wanted);
  show($("look"), isAddress);
  say($("look"), `Open ${wanted}`);
  say($("empty-what"), total ? "No address matches the filter." : "Nothing is held against any address.");
  say($("empty-why"), total ? "It looks in addresses, names of upstreams, states and causes."
    : "An address appears here after its first failure, or when it is named in an upstream.");
}

// --- What else there is -------------------------------------------------------------------------

function renderListeners(listeners) {
  show($("listeners-none"), listeners.length === 0);
  const create = () => make("li", "", make("p", "", make("strong"), make("span", "pill")), make("p", "code"), make("p", "quiet"), make("p", "quiet"));
  fillAll($("listeners"), listeners, create, (item, told) => {
    const one = typeof told === "string" ? { address: told } : told;
    const [title, address, hosts, numbers] = item.children;
    say(title.firstChild, one.name ?? "listener");
    say(title.lastChild, words(one.state ?? "serving"));
    set(title.lastChild, "data-kind", one.state === "draining" ? "warn" : "good");
    const speaks = one.kind === "site" ? (one.tls ? "https" : "http") : one.kind;
    say(address, [speaks, one.address].filter(Boolean).join(" · "));
    say(hosts, some(list(one.hosts)));
    const parts = [isNumber(one.connections) && `${count(one.connections)} open`,
      isNumber(one.accepted) && `${count(one.accepted)} accepted`, isNumber(one.refused) && `${count(one.refused)} refused`];
    say(numbers, parts.filter(Boolean).join(" · "));
  });
}

const some = (names) => names.slice(0, 8).join(" ") + (names.length > 8 ? ` and ${count(names.length - 8)} more` : "");

function renderSites(sites) {
  show($("sites-card"), sites.length > 0);
  const create = () => make("li", "", make("p", "", make("strong")), make("p", "quiet"), make("p", "quiet"));
  fillAll($("sites"), sites, create, (item, one) => {
    const [title, hosts, numbers] = item.children;
    say(title.firstChild, one.name ?? "site");
    say(hosts, some(list(one.hosts)));
    say(numbers, `${several(one.requests ?? 0, "request")} · ${count(one.failed)} failed`);
  });
}

function renderCertificates(certificates) {
  show($("certificates-card"), certificates.length > 0);
  const create = () => make("li", "", make("p", "", make("strong", "code"), make("span", "pill")), make("p", "quiet"), make("p", "quiet"));
  fillAll($("certificates"), certificates, create, (item, one) => {
    const [title, names, trouble] = item.children;
    const days = one.days_left ?? 0;
    say(title.firstChild, String(one.file ?? "").split("/").at(-1));
    set(title.firstChild, "title", one.file ?? "");
    say(title.lastChild, days < 0 ? "Ended" : `${several(days, "day")} left`);
    set(title.lastChild, "data-kind", days < 0 ? "bad" : days < DAYS_FEW ? "warn" : "good");
    say(names, some(list(one.names)));
    say(trouble, one.trouble ? `Its files are not taken up: ${one.trouble}` : "");
  });
}

const newestFirst = (changes) => [...changes].sort((a, b) => (a.age_ms ?? 0) - (b.age_ms ?? 0));

function change() {
  const what = make("p", "", make("span", "code"), badge());
  const time = make("time", "quiet");
  return make("li", "", what, make("p", "quiet", make("span"), time));
}

function fillChange(item, one) {
  const [what, when] = item.children;
  say(what.firstChild, one.address ?? "");
  setBadge(what.lastChild, one.to);
  const cause = because(one);
  say(when.firstChild, `from ${stateOf(one.from)[0].toLowerCase()}${cause ? ` · ${cause}` : ""} · `);
  say(when.lastChild, ago(one.age_ms));
  if (!isNumber(one.age_ms)) return;
  set(when.lastChild, "title", new Date(Date.now() - one.age_ms).toLocaleString());
}

function renderEvents(events) {
  show($("events-none"), events.length === 0);
  fillAll($("events"), newestFirst(events).slice(0, EVENTS_MOST), change, fillChange);
}

// What is new since the last answer, in one sentence for those who listen.
function noteChanges(status) {
  if (!latest) return "";
  const since = (status.uptime_ms ?? 0) - (latest.uptime_ms ?? 0);
  const fresh = newestFirst(list(status.events)).filter((one) => one.age_ms < since);
  if (!fresh.length) return "";
  const [one] = fresh;
  const cause = because(one);
  const more = fresh.length > 1 ? `, and ${several(fresh.length - 1, "other change")}` : "";
  return `${one.address} is ${stateOf(one.to)[0].toLowerCase()}${cause ? `: ${cause}` : ""}${more}.`;
}

function renderRules(policy) {
  if (!policy) return;
  const { max_fails: fails, min_rises: rises, fail_timeout_ms: first, max_fail_timeout_ms: most } = policy;
  const after = policy.recovery === "probe" ? "Then one request tries it while the others wait" : "Then it is dialled again";
  say($("rules"), `${several(fails, "failure")} in a row take an address down for ${span(first)}, and for twice as long each `
    + `further time, ${span(most)} at most. ${after}; ${several(rises, "good answer")} bring it up. `
    + `A dial may take ${span(policy.connect_timeout_ms)}.`);
}

// --- One address ------------------------------------------------------------------------------

function open(address, { focus = true } = {}) {
  if (selected !== address) {
    say($("panel-answer"), "");
    $("journal").replaceChildren();
    show($("journal-none"), false);
  }
  selected = opener = address;
  show($("panel"), true);
  document.body.classList.add("has-panel");
  say($("panel-title"), address);
  renderDetails(statusOf(address));
  renderHealth();
  if (focus) $("panel-title").focus();
  fetchDetails();
}

function close() {
  if (!selected) return;
  selected = "";
  show($("panel"), false);
  document.body.classList.remove("has-panel");
  renderHealth();
  const line = [...$("table").querySelectorAll("tr[data-address]")].find((one) => one.dataset.address === opener);
  (line?.querySelector("button") ?? $("filter")).focus();
}

function statusOf(address) {
  for (const group of grouped()) {
    const entry = group.entries.find((one) => one.address === address);
    if (entry) return entry.status;
  }
  return { state: "up" };
}

async function fetchDetails() {
  const address = selected;
  try {
    const told = await (await ask(pathOf(address))).json();
    if (selected !== address) return;
    renderDetails(told.status ?? statusOf(address));
    const journal = newestFirst(list(told.journal));
    fillAll($("journal"), journal, change, fillChange);
    show($("journal-none"), journal.length === 0);
    say($("journal-none"), "It has not changed its state yet.");
  } catch (error) {
    if (selected !== address) return;
    renderDetails(statusOf(address));
    show($("journal-none"), true);
    say($("journal-none"), reason(error));
  }
}

function renderDetails(status) {
  const holder = $("panel-state");
  if (!holder.firstChild) holder.append(badge());
  setBadge(holder.firstChild, status.state);
  const retry = isNumber(status.retry_in_ms) ? ` It is tried again in ${span(status.retry_in_ms)}.` : "";
  say($("panel-means"), stateOf(status.state)[3] + retry);
  const failed = status.last_cause ? `${words(status.last_cause)}, ${ago(status.last_failure_age_ms)}` : "–";
  const facts = [["Failures in a row", count(status.failures ?? 0)], ["Successes since", count(status.successes ?? 0)],
    ["Trips", count(status.trips ?? 0)], ["Last failure", failed], ["Usual connect", span(status.usual_connect_ms)]];
  for (const group of grouped()) {
    const entry = group.name && group.entries.find((one) => one.address === selected);
    if (entry) facts.push(["Upstream", `${group.name}, weight ${entry.weight ?? 1}${entry.backup ? ", backup" : ""}`]);
    if (!entry) continue;
    for (const [by, word] of list(entry.said).slice(1)) facts.push([`By ${by} of ${group.name}`, stateOf(word.state)[0]]);
    if (entry.checks) facts.push([`Checks of ${group.name}`, checked(entry.checks)]);
    if (entry.reason) facts.push([`In ${group.name}`, entry.reason]);
  }
  fillAll($("panel-facts"), facts, () => make("div", "", make("dt"), make("dd")), (item, [name, value]) => {
    say(item.firstChild, name);
    say(item.lastChild, value);
  });
}

function checked({ checks, failed, says, misunderstood, last }) {
  const met = last ? `${last.passed ? "Passed" : last.failure} ${ago(last.age_ms)}, in ${took(last.took_us)}` : "Not yet";
  const word = says && says !== "ready" ? `; it says ${says}` : "";
  return `${met}; ${several(checks ?? 0, "check")}, ${count(failed ?? 0)} failed${word}${misunderstood ? `; ${misunderstood}` : ""}`;
}

function took(us) {
  return isNumber(us) && us < 1000 ? `${us} µs` : span(us / 1000);
}

// --- Orders -----------------------------------------------------------------------------------

// One at a time; a button keeps the focus while its order is on the way.
async function send(button, path, timeout, tell) {
  if (button.getAttribute("aria-disabled") === "true") return;
  set(button, "aria-disabled", "true");
  try {
    const text = (await (await ask(path, { method: "POST", timeout })).text()).trim();
    tell(text.slice(0, 4000), true);
  } catch (error) {
    tell(reason(error), false);
  }
  button.removeAttribute("aria-disabled");
  poll();
}

function order(button) {
  const address = selected;
  const name = button.dataset.order;
  say($("panel-answer"), "");
  send(button, `${pathOf(address)}/${name}`, ANSWER_MS, (text, isDone) => {
    if (selected !== address) return;
    set($("panel-answer"), "data-kind", isDone ? "good" : "bad");
    say($("panel-answer"), isDone && (!text || text.startsWith("{")) ? DONE[name] : text);
  });
}

function reload() {
  say($("notice-text"), "");
  send($("reload"), "reload", RELOAD_MS, (text, isDone) => {
    set($("notice"), "data-kind", isDone ? "good" : "bad");
    show($("notice"), true);
    say($("notice-text"), text || "The configuration was loaded anew.");
  });
}

// --- The token --------------------------------------------------------------------------------

function askForToken(wasWrong) {
  isWithoutToken = true;
  sessionStorage.removeItem("risefall-token");
  say($("token-why"), wasWrong ? "That one was not accepted. Another one?" : "It is kept until this tab is closed.");
  if (!$("token").open) $("token").showModal();
}

function takeToken(event) {
  event.preventDefault();
  const token = $("token-input").value.trim();
  // What is no header value would make every request fail for a reason that nobody would guess.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    say($("token-why"), "A token has no spaces, and only letters, digits and signs of ASCII.");
    return;
  }
  sessionStorage.setItem("risefall-token", token);
  $("token-input").value = "";
  isWithoutToken = false;
  $("token").close();
  poll();
}

// --- Hands ------------------------------------------------------------------------------------

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("token").open) return;
  const isTyping = event.target instanceof HTMLInputElement;
  if (event.key === "Escape" && isTyping && $("filter").value) {
    $("filter").value = "";
    if (latest) renderHealth();
  } else if (event.key === "Escape") {
    close();
  } else if (event.key === "/" && !isTyping) {
    $("filter").focus();
  } else if (event.target.matches?.("button.address") && /^Arrow(Up|Down)$/.test(event.key)) {
    const all = [...$("table").querySelectorAll("button.address")];
    all[all.indexOf(event.target) + (event.key === "ArrowUp" ? -1 : 1)]?.focus();
  } else return;
  event.preventDefault();
}

$("table").addEventListener("click", (event) => {
  const line = event.target.closest("tr[data-address]");
  if (line && String(getSelection()) === "") open(line.dataset.address);
});
$("look").addEventListener("click", () => open($("filter").value.trim().toLowerCase()));
$("filter").addEventListener("input", () => latest && renderHealth());
$("panel-close").addEventListener("click", close);
$("reload").addEventListener("click", reload);
$("notice-close").addEventListener("click", () => {
  show($("notice"), false);
  $("reload").focus();
});
for (const button of document.querySelectorAll("[data-order]")) button.addEventListener("click", () => order(button));
$("token-form").addEventListener("submit", takeToken);
$("token-cancel").addEventListener("click", () => $("token").close());
$("trouble-token").addEventListener("click", () => $("token").showModal());
document.addEventListener("keydown", keys);
document.addEventListener("visibilitychange", poll);
poll();

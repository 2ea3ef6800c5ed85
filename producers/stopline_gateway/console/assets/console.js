"use strict";
// What a page needs beyond HTML: times in the viewer's zone, the chart, shortcuts, and a word when the
// stream breaks off. Everything else is links and forms.

const byId = (id) => document.getElementById(id);

// --- times ---------------------------------------------------------------------------------------

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function localise(root) {
  for (const one of root.querySelectorAll("time[datetime]")) {
    const at = new Date(one.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const isToday = at.toDateString() === new Date().toDateString();
    const text = (isToday ? clock : full).format(at);
    if (one.textContent !== text) one.textContent = text;
  }
}

// --- the chart -----------------------------------------------------------------------------------

const LANES = ["emergency", "default", "bulk"];
let plot = null;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function rows(data) {
  return [data.at, ...LANES.map((lane) => data[`p99 ${lane}`])];
}

function draw(data) {
  const place = byId("chart");
  if (!place || !window.uPlot) return;
  if (plot) {
    plot.setData(rows(data));
    return;
  }
  const axis = { stroke: () => colour("--soft"), grid: { stroke: () => colour("--line"), width: 1 } };
  plot = new uPlot({
    width: place.clientWidth,
    height: 220,
    legend: { show: false },
    cursor: { y: false },
    scales: { x: { range: (_plot, first) => {
      const now = Date.now() / 1000;
      return [Math.max(now - 3600, Math.min(first ?? now, now - 300)), now];
    } }, y: { range: (_plot, _low, high) => [0, Math.max(10, high || 0)] } },
    axes: [{ ...axis, space: 80, incrs: [60, 120, 300, 600, 900, 1800], values: (_plot, ticks) => ticks.map((at) => minute.format(at * 1000)) }, { ...axis, size: 70, values: (_plot, ticks) => ticks.map(milliseconds) }],
    series: [{}, ...LANES.map((lane) => ({
      label: lane, stroke: () => colour(`--lane-${lane}`), width: 2, spanGaps: true, points: { size: 4, show: true },
    }))],
  }, rows(data), place);
  addEventListener("resize", () => plot.setSize({ width: place.clientWidth, height: 220 }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw(false, true));
}

function milliseconds(value) {
  return value < 1000 ? `${value} ms` : `${value / 1000} s`;
}

// --- the stream ----------------------------------------------------------------------------------

const SILENT = "Not up to date: the gateway does not answer. It is tried again.";
const SILENT_MS = 15000; // a word comes every four seconds; a large ledger takes its time
const AGAIN_MS = 2000;
const REFUSED_AGAIN_MS = 10000; // too many pages are open there

function say(text) {
  const banner = byId("banner");
  banner.textContent = text;
  banner.hidden = !text;
}

function fail(status) {
  say(status ? `Not up to date: the gateway answers ${status}. It is tried again.` : SILENT);
}

function follow() {
  const live = byId("live");
  if (!live) return;
  live.addEventListener("chart", (event) => draw(JSON.parse(event.detail.data)));
  live.addEventListener("away", (event) => say(`Not up to date: ${event.detail.data}. It is tried again.`));
  let heard = Date.now();
  const hear = () => { heard = Date.now(); };
  for (const name of ["chart", "beat", "away"]) live.addEventListener(name, hear);
  document.addEventListener("htmx:after:swap", hear);
  document.addEventListener("visibilitychange", hear);
  setInterval(() => {
    if (!document.hidden && Date.now() - heard > SILENT_MS) say(SILENT);
  }, 1000);
  live.addEventListener("beat", () => { if (byId("banner").textContent === SILENT) say(""); });
  live.addEventListener("over", () => location.reload());
  const isOver = (status) => status === 401; // the session; the login leads back here
  live.addEventListener("htmx:sse:error", (event) => {
    if (isOver(event.detail.status)) location.reload();
    else fail(event.detail.status);
  });
  // The extension tries again what broke off, not what never began.
  const again = () => htmx.trigger(live, "again");
  live.addEventListener("htmx:error", () => { fail(); setTimeout(again, AGAIN_MS); });
  live.addEventListener("htmx:response:error", (event) => {
    const status = event.detail.ctx.response.status;
    hear();
    fail(status);
    setTimeout(isOver(status) ? () => location.reload() : again, REFUSED_AGAIN_MS);
  });
  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx.response.status >= 400) return; // htmx swaps nothing, and says so all the same
    say("");
    localise(document);
  });
}

// --- the keyboard --------------------------------------------------------------------------------

const PLACES = { o: "", r: "requests", b: "batches", d: "dead", h: "guards", w: "workers", i: "history", a: "audit" };
let leader = 0;

function isTyping(element) {
  return element && (element.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(element.tagName));
}

function move(step) {
  const rows = [...document.querySelectorAll("#body tbody tr")];
  const links = rows.map((row) => row.querySelector("a")).filter(Boolean);
  if (!links.length) return;
  const row = document.activeElement.closest("tr");
  const at = row ? links.indexOf(row.querySelector("a")) : -1;
  links[Math.min(links.length - 1, Math.max(0, at < 0 ? 0 : at + step))].focus();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  const isSecond = Date.now() - leader < 1500;
  leader = 0;
  if (isSecond && event.key in PLACES) location.href = `/console/${PLACES[event.key]}`;
  else if (event.key === "g") leader = Date.now();
  else if (event.key === "/") { event.preventDefault(); byId("q").focus(); }
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "?") byId("help").showModal();
}

// --- begin ---------------------------------------------------------------------------------------

// A deferred script: the document is there.
localise(document);
follow();
document.addEventListener("keydown", onKey);
const help = byId("help-button");
if (help) help.addEventListener("click", () => byId("help").showModal());

"use strict";
const EVERY_MS = 1000;
const by = (id) => document.getElementById(id);
const money = (value) => value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const signed = (value) => (value < 0 ? "−" : "+") + money(Math.abs(value));
const count = (value) => value.toLocaleString("en");
const percent = (value) => `${(100 * value).toFixed(2)} %`;
const price = (value) => value.toLocaleString("en", { maximumSignificantDigits: 8 });
const utc = (ms) => (ms ? new Date(ms).toISOString().slice(0, 19).replace("T", " ") : "-");
const tone = (value) => (value > 0 ? "good" : value < 0 ? "bad" : "");

/** An element with its text and class; texts of the engine never become markup. */
function made(tag, text, style = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (style) element.className = style;
  return element;
}

function put(id, text, style) {
  const element = by(id);
  if (element.textContent !== text) element.textContent = text;
  if (style !== undefined) element.className = style;
}

function tile(name, value, note, style = "") {
  const element = made("div", "", "tile");
  element.append(made("span", name), made("b", value, style), made("small", note));
  return element;
}

/** Rows of cells; a cell is [text, class]. */
function fill(id, heads, rows, empty) {
  const table = by(id);
  if (!rows.length) {
    const row = made("tr", "");
    row.append(made("td", empty, "dim"));
    table.replaceChildren(row);
    return;
  }
  const lines = rows.map((cells) => {
    const row = made("tr", "");
    row.append(...cells.map(([text, style]) => made("td", text, style)));
    return row;
  });
  if (heads.length) {
    const head = made("tr", "");
    head.append(...heads.map(([text, style]) => made("th", text, style)));
    lines.unshift(head);
  }
  table.replaceChildren(...lines);
}

function showStatus(s) {
  document.title = `${signed(s.net_profit)} ${s.strategy}`;
  put("strategy", s.strategy);
  put("where", `${s.venue}, run ${s.run_id}, ${utc(s.time)} UTC`);
  put("state", s.state, `badge ${s.state === "running" ? "good" : "warn"}`);
  put("ready", s.not_ready.length ? "not ready" : "ready", `badge ${s.not_ready.length ? "bad" : "good"}`);
  trouble(s.not_ready.map((p) => `${p.check}: ${p.problem}`).join("\n"));
  by("progress").hidden = !s.progress;
  by("progress").firstElementChild.style.width = `${100 * s.progress}%`;
  const start = s.equity - s.net_profit;
  const denied = Object.values(s.denials).reduce((sum, n) => sum + n, 0);
  by("tiles").replaceChildren(
    tile("equity", money(s.equity), `from ${money(start)}`),
    tile("profit", signed(s.net_profit), start ? `${s.net_profit < 0 ? "−" : "+"}${percent(Math.abs(s.net_profit / start))}` : "", tone(s.net_profit)),
    tile("largest fall", percent(s.max_drawdown), "from the peak"),
    tile("fees", money(s.fees), `${count(s.fills)} fills`),
    tile("trades", count(s.trades), `${count(s.orders)} orders, ${count(s.open_orders)} open`),
    tile("signals", count(s.signals), denied ? `${count(denied)} denied` : "none denied"),
    tile("candles", count(s.candles), s.progress ? percent(s.progress) : "no end"),
  );
  fill("positions",
    [["symbol"], ["quantity", "number"], ["entry", "number"], ["price", "number"], ["open profit", "number"], ["stop", "number"]],
    s.positions.map((p) => [
      [p.symbol], [price(p.quantity), "number"], [price(p.entry_price), "number"], [price(p.price), "number"],
      [signed(p.unrealized), `number ${tone(p.unrealized)}`],
      p.stop ? [price(p.stop), "number"] : ["none confirmed", "number bad"],
    ]), "flat");
  const p = s.process;
  fill("process", [], [
    [["journal", "dim"], [`${s.journal} (${s.journal_state})`, `words ${s.journal_state === "ok" ? "" : "bad"}`]],
    [["event loop lag", "dim"], [`p99 ${p.loop_lag_p99_ms.toFixed(2)} ms, worst ${p.loop_lag_worst_ms.toFixed(2)} ms`]],
    [["memory", "dim"], [`${(p.resident_bytes / 1e6).toFixed(0)} MB, ${p.threads} threads`]],
    [["process", "dim"], [`${p.pid}, up ${count(Math.round(p.uptime_s))} s`]],
  ]);
}

function showStory(story) {
  fill("lately", [["time, UTC"], ["what"], ["symbol"], [""]], story.lately.map((h) => [
    [utc(h.time), "dim"], [h.kind, { denied: "warn", trade: tone(parseFloat(h.text)) }[h.kind] || ""],
    [h.symbol], [h.text, "words"],
  ]), "nothing yet");
  draw(story.times, story.equity);
}

function draw(times, equity) {
  const svg = by("equity");
  if (times.length < 2) return;
  const low = Math.min(...equity), high = Math.max(...equity), span = high - low || 1;
  const first = times[0], length = times[times.length - 1] - first || 1;
  const x = (time) => (1000 * (time - first)) / length, y = (value) => 100 - (100 * (value - low)) / span;
  const line = equity.map((value, i) => `${i ? "L" : "M"}${x(times[i]).toFixed(1)} ${y(value).toFixed(2)}`).join("");
  svg.setAttribute("viewBox", "0 0 1000 100");
  const path = (d, style) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "path");
    element.setAttribute("d", d);
    if (style) element.setAttribute("class", style);
    return element;
  };
  const start = y(equity[0]).toFixed(2);
  svg.replaceChildren(
    path(`${line}L1000 100L0 100Z`, "area"), path(`M0 ${start}L1000 ${start}`, "start"), path(line),
  );
  put("top", money(high));
  put("bottom", money(low));
  put("from", utc(first));
  put("to", utc(first + length));
}

function trouble(text) {
  const box = by("trouble");
  box.hidden = !text;
  if (box.textContent !== text) box.textContent = text;
}

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(3 * EVERY_MS), cache: "no-store" });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

let heard = Date.now();
async function refresh() {
  try {
    const [status, story] = await Promise.all([ask("/status"), ask("/story")]);
    heard = Date.now();
    showStatus(status);
    showStory(story);
  } catch (error) {
    put("state", "no answer", "badge bad");
    put("ready", "unknown", "badge bad");
    trouble(`The engine has not answered for ${Math.round((Date.now() - heard) / 1000)} s: it has ended, or its event loop stands still. The figures below are old.`);
  }
  setTimeout(refresh, document.hidden ? 10 * EVERY_MS : EVERY_MS);
}
refresh();

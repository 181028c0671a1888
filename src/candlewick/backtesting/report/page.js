"use strict";
// What makes the page handy; all figures and charts stand in it without this.

const count = (value, decimals) =>
  value.toLocaleString("en-US", { maximumFractionDigits: decimals });
const utc = (time) => new Date(time).toISOString().slice(0, 16).replace("T", " ");

// -- light and dark
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = getComputedStyle(root).colorScheme.trim() === "dark";
  root.dataset.theme = isDark ? "light" : "dark";
});

// -- values under the pointer
for (const plot of document.querySelectorAll(".plot")) {
  const source = plot.querySelector("script");
  if (!source) continue;
  const data = JSON.parse(source.textContent);
  const pointer = Object.assign(document.createElement("div"), { className: "pointer", hidden: true });
  const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
  plot.append(pointer, tip);
  const nearest = (time) => {
    let low = 0, high = data.t.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (data.t[middle] < time) low = middle + 1; else high = middle;
    }
    return low > 0 && time - data.t[low - 1] < data.t[low] - time ? low - 1 : low;
  };
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    const place = nearest(data.from + share * (data.to - data.from));
    const x = (data.t[place] - data.from) / Math.max(data.to - data.from, 1) * box.width;
    tip.textContent = [utc(data.t[place]),
      ...data.show.map(([name, values, decimals, unit]) => `${name} ${count(values[place], decimals)}${unit}`),
    ].join("\n");
    pointer.hidden = tip.hidden = false;
    pointer.style.left = `${x}px`;
    tip.style.left = x < box.width / 2 ? `${x + 10}px` : "auto";
    tip.style.right = x < box.width / 2 ? "auto" : `${box.width - x + 10}px`;
  });
  plot.addEventListener("pointerleave", () => { pointer.hidden = tip.hidden = true; });
}

// -- the table of trades
const PAGE = 50;
const holder = document.getElementById("trades");
if (holder) {
  const data = JSON.parse(document.getElementById("trades-data").textContent);
  const body = holder.querySelector("tbody");
  const heads = [...holder.querySelectorAll("th")];
  const search = document.getElementById("search");
  const [back, next] = ["back", "next"].map((id) => document.getElementById(id));
  let column = 0, rising = true, page = 0, rows = [];
  const word = (row, place) => data.columns[place].words ? data.words[row[place]] : row[place];
  const text = (row, place) => {
    const { time, decimals, words } = data.columns[place];
    if (words) return data.words[row[place]];
    return time ? utc(row[place]) : count(row[place], decimals);
  };
  const select = () => {
    const wanted = search.value.trim().toLowerCase();
    rows = data.rows.filter((row) => !wanted
      || row.some((_, place) => text(row, place).toLowerCase().includes(wanted)));
    rows.sort((a, b) => {
      const [x, y] = [word(a, column), word(b, column)];
      return (x < y ? -1 : x > y ? 1 : a[0] - b[0]) * (rising ? 1 : -1);
    });
    page = 0;
    show();
  };
  const show = () => {
    const pages = Math.max(Math.ceil(rows.length / PAGE), 1);
    body.replaceChildren(...rows.slice(page * PAGE, (page + 1) * PAGE).map((row) => {
      const line = document.createElement("tr");
      line.append(...row.map((value, place) => {
        const cell = document.createElement("td");
        cell.textContent = text(row, place);
        const { words, tone } = data.columns[place];
        cell.className = words ? "words" : tone ? (value > 0 ? "good" : value < 0 ? "bad" : "") : "";
        return cell;
      }));
      line.addEventListener("click", () => choose(row));
      return line;
    }));
    heads.forEach((head, place) => {
      if (place === column) head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    document.getElementById("where").textContent =
      `${count(rows.length, 0)} trades, page ${page + 1} of ${pages}`;
    back.disabled = page === 0;
    next.disabled = page + 1 >= pages;
  };
  // shows a trade's time in the chart of its symbol
  const choose = (row) => {
    const box = document.querySelector(`[data-symbol="${CSS.escape(data.words[row[1]])}"]`);
    if (!box) return;
    box.open = true;
    const plot = box.querySelector(".plot");
    const range = JSON.parse(plot.querySelector("script").textContent);
    const x = (time) => (time - range.from) / Math.max(range.to - range.from, 1) * 1000;
    document.querySelectorAll(".chosen").forEach((old) => old.remove());
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "path");
    mark.setAttribute("class", "chosen");
    const [from, to] = [x(row[data.opened]), x(row[data.closed])];
    mark.setAttribute("d", `M${from} 0H${Math.max(to, from + 1)}V1000H${from}Z`);
    plot.querySelector("svg").append(mark);
    box.scrollIntoView({ block: "nearest" });
  };
  heads.forEach((head, place) => head.querySelector("button").addEventListener("click", () => {
    rising = column === place ? !rising : !data.columns[place].tone;
    column = place;
    select();
  }));
  search.addEventListener("input", select);
  back.addEventListener("click", () => { page -= 1; show(); });
  next.addEventListener("click", () => { page += 1; show(); });
  select();
}

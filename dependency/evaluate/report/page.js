// SPDX-License-Identifier: Apache-2.0
// Comfort for the report page: sorting, filters, layers, enlarging. The page says everything without it.
"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

// Tables: a click on a head sorts, a second click turns the order.
function sortable(table) {
  const heads = all("th[data-sort]", table);
  for (const [column, head] of heads.entries()) {
    const button = make("button", { type: "button", textContent: head.textContent });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const text = head.dataset.sort === "text";
      const rising = head.ariaSort ? head.ariaSort === "descending" : text;
      const rows = all("tbody tr", table);
      const value = row => row.cells[column].dataset.value;
      rows.sort((a, b) => (text ? value(a).localeCompare(value(b), undefined, { numeric: true })
        : (value(a) ?? -1) - (value(b) ?? -1)) * (rising ? 1 : -1));
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      table.tBodies[0].append(...rows);
      markLater(table);
    });
  }
}

// Long tables: the first rows, and a button for all.
function markLater(table) {
  all("tbody tr", table).forEach((row, index) => row.classList.toggle("later", index >= Number(table.dataset.top)));
}

function shorten(table) {
  const rows = table.tBodies[0].rows.length, top = Number(table.dataset.top);
  if (rows <= top) return;
  const button = make("button", { type: "button", className: "more" });
  const say = () => {
    const open = table.classList.contains("all");
    button.textContent = open ? `Show the first ${top}` : `Show all ${rows}`;
    button.setAttribute("aria-expanded", open);
  };
  button.addEventListener("click", () => { table.classList.toggle("all"); say(); });
  table.classList.add("rest");
  markLater(table);
  say();
  table.parentElement.after(button);
}

// Pictures: choose by kind and event; the first ones, and a button for all.
function filterable(grid) {
  const figures = all("figure", grid), chosen = {}, top = 24;
  const controls = make("div", { className: "controls" });
  const shown = make("span", { role: "status" });
  const more = make("button", { type: "button", className: "more" });
  let open = false;
  const update = () => {
    const fits = figure => Object.entries(chosen).every(([key, value]) => !value || figure.dataset[key] === value);
    const fit = figures.filter(fits);
    const visible = new Set(open ? fit : fit.slice(0, top));
    for (const figure of figures) figure.hidden = !visible.has(figure);
    shown.textContent = `${visible.size} of ${figures.length} shown`;
    more.hidden = fit.length <= top;
    more.textContent = open ? `Show the first ${top}` : `Show all ${fit.length}`;
  };
  for (const key of ["kind", "event"]) {
    const values = [...new Set(figures.map(figure => figure.dataset[key]).filter(Boolean))];
    if (values.length < 2) continue;
    const options = values.sort().map(value => new Option(value, value));
    const select = make("select", {}, new Option(`all ${key}s`, ""), ...options);
    select.setAttribute("aria-label", `Show only one ${key}`);
    select.addEventListener("change", () => { chosen[key] = select.value; update(); });
    controls.append(select);
  }
  more.addEventListener("click", () => { open = !open; update(); });
  controls.append(shown);
  grid.before(controls);
  grid.after(more);
  update();
}

// The gallery's legend becomes switches.
function layers(legend) {
  for (const item of all("[data-layer]", legend)) {
    const box = make("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => document.body.classList.toggle(`hide-${item.dataset.layer}`, !box.checked));
    const label = make("label", { className: "switch" }, box, " ", ...item.childNodes);
    item.replaceChildren(label);
  }
}

// A click on a picture shows it large; arrow keys go to its neighbours.
function enlarging() {
  const holder = make("div"), text = make("span");
  const step = (label, way) => {
    const button = make("button", { type: "button", textContent: label });
    button.addEventListener("click", () => go(way));
    return button;
  };
  const close = make("button", { type: "button", textContent: "Close", autofocus: true });
  const dialog = make("dialog", {}, holder, make("div", { className: "bottom" }, text,
    make("span", {}, step("Previous", -1), " ", step("Next", 1), " ", close)));
  dialog.setAttribute("aria-label", "Enlarged picture");
  document.body.append(dialog);
  let current;
  const show = figure => {
    current = figure;
    const picture = figure.querySelector("svg").cloneNode(true);
    dialog.firstChild.replaceWith(picture);
    text.textContent = all("figcaption *", figure).length ? figure.querySelector("figcaption").innerText : "";
  };
  const go = way => {
    const figures = all("figure:not([hidden])", current.parentElement);
    show(figures[(figures.indexOf(current) + way + figures.length) % figures.length]);
  };
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => current.querySelector(".zoom").focus());
  dialog.addEventListener("keydown", event => {
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  });
  for (const figure of all(".cards figure, .gallery figure")) {
    const picture = figure.querySelector("svg");
    const button = make("button", { type: "button", className: "zoom" });
    picture.replaceWith(button);
    button.append(picture);
    button.addEventListener("click", () => { show(figure); dialog.showModal(); });
  }
}

all("table").filter(table => table.querySelector("[data-sort]")).forEach(sortable);
all("table[data-top]").forEach(shorten);
all("[data-filter]").forEach(filterable);
all(".layers").forEach(layers);
enlarging();

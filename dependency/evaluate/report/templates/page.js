// SPDX-License-Identifier: Apache-2.0
// Reading curves off, the slider, filters of the pictures, the enlarged picture; the page shows everything without them.
"use strict";

// A score's precision, recall, F1 and false alarms an image, at the slider.
const share = value => `${(100 * value).toFixed(1)}\u00a0%`;
for (const graph of document.querySelectorAll(".graph")) {
  const rows = JSON.parse(graph.dataset.rows), low = Number(graph.dataset.low), high = Number(graph.dataset.high);
  const slider = graph.querySelector("input"), svg = graph.querySelector(".measures");
  const cursor = svg.querySelector(".cursor"), width = Number(svg.querySelector(".grid").getAttribute("d").split("h")[1]);
  const show = () => {
    const [score, precision, recall, f1, alarms] = rows[slider.value];
    cursor.setAttribute("transform", `translate(${width * (score - low) / (high - low)} 0)`);
    graph.querySelector("output").innerHTML =
      `<b>score from ${score.toFixed(3)}</b> <span class="precision">precision ${recall ? share(precision) : "–"}</span>`
      + ` <span class="recall">recall ${share(recall)}</span> <span class="f1">F1 ${f1.toFixed(3)}</span>`
      + ` <span>${alarms.toFixed(2)} false alarms an image</span>`;
  };
  graph.querySelector(".slider").hidden = false;
  cursor.removeAttribute("hidden");
  slider.addEventListener("input", show);
  svg.addEventListener("pointermove", event => {
    if (event.pointerType === "touch") return;
    const box = svg.querySelector(".grid").getBoundingClientRect();
    const score = low + (high - low) * (event.clientX - box.left) / box.width;
    slider.value = rows.reduce((best, row, index) =>
      Math.abs(row[0] - score) < Math.abs(rows[best][0] - score) ? index : best, 0);
    show();
  });
  show();
}

// The precision of every curve at the recall under the pointer.
for (const svg of document.querySelectorAll(".curves")) {
  const { width, height } = svg.dataset;
  const curves = [...svg.querySelectorAll(".curve")].map(path => ({
    name: path.dataset.name,
    points: path.getAttribute("d").slice(1).split("L").map(point => point.split(" ").map(Number)) }));
  const box = svg.querySelector(".grid");
  svg.addEventListener("pointermove", event => {
    const { left, width: across } = box.getBoundingClientRect();
    const recall = Math.min(1, Math.max(0, (event.clientX - left) / across));
    svg.parentElement.querySelector(".readout").textContent = `recall ${share(recall)}: precision ` + curves.map(curve => {
      const point = curve.points.find(([x]) => x >= recall * width);
      return `${curve.name}\u00a0${point ? share(-point[1] / height) : "–"}`.trim();
    }).join(", ");
  });
}

for (const controls of document.querySelectorAll(".controls")) {
  const selects = [...controls.querySelectorAll("select")];
  const figures = [...controls.nextElementSibling.children];
  controls.parentElement.addEventListener("change", () => {
    for (const figure of figures) {
      figure.hidden = selects.some(select => select.value && select.value !== figure.dataset[select.name]);
    }
    const shown = figures.filter(figure => figure.checkVisibility()).length;
    const output = controls.querySelector("output span");
    output.className = "";
    output.textContent = `${shown} shown, `;
  });
}

// A click enlarges a picture, the arrow keys go to its neighbours; a click or Escape closes it.
const dialog = document.querySelector("dialog");
let current;

function enlarge(figure) {
  current = figure;
  const caption = document.createElement("p");
  caption.textContent = figure.querySelector("figcaption").innerText;
  dialog.replaceChildren(figure.querySelector("svg").cloneNode(true), caption);
}

for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    enlarge(button.parentElement);
    dialog.showModal();
  });
}
dialog.addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => current.querySelector(".zoom").focus());
dialog.addEventListener("keydown", event => {
  const offset = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!offset) return;
  const figures = [...current.parentElement.children].filter(figure => figure.checkVisibility());
  enlarge(figures.at((figures.indexOf(current) + offset) % figures.length));
});

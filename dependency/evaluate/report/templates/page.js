// SPDX-License-Identifier: Apache-2.0
// Sorting of events, filters of pictures, and the enlarged picture; the page shows everything without them.
"use strict";

// A click on a column's head sorts the events by it; a second click turns the order.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  for (const head of heads) {
    head.firstChild.addEventListener("click", () => {
      const isName = head === heads[0];
      const rising = head.ariaSort ? head.ariaSort === "descending" : isName;
      const value = row => row.cells[head.cellIndex].dataset.value;
      const compare = isName ? new Intl.Collator("en", { numeric: true }).compare : (a, b) => a - b;
      const rows = [...table.tBodies[0].rows].sort((a, b) => compare(value(a), value(b)));
      for (const other of heads) other.ariaSort = null;
      head.ariaSort = rising ? "ascending" : "descending";
      table.tBodies[0].append(...(rising ? rows : rows.reverse()));
    });
  }
}

// Only pictures of the chosen kind and event are shown.
for (const controls of document.querySelectorAll(".controls")) {
  const selects = [...controls.querySelectorAll("select")];
  const figures = [...controls.nextElementSibling.children];
  controls.addEventListener("change", () => {
    for (const figure of figures) {
      figure.hidden = selects.some(select => select.value && select.value !== figure.dataset[select.name]);
    }
    const shown = figures.filter(figure => !figure.hidden).length;
    controls.querySelector("output").textContent = `${shown} of ${figures.length} pictures`;
  });
}

// A click on a picture enlarges it; the buttons and the arrow keys go to its neighbours.
const dialog = document.querySelector("dialog");
let current;

function enlarge(figure) {
  current = figure;
  dialog.firstElementChild.replaceWith(figure.querySelector("svg").cloneNode(true));
  dialog.querySelector("span").textContent = figure.querySelector("figcaption").innerText;
}

function step(offset) {
  const figures = [...current.parentElement.children].filter(figure => figure.checkVisibility());
  enlarge(figures.at((figures.indexOf(current) + offset) % figures.length));
}

for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    enlarge(button.parentElement);
    dialog.showModal();
  });
}
dialog.addEventListener("click", event => {
  if (event.target === dialog || event.target.value === "close") dialog.close();
  else if (event.target.value) step(Number(event.target.value));
});
dialog.addEventListener("keydown", event => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
dialog.addEventListener("close", () => current.querySelector(".zoom").focus());

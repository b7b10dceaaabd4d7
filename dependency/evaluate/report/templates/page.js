// SPDX-License-Identifier: Apache-2.0
// Filters of the pictures, and the enlarged picture; the page shows everything without them.
"use strict";

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

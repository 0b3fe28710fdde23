"use strict";
// Select lines of the queue, also all at once, and show how many; a refresh keeps the selection.

function boxes() {
  return [...document.querySelectorAll('input[form="choice"][name="id"]')];
}

function showCount() {
  const label = document.getElementById("chosen");
  const all = document.getElementById("choose-all");
  if (!label || !all) return;
  const chosen = boxes().filter((box) => box.checked).length;
  label.textContent = chosen ? `${chosen} chosen:` : label.dataset.none;
  all.checked = chosen > 0 && chosen === boxes().length;
  all.indeterminate = chosen > 0 && !all.checked;
}

document.addEventListener("change", (event) => {
  if (event.target.id === "choose-all") {
    for (const box of boxes()) box.checked = event.target.checked;
  }
  showCount();
});
document.addEventListener("refreshed", showCount);
document.addEventListener("DOMContentLoaded", showCount);

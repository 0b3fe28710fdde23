"use strict";
// Choose lines of the queue: all at once, and say how many; the choice outlives every refresh.

function boxes() {
  return [...document.querySelectorAll('input[form="steer"][name="id"]')];
}

function tell() {
  const said = document.getElementById("chosen");
  const all = document.getElementById("choose-all");
  if (!said || !all) return;
  const chosen = boxes().filter((box) => box.checked).length;
  said.textContent = chosen ? `${chosen} chosen:` : said.dataset.none;
  all.checked = chosen > 0 && chosen === boxes().length;
  all.indeterminate = chosen > 0 && !all.checked;
}

document.addEventListener("change", (event) => {
  if (event.target.id === "choose-all") {
    for (const box of boxes()) box.checked = event.target.checked;
  }
  tell();
});
document.addEventListener("refreshed", tell);
document.addEventListener("DOMContentLoaded", tell);

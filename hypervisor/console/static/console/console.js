"use strict";
// Make the theme's controls, plain elements with click handlers, usable by keyboard, and name them.

/** Name the theme's controls, plain elements with click handlers, and let keys activate them. */
function operableByKeyboard() {
  for (const symbol of document.querySelectorAll(".material-symbols-outlined:not([x-on\\:click])")) {
    symbol.setAttribute("aria-hidden", "true");
  }
  for (const control of document.querySelectorAll("[x-on\\:click]")) {
    if (control.matches("a[href], button, input, select, textarea, h2 *")) continue;
    const symbol = control.textContent.trim();
    control.setAttribute("role", "button");
    control.setAttribute("tabindex", "0");
    if (/^[a-z_]+$/.test(symbol)) control.setAttribute("aria-label", symbol.replaceAll("_", " "));
    control.addEventListener("keydown", (event) => {
      if (event.target === control && (event.key === "Enter" || event.key === " ")) {
        event.preventDefault();
        control.click();
      }
    });
  }
}

/** Give the parts of a list with search, which Select2 draws, the name of their label. */
function nameSearchableLists() {
  for (const drawn of document.querySelectorAll(".select2-selection__rendered")) {
    const list = drawn.closest(".select2-container").previousElementSibling;
    const name = list?.labels?.[0]?.textContent.replace("*", "").trim();
    if (name) {
      drawn.setAttribute("aria-label", name);
      drawn.closest("[role=combobox]").setAttribute("aria-label", name);
    }
  }
}

/** Name the parts that scroll sideways by what is in them, and the columns without a head.
 *
 * The theme's templates, which are not copied for this, name neither.
 */
function nameWhatScrolls() {
  for (const part of document.querySelectorAll(".simplebar-content-wrapper")) {
    const heading = part.closest(".inline-group, fieldset")?.querySelector("h2");
    const name = part.closest("#changelist-filter") ? "Filters" : heading?.textContent.trim();
    part.setAttribute("aria-label", name || "List");
  }
  for (const head of document.querySelectorAll(".formset-wrapper th")) {
    if (!head.textContent.trim()) head.innerHTML = '<span class="c-unseen">Remove</span>';
  }
}

/** Lead Control and K to the search, and Escape out of its results. */
function searchByKeyboard(event) {
  const field = document.getElementById("search");
  if (!field) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    field.focus();
    field.select();
  } else if (event.key === "Escape" && event.target.closest?.(".k-search")) {
    document.getElementById("found").replaceChildren();
    field.focus();
  }
}

document.addEventListener("keydown", searchByKeyboard);
document.addEventListener("DOMContentLoaded", operableByKeyboard);
// After the lists with search are drawn, which jQuery does when the document is ready.
document.addEventListener("DOMContentLoaded", () => window.django?.jQuery?.(nameSearchableLists));
document.addEventListener("formset:added", () => setTimeout(nameSearchableLists));
window.addEventListener("load", nameWhatScrolls);

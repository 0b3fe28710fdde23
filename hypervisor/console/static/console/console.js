"use strict";
// Make the theme's controls, plain elements with click handlers, usable by keyboard.

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

document.addEventListener("DOMContentLoaded", operableByKeyboard);

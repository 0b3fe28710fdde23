"use strict";
// Refresh the live part of a page.

const HEADER = "X-Fragment";
const LONGEST_DELAY_MS = 60000;

/** Turn `from` into `to` in place, which keeps focus, selection, scroll and opened details. */
function morph(from, to) {
  if (from.isEqualNode(to)) return;
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !kept(from, name)) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (!kept(from, name) && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  morphChildren(from, to);
}

/** Return whether the user, not the server, controls the attribute. */
function kept(element, name) {
  return name === "open" && element.tagName === "DETAILS";
}

function morphChildren(from, to) {
  let here = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const match = matching(from, here, wanted);
    if (!match) {
      from.insertBefore(wanted, here);
      continue;
    }
    if (match === here) here = here.nextSibling;
    else from.insertBefore(match, here);
    if (match.nodeType === Node.ELEMENT_NODE) morph(match, wanted);
    else if (match.nodeValue !== wanted.nodeValue) match.nodeValue = wanted.nodeValue;
  }
  while (here) {
    const next = here.nextSibling;
    here.remove();
    here = next;
  }
}

/** Return the child that corresponds to `wanted`: by id, or without ids by position. */
function matching(parent, here, wanted) {
  if (wanted.id) return [...parent.children].find((child) => child.id === wanted.id);
  return here && !here.id && here.nodeName === wanted.nodeName ? here : null;
}

class Refresher {
  constructor(live) {
    this.live = live;
    this.period = 1000 * Number(live.dataset.refresh);
    this.delay = this.period;
    this.state = document.getElementById("refresh-state");
    this.toggle = document.getElementById("refresh-toggle");
    this.announcer = document.getElementById("announcer");
    this.announced = this.announcement();
    this.paused = false;
    this.toggle.addEventListener("click", () => this.pause(!this.paused));
    document.addEventListener("visibilitychange", () => this.plan(document.hidden ? null : 0));
    window.addEventListener("pagehide", () => this.leave());
    this.plan(this.delay);
  }

  plan(delay) {
    clearTimeout(this.timer);
    if (delay !== null && !this.paused && !document.hidden) {
      this.timer = setTimeout(() => this.refresh(), delay);
    }
  }

  pause(paused) {
    this.paused = paused;
    this.toggle.setAttribute("aria-pressed", String(paused));
    this.toggle.textContent = paused ? "Resume" : "Pause";
    if (paused) this.state.textContent = `Paused at ${clock()}`;
    this.plan(paused ? null : 0);
  }

  leave() {
    this.plan(null);
    this.request?.abort();
  }

  async refresh() {
    this.request?.abort();
    const request = (this.request = new AbortController());
    try {
      const answer = await fetch(location.href, {
        headers: { [HEADER]: "live" },
        signal: request.signal,
      });
      if (answer.redirected) return location.reload(); // logged out
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      this.show(await answer.text());
    } catch (error) {
      if (request.signal.aborted) return;
      this.delay = Math.min(2 * this.delay, LONGEST_DELAY_MS);
      this.state.textContent = `Not updated since ${this.updated ?? "the start"}: ${error.message}`;
      this.state.classList.add("c-stale");
    }
    this.plan(this.delay);
  }

  show(html) {
    if (this.paused) return;
    const next = document.createElement("div");
    next.innerHTML = html;
    morphChildren(this.live, next);
    this.delay = this.period;
    this.updated = clock();
    this.state.textContent = `Updated ${this.updated}`;
    this.state.classList.remove("c-stale");
    this.announce();
    this.live.dispatchEvent(new CustomEvent("refreshed", { bubbles: true }));
  }

  announcement() {
    return this.live.querySelector("[data-announce]")?.dataset.announce ?? "";
  }

  announce() {
    const text = this.announcement();
    if (text !== this.announced) this.announcer.textContent = this.announced = text;
  }
}

/** Return the time of day in UTC, as the server writes it. */
function clock() {
  return new Date().toISOString().slice(11, 19);
}

document.addEventListener("DOMContentLoaded", () => {
  const live = document.querySelector("#live[data-refresh]");
  if (live) new Refresher(live);
});

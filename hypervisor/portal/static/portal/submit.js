"use strict";
// Show beside the form what the submission would lead to, while its fields change.

const DELAY_MS = 500;

class Outcome {
  constructor(form, box) {
    this.form = form;
    this.box = box;
    form.addEventListener("input", () => this.plan());
    form.addEventListener("submit", () => this.stop());
    window.addEventListener("pagehide", () => this.stop());
    if (form.checkValidity()) this.plan();
  }

  stop() {
    clearTimeout(this.timer);
    this.request?.abort();
  }

  plan() {
    this.stop();
    this.box.setAttribute("aria-busy", "true");
    this.timer = setTimeout(() => this.show(), DELAY_MS);
  }

  async show() {
    // Missing fields are no error while somebody still types.
    if (!this.form.checkValidity()) return this.box.removeAttribute("aria-busy");
    const request = (this.request = new AbortController());
    try {
      const answer = await fetch(this.form.action, {
        method: "POST",
        body: new FormData(this.form),
        headers: { "X-Fragment": "outcome" },
        signal: request.signal,
      });
      // A reload would lose what was typed.
      if (answer.redirected) return this.say("You are signed out: keep a copy of what you typed.");
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      this.box.innerHTML = await answer.text();
    } catch (error) {
      if (request.signal.aborted) return;
      return this.say(`No preview: ${error.message}. Press Preview to try again.`);
    }
    this.box.removeAttribute("aria-busy");
  }

  say(text) {
    this.box.textContent = text;
    this.box.removeAttribute("aria-busy");
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("submission");
  const box = document.getElementById("outcome");
  if (form && box) new Outcome(form, box);
});

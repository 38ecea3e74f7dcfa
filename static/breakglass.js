// Everything here is a convenience: every page works without it. Nothing is evaluated, nothing is
// loaded from elsewhere, and markup comes from our own server alone.
"use strict";
(() => {
  const root = document.documentElement;
  // The server's clock counts: a phone whose clock is wrong must not show a wrong time left.
  // It is compared with the moment the answer began, since a reveal streams for a while.
  const began = performance.timeOrigin + (performance.getEntriesByType("navigation")[0]?.responseStart ?? performance.now());
  const skew = Date.parse(root.dataset.now) - began;
  const now = () => Date.now() + skew;
  const all = (what, of = document) => of.querySelectorAll(what);
  const show = (of) => all(".js[hidden]", of).forEach((e) => { e.hidden = false; });

  // --- times -------------------------------------------------------------------------------
  const lasting = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000)), d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;
    const two = (a, au, b, bu) => (b === 0 ? `${a} ${au}` : `${a} ${au} ${b} ${bu}`);
    return d > 0 ? two(d, "d", h, "h") : h > 0 ? two(h, "h", m, "min") : m > 0 ? two(m, "min", s % 60, "s") : `${s} s`;
  };
  const rough = (ms) => lasting(ms >= 60000 && ms < 3600000 ? ms - (ms % 60000) : ms);
  const relative = (at) => {
    const step = at - now();
    return Math.abs(step) < 1000 ? "now" : step > 0 ? `in ${rough(step)}` : `${rough(-step)} ago`;
  };
  const tick = () => all("[data-until]").forEach((e) => { e.textContent = lasting(Date.parse(e.dataset.until) - now()); });
  const age = () => all("time[datetime] > .ago").forEach((e) => { e.textContent = relative(Date.parse(e.parentNode.dateTime)); });
  setInterval(tick, 1000);
  setInterval(age, 15000);

  // The reader's zone: a choice once made stays; otherwise the browser knows it.
  let zone = null;
  if (!/(?:^|; )tz=/.test(document.cookie)) {
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (own) {
      document.cookie = `tz=${own}; path=/; max-age=31536000; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
      if (own !== root.dataset.tz) zone = own;
    }
  }
  const part = (at, tz, options) => new Intl.DateTimeFormat("en-GB", { timeZone: tz, ...options }).format(at);
  const written = (at, tz, seconds) => {
    const clock = part(at, tz, { hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}) });
    const day = { year: "numeric", month: "2-digit", day: "2-digit" };
    if (part(at, tz, day) === part(now(), tz, day)) return clock;
    const sameYear = part(at, tz, { year: "numeric" }) === part(now(), tz, { year: "numeric" });
    return `${part(at, tz, sameYear ? { weekday: "short", day: "numeric", month: "short" } : { day: "numeric", month: "short", year: "numeric" }).replace(",", "")} ${clock}`;
  };
  const rezone = (of) => {
    if (!zone) return;
    all("time[data-shown] > .local", of).forEach((local) => {
      const time = local.parentNode, at = new Date(time.dateTime), seconds = time.dataset.shown === "clock";
      let utc = time.querySelector(".utc");
      local.textContent = written(at, zone, seconds);
      if (/^(Etc\/)?UTC$/.test(zone)) { local.textContent += " UTC"; utc?.remove(); return; }
      if (!utc) {
        utc = document.createElement("span");
        utc.className = "utc";
        local.after(" ", utc);
      }
      utc.textContent = `${part(at, "UTC", { hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}) })} UTC`;
    });
    all("[data-zone]", of).forEach((e) => { e.textContent = /UTC$/.test(zone) ? "UTC" : `${zone}, UTC beside them`; });
  };

  // --- live parts ----------------------------------------------------------------------------
  // A part is never replaced under a pressed thumb or while the keyboard is in it.
  let pressed = false;
  const waiting = new Map();
  const put = (fresh) => {
    const old = document.getElementById(fresh.id);
    if (!old) return;
    if (pressed || old.contains(document.activeElement)) { waiting.set(fresh.id, fresh); return; }
    const open = [...all("details", old)].map((d) => d.open);
    all("details", fresh).forEach((d, i) => { d.open = open[i] ?? d.open; });
    const rows = new Set([...all("tbody tr", old)].map((r) => r.textContent));
    if (rows.size) all("tbody tr", fresh).forEach((r) => { if (!rows.has(r.textContent)) r.classList.add("fresh"); });
    old.replaceWith(document.adoptNode(fresh));
    rezone(fresh); show(fresh); tick(); age();
  };
  const flush = () => { const parts = [...waiting.values()]; waiting.clear(); parts.forEach(put); };
  addEventListener("pointerdown", () => { pressed = true; });
  for (const up of ["pointerup", "pointercancel"]) addEventListener(up, () => { pressed = false; setTimeout(flush, 300); });
  addEventListener("focusout", () => setTimeout(flush, 0));
  const parse = (html) => new DOMParser().parseFromString(html, "text/html");

  let saidAt = 0;
  const say = (text) => {
    const said = document.getElementById("said");
    if (said && now() - saidAt > 10000 && said.textContent !== text) { saidAt = now(); said.textContent = text; }
  };
  all("[data-live]").forEach((place) => {
    const source = new EventSource(place.dataset.live);
    const state = document.getElementById("live-state");
    let lost = null;
    source.onopen = () => { lost = null; if (state) state.hidden = true; };
    source.onerror = () => {
      lost ??= now();
      if (state) { state.hidden = false; state.textContent = `Not live since ${written(lost, zone ?? root.dataset.tz, true)}: the connection is lost. Trying again.`; }
    };
    source.onmessage = (event) => {
      const fresh = parse(event.data).body.firstElementChild;
      if (!fresh || !fresh.id) return;
      put(fresh);
      const line = fresh.querySelector("[data-say]");
      if (line) say(line.dataset.say);
    };
    source.addEventListener("end", () => source.close());
    // A reload would cut off the navigation under way: the press on "Reveal" would lose its key.
    const again = () => { if (leaving()) setTimeout(again, 1000); else if (!dirty()) location.reload(); };
    source.addEventListener("reload", () => { source.close(); again(); });
    addEventListener("pagehide", () => source.close());
  });

  // --- forms -----------------------------------------------------------------------------------
  const changed = (form) => [...form.elements].some((e) => (e.tagName === "TEXTAREA" || (e.tagName === "INPUT" && /^(text|search)$/.test(e.type))) && !e.dataset.search && e.value !== e.defaultValue);
  // Until the next page is here; a download never comes to that.
  let left = -Infinity;
  const leaving = () => performance.now() - left < 15000;
  const dirty = () => !leaving() && [...all("form[data-warn]")].some(changed);
  addEventListener("beforeunload", (event) => { if (dirty()) event.preventDefault(); else left = performance.now(); });
  addEventListener("submit", (event) => {
    left = performance.now();
    const by = event.submitter;
    if (by) setTimeout(() => { by.disabled = true; by.setAttribute("aria-busy", "true"); }, 0);
  });
  addEventListener("pageshow", () => { left = -Infinity; all("[aria-busy]").forEach((e) => { e.disabled = false; e.removeAttribute("aria-busy"); }); });

  // Somebody else decides, reviews, merges: the page looks whether its state is another one. Not for ever, since each
  // look keeps the session.
  const told = document.querySelector("#request-state, #follow-up-state");
  const look = async () => {
    if (performance.now() > 900000) return;
    try {
      if (!document.hidden && !leaving() && !dirty()) {
        const answer = await fetch(location.href, { redirect: "error" });
        const fresh = answer.ok && parse(await answer.text()).getElementById(told.id);
        if (fresh && fresh.dataset.state !== told.dataset.state && !leaving() && !dirty()) { location.reload(); return; }
      }
    } catch { /* the next look may find it */ }
    setTimeout(look, 5000);
  };
  if (told) setTimeout(look, 5000);

  all("form[data-preview]").forEach((form) => {
    let timer, turn = 0;
    const ask = async (whole) => {
      const mine = ++turn;
      try {
        const answer = await fetch(form.dataset.preview, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: whole ? {} : { "x-fragment": "1" }, redirect: "error" });
        if (!/^text\/html/.test(answer.headers.get("content-type") ?? "") || answer.status >= 500 || mine !== turn) return;
        const fresh = parse(await answer.text());
        // What hangs on cluster and profile comes new with them; what was typed stays as it is.
        for (const id of whole ? ["preview", "profile-allows", "namespaces", "duration"] : ["preview"]) {
          const part = fresh.getElementById(id);
          if (part) put(part);
        }
      } catch { /* the button asks the same question without a script */ }
    };
    form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 400, false); });
    form.addEventListener("change", (event) => { if (event.target.matches("select")) { clearTimeout(timer); ask(true); } });
  });
  addEventListener("input", (event) => {
    const list = event.target.dataset?.search && document.getElementById(event.target.dataset.search);
    if (!list) return;
    const typed = event.target.value.trim().toLowerCase();
    for (const label of list.children) label.hidden = !label.textContent.toLowerCase().includes(typed) && !label.querySelector(":checked");
  });

  // --- asking once before what cannot be undone --------------------------------------------------
  addEventListener("click", (event) => {
    const summary = event.target.closest?.("details.confirm > summary");
    if (!summary || typeof HTMLDialogElement === "undefined") return;
    event.preventDefault();
    const details = summary.parentNode, box = details.querySelector(".confirm-box");
    const dialog = document.createElement("dialog"), title = document.createElement("h2"), cancel = document.createElement("button");
    title.textContent = summary.textContent.replace(/\s*…$/, "");
    title.id = "ask-title";
    dialog.setAttribute("aria-labelledby", "ask-title");
    cancel.type = "button";
    cancel.textContent = "Go back";
    // Enter pressed once too often must not end anything.
    cancel.autofocus = !box.querySelector("textarea, select");
    cancel.addEventListener("click", () => dialog.close());
    dialog.append(title, box, cancel);
    dialog.addEventListener("close", () => { details.append(box); dialog.remove(); summary.focus(); });
    details.after(dialog);
    dialog.showModal();
  });

  // --- the key: copy, download, forget -----------------------------------------------------------
  const text = (id) => { const e = document.getElementById(id); return e.value ?? e.textContent; };
  addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy], [data-download]");
    if (!button) return;
    if (button.dataset.copy) {
      const label = button.textContent;
      try {
        await navigator.clipboard.writeText(text(button.dataset.copy));
        button.textContent = "Copied";
      } catch {
        const source = document.getElementById(button.dataset.copy);
        if (source.select) source.select(); else getSelection().selectAllChildren(source);
        button.textContent = "Selected: copy it now";
      }
      setTimeout(() => { button.textContent = label; }, 2000);
    } else {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text(button.dataset.download)], { type: "application/yaml" }));
      link.download = button.dataset.file;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }
  });
  // A page kept by the browser for "back" must not bring the key back with it.
  addEventListener("pagehide", () => all("[data-secret]").forEach((e) => { e.value = "The key was shown once. Reveal a new one."; }));

  show(document);
  rezone(document);
  tick();
})();

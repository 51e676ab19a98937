"use strict";
(() => {
  const live = document.getElementById("live");
  const drift = document.getElementById("drift");
  const from = document.body.dataset.live;

  // Tells when this computer and the box disagree about the time: log lines could not be matched.
  const compareClocks = () => {
    const clock = document.getElementById("clock");
    if (!clock || !drift) return;
    const minutes = Math.round((Date.now() - Date.parse(clock.dateTime) - 30000) / 60000);
    const text = Math.abs(minutes) < 3 ? "" : `This computer's clock is ${Math.abs(minutes)} min ${minutes > 0 ? "ahead of" : "behind"} the box`;
    if (drift.textContent !== text) drift.textContent = text;
  };
  compareClocks();

  if (!live || !from || !window.EventSource) return;
  const say = (state, text) => {
    live.dataset.state = state;
    live.textContent = text;
  };

  // Parts wait while somebody is selecting text in them.
  const waiting = new Map();
  const show = () => {
    const selection = getSelection();
    for (const [id, html] of waiting) {
      const place = document.getElementById(id);
      if (place && !selection.isCollapsed && place.contains(selection.anchorNode)) continue;
      waiting.delete(id);
      if (!place) continue;
      const active = document.activeElement;
      const href = place.contains(active) ? active.getAttribute("href") : null;
      place.innerHTML = html;
      if (href) place.querySelector(`a[href="${CSS.escape(href)}"]`)?.focus();
    }
    compareClocks();
  };
  document.addEventListener("selectionchange", () => waiting.size && show());

  const source = new EventSource(from);
  source.addEventListener("open", () => say("on", "Live"));
  source.addEventListener("part", (event) => {
    const part = JSON.parse(event.data);
    waiting.set(part.id, part.html);
    show();
  });
  source.addEventListener("gone", () => location.reload());
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) say("off", "Not updating: reload the page");
    else say("off", "Connection lost, trying again");
  });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && location.reload());
})();

// The page of the explorer: it joins the parts, listens, and draws frame after frame. All texts from data are set as text.
(() => {
  "use strict";
  const app = tokendynApp, link = tokendynLink;
  const { $, state, data, KINDS } = app;

  const play = (on) => {
    state.playing = on;
    if (on && state.position >= app.total()) state.position = 0;
    $("x-play").setAttribute("aria-pressed", String(on));
    $("x-play").textContent = on ? "❚❚ Pause" : "▶ Play";
    state.stale = true;
  };

  const seek = (position) => {
    play(false);
    state.position = Math.max(0, Math.min(app.total(), position));
    app.changed();
  };

  Object.assign(app, { play, seek });

  const inText = (event) => event.target.matches?.("textarea, input:not([type=range], [type=checkbox], [type=radio])");

  const keys = (event) => {
    const command = (event.ctrlKey || event.metaKey) && !event.altKey, key = event.key.toLowerCase();
    if (command && !inText(event) && (key === "z" || key === "y")) {
      event.preventDefault();
      if (key === "y" || event.shiftKey) app.redo();
      else app.undo();
    } else if (event.key === " " && !event.target.matches?.("textarea, input:not([type=range]), select, button, summary")) {
      event.preventDefault();
      play(!state.playing);
    }
  };

  const listenFiles = () => {
    $("x-open").addEventListener("click", () => $("x-file").click());
    $("x-file").addEventListener("change", async () => { await app.open($("x-file").files[0]); $("x-file").value = ""; });
    $("x-paste-use").addEventListener("click", () => { if (app.load($("x-paste").value, "Pasted tokens")) $("x-paste").value = ""; });
    document.addEventListener("paste", (event) => {
      const text = event.clipboardData?.getData("text/plain");
      if (inText(event) || !text) return;
      event.preventDefault();
      app.load(text, "Pasted tokens");
    });
    document.addEventListener("dragover", (event) => { event.preventDefault(); $("x-page").classList.add("x-drop"); });
    document.addEventListener("dragleave", () => $("x-page").classList.remove("x-drop"));
    document.addEventListener("drop", (event) => { event.preventDefault(); $("x-page").classList.remove("x-drop"); app.open(event.dataTransfer.files[0]); });
  };

  const listen = () => {
    app.listenControls();
    app.listenHands();
    app.listenRecord();
    app.listenTour();
    listenFiles();
    $("x-undo").addEventListener("click", app.undo);
    $("x-redo").addEventListener("click", app.redo);
    $("x-play").addEventListener("click", () => play(!state.playing));
    $("x-back").addEventListener("click", () => seek(Math.ceil(state.position) - 1));
    $("x-next").addEventListener("click", () => seek(Math.floor(state.position) + 1));
    $("x-time").addEventListener("input", () => seek(Number($("x-time").value)));
    document.addEventListener("keydown", keys);
    window.addEventListener("hashchange", () => { if (link.holds(location.hash)) app.follow(location.hash); });
    new ResizeObserver(() => { state.stale = true; }).observe($("x-page"));
    app.dark.addEventListener("change", () => { state.layers = {}; state.tables = ""; state.stale = true; app.fillMatrices(); });
  };

  let before = 0;
  const tick = (now) => {
    const began = performance.now();
    if (state.playing) {
      const rate = app.sphere() ? Math.max(2.5 / state.setup.step, app.total() / 20) / 2 : Math.max(3, app.total() / 12);
      const limit = Math.min(...KINDS.map((kind) => state.shown[kind].states.length - 1));
      state.position = Math.min(state.position + (Math.min(100, now - before) / 1000) * rate, app.total(), Math.max(limit, state.position));
      if (state.position >= app.total() || KINDS.every((kind) => state.shown[kind].failure && state.position >= limit)) play(false);
      state.stale = true;
    }
    app.compute(began);
    if (state.stale) {
      state.stale = false;
      app.render();
    }
    app.tell();
    app.filmed();
    state.frames.push(now - before);
    state.works.push(performance.now() - began);
    if (state.frames.length > 600) { state.frames.shift(); state.works.shift(); }
    before = now;
    requestAnimationFrame(tick);
  };

  listen();
  if (!link.holds(location.hash) || !app.follow(location.hash)) {
    // The message about a link that cannot be followed stays.
    const problem = $("x-error").textContent;
    app.choose(data.chosen);
    app.complain(problem);
  }
  requestAnimationFrame((now) => { before = now; tick(now); });
})();

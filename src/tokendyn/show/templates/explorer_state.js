// What the page holds: the settings and their history, the runs, and the address. Other parts add their functions to it.
const tokendynApp = (() => {
  "use strict";
  const core = tokendynCore, settings = tokendynSetup, link = tokendynLink;
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("x-data").textContent);
  const KINDS = ["hardmax", "softmax"], BUDGET = 6, MOST_PAST = 200, MOST_FILE = 20e6, MOST_ADDRESS = 100000;
  const state = {
    setup: null, shown: {}, next: null, ghost: null, dirty: false, position: 0, playing: false, plain: false, selected: -1, stale: true, layers: {},
    view: { d: 2, centre: [0, 0], radius: 1.2, turn: null }, seed: 1, frames: [], works: [], tables: "", past: [], future: [], gesture: "",
  };
  const show = { hull: true, cells: true, trails: true, names: true, links: false, projected: true };
  const app = {
    $, data, KINDS, state, show, canvases: { hardmax: $("x-hard"), softmax: $("x-soft") },
    still: matchMedia("(prefers-reduced-motion: reduce)"), dark: matchMedia("(prefers-color-scheme: dark)"), phone: matchMedia("(max-width: 620px)"),
    low: matchMedia("(min-width: 621px) and (max-height: 500px)"),
  };
  window.tokendynExplorer = { state, core, settings, app };

  const sphere = () => state.setup.model === "meanfield";
  const total = () => (sphere() ? state.setup.steps : state.setup.layers);

  // ---- history ----

  /** Keep the settings for undo; what one gesture changes (a drag, a slider, a held key) is undone at once. */
  const remember = (gesture) => {
    if (!state.setup || (gesture && gesture === state.gesture)) return;
    state.past.push(state.setup);
    if (state.past.length > MOST_PAST) state.past.shift();
    state.future = [];
    state.gesture = gesture;
  };

  const change = (changes, gesture = "") => {
    remember(gesture);
    state.setup = { ...state.setup, ...changes, altered: true };
    state.dirty = true;
    state.stale = true;
    changed();
  };

  const travel = (from, to) => {
    if (!from.length) return;
    to.push(state.setup);
    state.gesture = "";
    adopt(from.pop());
  };

  const undo = () => travel(state.past, state.future);
  const redo = () => travel(state.future, state.past);

  /** Show other settings; runs of the same tokens stay until the new ones have come as far. */
  const adopt = (setup) => {
    const { n, d, model, base } = state.setup ?? {}, same = n === setup.n && d === setup.d && model === setup.model;
    app.complain("");
    Object.assign(state, { setup, tables: "", playing: false, dirty: true, stale: true, selected: Math.min(state.selected, setup.n - 1) });
    state.view.d = setup.d;
    if (!same || base !== setup.base) state.position = Math.min(state.position, total());
    if (!same) {
      begin();
      KINDS.forEach((kind) => (state.shown[kind] = state.next[kind]));
    }
    if (!same || base !== setup.base) app.fit();
    app.fillControls();
    changed();
  };

  /** Show settings from their beginning: a preset, a file, a link. */
  const take = (setup, position = 0) => {
    remember("");
    state.setup = null;
    Object.assign(state, { position, selected: -1 });
    // Numbers of many tokens say little, lines of many hide them, and patches of many clusters cover the sphere.
    shown("names", setup.n <= 40 || setup.labels.some((label) => !/^\d+$/.test(label)));
    shown("links", setup.n <= 12);
    shown("cells", setup.d === 2);
    adopt(setup);
  };

  const shown = (name, on) => {
    show[name] = on;
    $(`x-show-${name}`).checked = on;
    state.stale = true;
  };

  // ---- what is computed ----

  const begin = () => {
    const setup = { ...state.setup, tokens: state.setup.tokens.slice() };
    state.next = Object.fromEntries(KINDS.map((kind) => [kind, core.startRun(setup, kind)]));
    // What the theorem is about: hardmax and V = I. Elsewhere it is a run of its own, to compare with.
    state.ghost = sphere() ? null : setup.value ? core.startRun({ ...setup, value: null }, "hardmax") : state.next.hardmax;
    state.dirty = false;
  };

  const reaches = (run, position) => run.done() || run.states.length > position;

  /** Compute for some milliseconds. New runs replace the shown ones as soon as they reach the layer that is shown. */
  const compute = (now) => {
    const need = Math.min(Math.ceil(state.position), total());
    if (state.dirty && (!state.next || KINDS.every((kind) => reaches(state.next[kind], need)))) begin();
    const before = KINDS.map((kind) => state.next[kind].states.length), ghosts = state.ghost?.states.length;
    KINDS.forEach((kind, place) => state.next[kind].work(now + BUDGET * (place ? 1 : 0.5)));
    KINDS.forEach((kind, place) => {
      const run = state.next[kind];
      if (run !== state.shown[kind] && reaches(run, need)) {
        state.shown[kind] = run;
        state.stale = true;
      }
      if (run.states.length !== before[place]) state.stale = true;
    });
    state.ghost?.work(now + BUDGET);
    if (state.ghost?.states.length !== ghosts) state.stale = true;
  };

  const finish = () => {
    if (state.dirty) begin();
    for (const kind of KINDS) {
      while (!state.next[kind].done()) state.next[kind].advance();
      state.shown[kind] = state.next[kind];
    }
    state.stale = true;
    return state.shown;
  };

  /** Where the theory puts the tokens on the sphere; null in the plane. */
  const targetsOf = (run) => {
    if (run.targets === undefined) run.targets = run.setup.model === "meanfield" ? settings.targets(run.setup, run.states[0]) : null;
    return run.targets;
  };

  /** The curve of a run: distance to the projected law, or of softmax from hardmax; as far as both are computed. */
  const curve = (run, other) => {
    const { n, d, weights, model } = run.setup, targets = targetsOf(run);
    if (run.curve?.other !== other) run.curve = { other, values: [] };
    const { values } = run.curve;
    const count = model === "meanfield" ? (targets ? run.states.length : 0) : Math.min(run.states.length, other.states.length);
    if (other.setup.n !== n || other.setup.model !== model) return values;
    while (values.length < count) {
      const k = values.length;
      values.push(settings.distance(run.states[k], targets ?? other.states[k], weights, n, d));
    }
    return values;
  };

  // ---- the address ----

  const fragment = () => {
    // Other pages and tokendyn know the presets, but not what only this page begins with.
    const base = data.own.includes(state.setup.base) ? undefined : data.settings[state.setup.base];
    return link.write(settings.write(state.setup), base ? state.setup.base : "", base && settings.write(settings.read(base)), state.position);
  };

  let timer = 0;
  const changed = () => {
    $("x-undo").disabled = !state.past.length;
    $("x-redo").disabled = !state.future.length;
    app.fillNote();
    clearTimeout(timer);
    timer = setTimeout(address, 250);
  };

  /** Write the settings into the address of the page, where that is short and the browser allows it. */
  const address = () => {
    const text = fragment();
    if (text.length > MOST_ADDRESS) return;
    try {
      history.replaceState(null, "", `#${text}`);
    } catch {
      // A page inside another one may not have an address of its own; "Copy link" shows it all the same.
    }
  };

  const linked = () => `${location.href.split("#")[0]}#${fragment()}`;

  // ---- settings in ----

  /** Do what may fail for a reason that a person can mend, and say the reason. */
  const attempt = (action) => {
    try {
      action();
      return true;
    } catch (error) {
      app.complain(`Not loaded: ${error.message}.`.replace(/\.\.$/, "."));
      return false;
    }
  };

  const follow = (text) =>
    attempt(() => {
      const { record, preset, at, altered } = link.read(text, data.settings);
      take({ ...settings.read(record), base: preset, altered }, Math.max(0, at));
    });

  const choose = (name) => take({ ...settings.read(data.settings[name]), base: name });
  const load = (text, title) => attempt(() => take(settings.read(tokendynTable.read(text, state.setup, title))));

  const open = async (file) => {
    if (!file) return;
    if (file.size > MOST_FILE) return app.complain(`Not loaded: ${file.name} has ${file.size} bytes; at most ${MOST_FILE} are read.`);
    let text = "";
    try {
      text = tokendynTable.decoded(await file.arrayBuffer());
    } catch {
      return app.complain(`Not loaded: ${file.name} cannot be read; a folder is no file.`);
    }
    load(text, file.name);
  };

  return Object.assign(app, {
    sphere, total, change, undo, redo, take, shown, begin, compute, finish, targetsOf, curve, changed, linked, follow, choose, load, open,
  });
})();

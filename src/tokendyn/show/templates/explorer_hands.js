// Tokens and view by hand: pointers, fingers, wheel and keys.
(() => {
  "use strict";
  const app = tokendynApp, core = tokendynCore, draw = tokendynDraw, lens = tokendynLens, settings = tokendynSetup;
  const { $, state, KINDS, canvases } = app;
  const NEAR = { mouse: 16, pen: 18, touch: 26 }, ZOOM = 1.25;

  // ---- tokens ----

  const startOf = (token) => Array.from(state.setup.tokens.slice(token * state.setup.d, (token + 1) * state.setup.d));

  const moveToken = (token, point) => {
    const { d } = state.setup, tokens = state.setup.tokens.slice(), size = app.sphere() ? Math.hypot(...point) : 1;
    if (!(size > 1e-9) || !point.every((x) => Number.isFinite(x) && Math.abs(x) < 1e9)) return;
    for (let c = 0; c < d; c++) tokens[token * d + c] = point[c] / size;
    app.change({ tokens }, `token ${token}`);
    app.fillPlace();
  };

  const select = (token) => {
    state.selected = token;
    state.stale = true;
    $("x-token").value = String(token);
    app.fillPlace();
  };

  const addToken = (point) => {
    const { n, labels, weights } = state.setup;
    if (n >= settings.MOST_TOKENS) return app.complain(`There are ${n} tokens; the explorer takes ${settings.MOST_TOKENS}.`);
    const size = app.sphere() ? Math.hypot(...point) || 1 : 1, used = new Set(labels);
    let name = n;
    while (used.has(String(name))) name++;
    app.change({
      n: n + 1, tokens: Float64Array.from([...state.setup.tokens, ...point.map((x) => x / size)]),
      labels: [...labels, String(name)], weights: weights && [...weights, 1],
    });
    app.fillTokens();
    select(n);
  };

  const removeToken = (token) => {
    const { n, d, labels, weights, tokens } = state.setup;
    if (n < 2 || token < 0) return;
    const kept = (_, place) => place !== token;
    app.change({
      n: n - 1, tokens: tokens.filter((_, place) => Math.floor(place / d) !== token), labels: labels.filter(kept), weights: weights && weights.filter(kept),
    });
    app.fillTokens();
    select(Math.min(token, n - 2));
  };

  const random = () => {
    state.seed = (state.seed + 0x6d2b79f5) | 0;
    let t = Math.imul(state.seed ^ (state.seed >>> 15), 1 | state.seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };

  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

  const scatter = (count) => {
    const { d } = state.setup, n = count;
    if (!(Number.isInteger(n) && n >= 1 && n <= settings.MOST_TOKENS)) {
      $("x-count").value = String(state.setup.n);
      return app.complain(`number must be a whole number from 1 to ${settings.MOST_TOKENS}, got ${Number.isFinite(n) ? n : "none"}.`);
    }
    let tokens = Float64Array.from({ length: n * d }, normal);
    if (app.sphere()) tokens = core.retract(tokens, n, d);
    const note = `Independent normal tokens${app.sphere() ? ", divided by their norms" : ""}.`;
    app.take({
      ...state.setup, base: "", altered: false, n, tokens, weights: null, labels: Array.from({ length: n }, (_, place) => String(place)),
      title: `${n} random token${n === 1 ? "" : "s"}`, note,
    });
  };

  // ---- the view ----

  /** Zoom by a factor about a point of the plane; the sphere keeps its centre. */
  const zoom = (factor, about = null) => {
    const { view } = state, next = Math.max(1e-9, Math.min(1e12, view.radius / factor));
    if (view.d === 2 && about) view.centre = view.centre.map((x, c) => about[c] + ((x - about[c]) * next) / view.radius);
    view.radius = next;
    state.stale = true;
  };

  const pan = (x, y) => {
    const { view } = state;
    if (view.d === 2) view.centre = [view.centre[0] + x * view.radius, view.centre[1] + y * view.radius];
    else view.turn = app.turned(app.turned(view.turn, 1, -x), 0, y);
    state.stale = true;
  };

  const under = (kind, x, y) => draw.unplace(state.view, canvases[kind].clientWidth, canvases[kind].clientHeight, x, y);

  const near = (kind, x, y, reach = NEAR.mouse) => {
    const run = state.shown[kind], canvas = canvases[kind], { n, d } = run.setup;
    const place = draw.placer(state.view, canvas.clientWidth, canvas.clientHeight);
    let best = -1, least = reach;
    for (const points of [run.states[0], draw.between(run, Math.min(state.position, run.states.length - 1))]) {
      for (let i = 0; i < Math.min(n, state.setup.n); i++) {
        const [a, b, depth] = place(points, i * d), distance = Math.hypot(a - x, b - y);
        if (depth >= 0 && distance <= least) { least = distance; best = i; }
      }
    }
    return best;
  };

  const pointer = (kind) => {
    const canvas = canvases[kind], fingers = new Map();
    let held = null, spread = 0;
    const pinch = () => {
      const [one, two] = [...fingers.values()];
      return { long: Math.hypot(one.x - two.x, one.y - two.y), about: state.view.d === 2 ? under(kind, (one.x + two.x) / 2, (one.y + two.y) / 2) : null };
    };
    canvas.addEventListener("pointerdown", (event) => {
      const { offsetX: x, offsetY: y } = event, token = near(kind, x, y, NEAR[event.pointerType]);
      fingers.set(event.pointerId, { x, y });
      canvas.setPointerCapture(event.pointerId);
      if (fingers.size === 2) { held = null; spread = pinch().long; return; }
      held = { token, x, y, from: token >= 0 ? startOf(token) : null, point: under(kind, x, y), turn: state.view.turn, centre: state.view.centre };
      if (token >= 0) select(token);
    });
    canvas.addEventListener("pointermove", (event) => {
      const { offsetX: x, offsetY: y } = event;
      if (fingers.has(event.pointerId)) fingers.set(event.pointerId, { x, y });
      if (fingers.size === 2) {
        const { long, about } = pinch();
        if (spread > 0 && long > 0) zoom(long / spread, about);
        spread = long;
        return;
      }
      if (!held) return;
      const scale = (Math.min(canvas.clientWidth, canvas.clientHeight) / 2 - 8) / state.view.radius;
      if (held.token >= 0) {
        const point = under(kind, x, y);
        moveToken(held.token, held.from.map((start, c) => start + point[c] - held.point[c]));
      } else if (state.view.d === 3) {
        const turn = 2.2 / Math.min(canvas.clientWidth, canvas.clientHeight);
        state.view.turn = app.turned(app.turned(held.turn, 1, (x - held.x) * turn), 0, (y - held.y) * turn);
      } else state.view.centre = [held.centre[0] - (x - held.x) / scale, held.centre[1] + (y - held.y) / scale];
      state.stale = true;
    });
    canvas.addEventListener("pointerup", (event) => { fingers.delete(event.pointerId); held = null; });
    // The browser took the finger to scroll the page: what it moved of the view until then goes back.
    canvas.addEventListener("pointercancel", (event) => {
      if (held && held.token < 0) Object.assign(state.view, { turn: held.turn, centre: held.centre });
      fingers.delete(event.pointerId);
      held = null;
      state.stale = true;
    });
    // A finger on a token, or two fingers, act on the picture; any other finger scrolls the page past it.
    canvas.addEventListener("touchstart", (event) => {
      const box = canvas.getBoundingClientRect(), { clientX, clientY } = event.touches[0];
      if (!event.cancelable) return;
      if (event.touches.length > 1 || near(kind, clientX - box.left, clientY - box.top, NEAR.touch) >= 0) event.preventDefault();
    }, { passive: false });
    // A wheel over the picture scrolls the page, until the picture has the focus.
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey && !event.metaKey) return app.report("Click the picture first: then the wheel zooms. Ctrl and the wheel zoom at once.");
      event.preventDefault();
      zoom(Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) * 0.004), state.view.d === 2 ? under(kind, event.offsetX, event.offsetY) : null);
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => {
      if (near(kind, event.offsetX, event.offsetY) < 0) addToken(under(kind, event.offsetX, event.offsetY));
    });
    canvas.addEventListener("keydown", keys);
  };

  /** What keys have done, for those who cannot see the picture. */
  const tellSelected = () => {
    const token = state.selected;
    if (token < 0) app.report("No token is selected: arrows move the view.");
    else app.report(`Token ${state.setup.labels[token].slice(0, 24)} starts at (${startOf(token).map(lens.short).join(", ")}).`);
  };

  const keys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { n } = state.setup, token = state.selected, key = event.key.length === 1 ? event.key.toLowerCase() : event.key, size = (event.shiftKey ? 0.1 : 0.01) * (app.sphere() ? 1 : state.view.radius);
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (steps && token >= 0) {
      const r = state.view.turn, [a, b] = steps.map((part) => part * size);
      const shift = state.view.d === 2 ? [a, b] : [0, 1, 2].map((c) => a * r[c] + b * r[3 + c]);
      moveToken(token, startOf(token).map((x, c) => x + shift[c]));
    } else if (steps) pan(0.1 * steps[0], 0.1 * steps[1]);
    else if (key === "n") select((token + 1) % n);
    else if (key === "p") select((Math.max(token, 0) + n - 1) % n);
    else if (key === "Escape") select(-1);
    else if (key === "i") zoom(ZOOM);
    else if (key === "o") zoom(1 / ZOOM);
    else if (key === "0") app.fit(true);
    else if (key === "+") addToken(state.view.d === 2 ? state.view.centre : [1, 1, 1]);
    else if (key === "Delete" || key === "Backspace") removeToken(token);
    else return;
    event.preventDefault();
    if (["n", "p", "+", "Escape", "Delete", "Backspace"].includes(key) || (steps && token >= 0)) tellSelected();
  };

  const listenHands = () => {
    KINDS.forEach(pointer);
    $("x-add").addEventListener("click", () => addToken(Array.from({ length: state.setup.d }, () => (normal() * state.view.radius) / 2)));
    $("x-remove").addEventListener("click", () => removeToken(state.selected >= 0 ? state.selected : state.setup.n - 1));
    $("x-scatter").addEventListener("click", () => scatter($("x-count").valueAsNumber));
    $("x-in").addEventListener("click", () => zoom(ZOOM));
    $("x-out").addEventListener("click", () => zoom(1 / ZOOM));
    for (const id of ["x-fit", "x-away-fit"]) $(id).addEventListener("click", () => app.fit(true));
    // What was changed since the last pause of hands is one step of undo.
    for (const end of ["pointerup", "keyup", "change"]) document.addEventListener(end, () => (state.gesture = ""));
  };

  Object.assign(app, { startOf, moveToken, select, addToken, removeToken, listenHands });
})();

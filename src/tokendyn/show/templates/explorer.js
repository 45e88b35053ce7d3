// The page of the explorer: what is chosen, what is being computed, what is shown. All texts from data are set as text.
(() => {
  "use strict";
  const core = tokendynCore, settings = tokendynSetup, draw = tokendynDraw;
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("x-data").textContent);
  const KINDS = ["hardmax", "softmax"], MOST_FILE = 20e6, BUDGET = 6;
  const still = matchMedia("(prefers-reduced-motion: reduce)"), dark = matchMedia("(prefers-color-scheme: dark)");
  const canvases = { hardmax: $("x-hard"), softmax: $("x-soft") };
  const show = { hull: true, cells: true, trails: true, names: true, projected: true };
  const state = {
    setup: null, shown: {}, next: null, dirty: false, position: 0, playing: false, selected: -1, stale: true, layers: {},
    view: { d: 2, centre: [0, 0], radius: 1.2, turn: null }, seed: 1, frames: [], works: [], tables: "",
  };
  window.tokendynExplorer = { state, core, settings };

  // ---- what is computed ----

  const sphere = () => state.setup.model === "meanfield";
  const total = () => (sphere() ? state.setup.steps : state.setup.layers);

  const change = (changes = {}) => {
    state.setup = { ...state.setup, ...changes };
    state.dirty = true;
    state.stale = true;
  };

  const begin = () => {
    const setup = { ...state.setup, tokens: state.setup.tokens.slice() };
    state.next = Object.fromEntries(KINDS.map((kind) => [kind, core.startRun(setup, kind)]));
    state.dirty = false;
  };

  const reaches = (run, position) => run.done() || run.states.length > position;

  /** Compute for some milliseconds. New runs replace the shown ones as soon as they reach the layer that is shown. */
  const compute = (now) => {
    const need = Math.min(Math.ceil(state.position), total());
    if (state.dirty && (!state.next || KINDS.every((kind) => reaches(state.next[kind], need)))) begin();
    const before = KINDS.map((kind) => state.next[kind].states.length);
    KINDS.forEach((kind, place) => state.next[kind].work(now + BUDGET * (place ? 1 : 0.5)));
    KINDS.forEach((kind, place) => {
      const run = state.next[kind];
      if (run !== state.shown[kind] && reaches(run, need)) {
        state.shown[kind] = run;
        state.stale = true;
      }
      if (run.states.length !== before[place]) state.stale = true;
    });
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

  // ---- settings in and out ----

  const complain = (message) => {
    $("x-error").textContent = message;
    $("x-error").hidden = !message;
  };

  const take = (setup) => {
    complain("");
    Object.assign(state, { setup, shown: {}, next: null, position: 0, playing: false, selected: -1, tables: "" });
    state.view.d = setup.d;
    // Numbers of many tokens say little, and patches of many clusters cover the sphere.
    shown("names", setup.n <= 40 || setup.labels.some((label) => !/^\d+$/.test(label)));
    shown("cells", setup.d === 2);
    change();
    begin();
    KINDS.forEach((kind) => (state.shown[kind] = state.next[kind]));
    fit();
    fillControls();
  };

  const shown = (name, on) => {
    show[name] = on;
    $(`x-show-${name}`).checked = on;
    state.stale = true;
  };

  const load = (text) => {
    try {
      take(settings.read(JSON.parse(text)));
      $("x-preset").value = "";
    } catch (error) {
      complain(`Not loaded: ${error.message}`);
    }
  };

  const open = async (file) => {
    if (!file) return;
    if (file.size > MOST_FILE) return complain(`Not loaded: ${file.name} has ${file.size} bytes; at most ${MOST_FILE} are read`);
    load(await file.text());
  };

  const save = (name, blob) => {
    const link = document.createElement("a"), url = URL.createObjectURL(blob);
    link.href = url;
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 5000);
  };

  const exported = () => settings.write(state.setup, finish());

  const picture = () => {
    const { hardmax, softmax } = canvases, gap = 24, head = 60, colours = draw.theme($("x-page"));
    const sheet = document.createElement("canvas"), scale = hardmax.width / hardmax.clientWidth;
    sheet.width = hardmax.width + softmax.width + 3 * gap * scale;
    sheet.height = hardmax.height + (head + gap) * scale;
    const pen = sheet.getContext("2d");
    pen.fillStyle = colours.paper;
    pen.fillRect(0, 0, sheet.width, sheet.height);
    pen.drawImage(hardmax, gap * scale, head * scale);
    pen.drawImage(softmax, 2 * gap * scale + hardmax.width, head * scale);
    pen.scale(scale, scale);
    pen.fillStyle = colours.ink;
    pen.font = "600 16px system-ui, sans-serif";
    pen.fillText(state.setup.title.slice(0, 80), gap, 24);
    pen.font = "14px system-ui, sans-serif";
    pen.fillText(`${$("x-hard-title").textContent}, ${said()}`, gap, 48);
    pen.fillText($("x-soft-title").textContent, 2 * gap + hardmax.clientWidth, 48);
    sheet.toBlob((blob) => save("explored.png", blob), "image/png");
  };

  // ---- drawing ----

  const sized = (canvas) => {
    const ratio = Math.min(2, window.devicePixelRatio || 1), width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      state.layers = {};
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    return { pen, width, height, ratio };
  };

  const colourOf = (colours) => {
    const made = data.styles.map(({ colour }) => draw.lifted(colour, colours.lift)), neutral = draw.lifted(draw.NEUTRAL, colours.lift / 2);
    return (place) => (place >= 0 && place < made.length ? made[place] : neutral);
  };

  /** Cells, hulls and trails change with the state only: they are kept on a second canvas between. */
  const background = (kind, scene, size, colours, colour) => {
    const { run, view } = scene, kept = state.layers[kind];
    const key = [scene.state, run.states.length > scene.state, scene.group.known ?? scene.group.fresh, view.centre, view.radius, view.turn, Object.values(show), dark.matches].join();
    if (kept && kept.run === run && kept.key === key) return kept.canvas;
    const canvas = kept?.canvas ?? document.createElement("canvas");
    canvas.width = canvases[kind].width;
    canvas.height = canvases[kind].height;
    const pen = canvas.getContext("2d");
    pen.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
    if (show.cells) draw.cells(pen, scene, colour);
    draw.frame(pen, scene, colours);
    if (show.hull && !sphere()) draw.hulls(pen, scene, colours);
    if (show.trails) draw.trails(pen, scene, colour);
    if (show.projected) draw.crosses(pen, scene, colours);
    state.layers[kind] = { run, key, canvas };
    return canvas;
  };

  const render = () => {
    const colours = draw.theme($("x-page")), colour = colourOf(colours);
    for (const kind of KINDS) {
      const run = state.shown[kind], canvas = canvases[kind], size = sized(canvas);
      const position = Math.min(state.position, run.states.length - 1), at = Math.floor(position);
      const scene = {
        run, view: state.view, width: size.width, height: size.height, state: at, position: still.matches ? at : position,
        group: draw.groups(run, at), selected: state.selected, names: show.names, targets: show.projected && targetsOf(run),
      };
      size.pen.clearRect(0, 0, size.width, size.height);
      size.pen.drawImage(background(kind, scene, size, colours, colour), 0, 0, size.width, size.height);
      draw.tokens(size.pen, scene, colours, colour, data.styles);
      const count = scene.group.members.filter(({ shown }) => shown).length;
      const what = sphere() ? ["cluster", "clusters"] : ["leader", "leaders"];
      $(kind === "hardmax" ? "x-hard-said" : "x-soft-said").textContent = run.failure || `${count} ${what[count === 1 ? 0 : 1]}`;
    }
    renderChart(colours);
    renderTable(colour);
    $("x-said").textContent = said();
    if (document.activeElement !== $("x-time") || state.playing) $("x-time").value = String(state.position);
    $("x-time").setAttribute("aria-valuetext", said());
  };

  const said = () => {
    const at = Math.floor(state.position + 1e-9);
    return sphere() ? `t = ${(state.position * state.setup.step).toFixed(2)} of ${(total() * state.setup.step).toFixed(1)}` : `layer ${at} of ${total()}`;
  };

  const renderChart = (colours) => {
    const { hardmax, softmax } = state.shown, size = sized($("x-chart"));
    const hard = { values: curve(hardmax, softmax), colour: colours.ink, dash: [6, 4] }, soft = { values: curve(softmax, hardmax), colour: colours.accent, dash: [] };
    const series = sphere() ? [hard, soft] : [soft];
    const none = sphere() && !targetsOf(softmax);
    draw.chart(size.pen, size.width, size.height, {
      series, total: total(), step: sphere() ? state.setup.step : 1, position: state.position, ylabel: sphere() ? "W₂" : "distance", xlabel: sphere() ? "against time" : "against the layer",
    }, colours);
    const at = Math.min(Math.floor(state.position), soft.values.length - 1), now = at >= 0 ? soft.values[at].toPrecision(3) : "–";
    $("x-chart-said").textContent = none
      ? "There is no projected law to compare with: all directions are alike, a token is on the separatrix, or the dominant eigenvalue is defective."
      : sphere()
        ? `Solid: softmax, now ${now}. Dashed: zero temperature. An upper bound of W₂ by the coupling of each token with its own projection.`
        : `Root mean square distance between the softmax and the hardmax tokens, now ${now}.`;
  };

  /** The table of leaders, also for who cannot see the canvas; it is written anew when what it says changes. */
  const renderTable = (colour) => {
    const run = state.shown.hardmax, at = Math.min(Math.floor(state.position), run.states.length - 1);
    if (state.playing && at % 5) return;
    const group = draw.groups(run, at), { d, labels, weights } = run.setup;
    const sum = weights.reduce((all, weight) => all + weight, 0), place = run.states[sphere() ? run.states.length - 1 : at];
    const rows = group.members
      .map((member, number) => ({ ...member, number }))
      .filter(({ shown }) => shown)
      .sort((a, b) => b.mass - a.mass)
      .slice(0, 40)
      .map(({ token, since, mass, number }) => ({
        number, cells: [labels[token], `${((100 * mass) / sum).toFixed(1)} %`, sphere() ? "" : `layer ${since}`, Array.from(place.slice(token * d, token * d + d), (x) => x.toFixed(3)).join(", ")],
      }));
    const key = JSON.stringify([rows, dark.matches]);
    if (key === state.tables) return;
    state.tables = key;
    $("x-table").replaceChildren(...rows.map(({ number, cells }) => {
      const row = document.createElement("tr");
      cells.forEach((text, place) => {
        const cell = document.createElement("td");
        if (place === 0) {
          const mark = document.createElement("span");
          mark.className = "x-star";
          mark.textContent = "★";
          mark.setAttribute("aria-hidden", "true");
          mark.style.color = colour(number);
          cell.append(mark);
        }
        if (place === 1 || place === 2) cell.className = "td-number";
        cell.append(text);
        row.append(cell);
      });
      return row;
    }));
  };

  const fit = () => {
    const { d, tokens, model } = state.setup, view = state.view;
    state.layers = {};
    if (model === "meanfield") {
      Object.assign(view, { centre: [0, 0], radius: d === 2 ? 1.15 : 1.1 });
      if (d === 3) view.turn ??= turned(turned(core3(), 0, -0.35), 1, 0.35);
      return;
    }
    const states = Object.values(state.shown).flatMap((run) => [run.states[0], run.states[run.states.length - 1]]);
    const low = [0, 0], high = [0, 0];
    for (const x of [tokens, ...states]) {
      for (let i = 0; i < x.length; i++) { low[i % 2] = Math.min(low[i % 2], x[i]); high[i % 2] = Math.max(high[i % 2], x[i]); }
    }
    view.centre = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
    view.radius = 1.12 * Math.max(high[0] - low[0], high[1] - low[1], 1e-3) / 2;
  };

  const core3 = () => Array.from(settings.identity(3));

  /** A rotation of the view followed by one about the x axis (0) or the y axis (1) of the screen. */
  const turned = (r, axis, angle) => {
    const c = Math.cos(angle), s = Math.sin(angle), rows = [r.slice(0, 3), r.slice(3, 6), r.slice(6, 9)];
    const mix = (a, p, b, q) => a.map((value, k) => p * value + q * b[k]);
    const [x, y, z] = rows;
    return (axis === 0 ? [x, mix(y, c, z, -s), mix(y, s, z, c)] : [mix(x, c, z, s), y, mix(x, -s, z, c)]).flat();
  };

  // ---- tokens by hand ----

  const moveToken = (token, point) => {
    const { d } = state.setup, tokens = state.setup.tokens.slice();
    let size = sphere() ? Math.hypot(...point) : 1;
    if (!(size > 1e-9) || !point.every((x) => Number.isFinite(x) && Math.abs(x) < 1e9)) return;
    for (let c = 0; c < d; c++) tokens[token * d + c] = point[c] / size;
    change({ tokens });
    fillPlace();
  };

  const startOf = (token) => Array.from(state.setup.tokens.slice(token * state.setup.d, (token + 1) * state.setup.d));

  const select = (token) => {
    state.selected = token;
    state.stale = true;
    $("x-token").value = String(token);
    fillPlace();
  };

  const addToken = (point) => {
    const { n, labels, weights } = state.setup;
    if (n >= settings.MOST_TOKENS) return complain(`There are ${n} tokens; the explorer takes ${settings.MOST_TOKENS}.`);
    const size = sphere() ? Math.hypot(...point) || 1 : 1, used = new Set(labels);
    let name = n;
    while (used.has(String(name))) name++;
    change({
      n: n + 1, tokens: Float64Array.from([...state.setup.tokens, ...point.map((x) => x / size)]),
      labels: [...labels, String(name)], weights: weights && [...weights, 1],
    });
    fillTokens();
    select(n);
  };

  const removeToken = (token) => {
    const { n, d, labels, weights, tokens } = state.setup;
    if (n < 2 || token < 0) return;
    const kept = (_, place) => place !== token;
    change({
      n: n - 1, tokens: tokens.filter((_, place) => Math.floor(place / d) !== token), labels: labels.filter(kept), weights: weights && weights.filter(kept),
    });
    fillTokens();
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
    const { d } = state.setup, n = Math.max(1, Math.min(settings.MOST_TOKENS, Math.round(count) || 1));
    let tokens = Float64Array.from({ length: n * d }, normal);
    if (sphere()) tokens = core.retract(tokens, n, d);
    change({ n, tokens, labels: Array.from({ length: n }, (_, place) => String(place)), weights: null, title: `${n} random tokens`, note: "Independent normal tokens" + (sphere() ? ", divided by their norms." : ".") });
    state.selected = -1;
    begin();
    KINDS.forEach((kind) => (state.shown[kind] = state.next[kind]));
    fit();
    fillControls();
  };

  const near = (kind, x, y) => {
    const run = state.shown[kind], canvas = canvases[kind], { n, d } = run.setup;
    const place = draw.placer(state.view, canvas.clientWidth, canvas.clientHeight);
    let best = -1, least = 16;
    for (const points of [run.states[0], draw.between(run, Math.min(state.position, run.states.length - 1))]) {
      for (let i = 0; i < Math.min(n, state.setup.n); i++) {
        const [a, b, depth] = place(points, i * d), gap = Math.hypot(a - x, b - y);
        if (depth >= 0 && gap <= least) { least = gap; best = i; }
      }
    }
    return best;
  };

  const under = (kind, x, y) => draw.unplace(state.view, canvases[kind].clientWidth, canvases[kind].clientHeight, x, y);

  const pointer = (kind) => {
    const canvas = canvases[kind];
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      const token = near(kind, event.offsetX, event.offsetY);
      canvas.setPointerCapture(event.pointerId);
      held = { token, x: event.offsetX, y: event.offsetY, from: token >= 0 ? startOf(token) : null, point: under(kind, event.offsetX, event.offsetY), turn: state.view.turn };
      if (token >= 0) select(token);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      if (held.token >= 0) {
        const point = under(kind, event.offsetX, event.offsetY);
        moveToken(held.token, held.from.map((x, c) => x + point[c] - held.point[c]));
      } else if (state.view.d === 3) {
        const scale = 2.2 / Math.min(canvas.clientWidth, canvas.clientHeight);
        state.view.turn = turned(turned(held.turn, 1, (event.offsetX - held.x) * scale), 0, (event.offsetY - held.y) * scale);
        state.stale = true;
      }
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (held = null));
    canvas.addEventListener("dblclick", (event) => {
      if (near(kind, event.offsetX, event.offsetY) < 0) addToken(under(kind, event.offsetX, event.offsetY));
    });
    canvas.addEventListener("keydown", (event) => keys(event));
  };

  const keys = (event) => {
    const { n } = state.setup, token = state.selected, size = (event.shiftKey ? 0.1 : 0.01) * (sphere() ? 1 : state.view.radius);
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (steps && token >= 0) {
      const r = state.view.turn, [a, b] = steps.map((part) => part * size);
      const shift = state.view.d === 2 ? [a, b] : [0, 1, 2].map((c) => a * r[c] + b * r[3 + c]);
      moveToken(token, startOf(token).map((x, c) => x + shift[c]));
    } else if (steps) select(0);
    else if (event.key === "n") select((token + 1) % n);
    else if (event.key === "p") select((Math.max(token, 0) + n - 1) % n);
    else if (event.key === "+") addToken(state.view.d === 2 ? state.view.centre : [1, 1, 1]);
    else if (event.key === "Delete" || event.key === "Backspace") removeToken(token);
    else return;
    event.preventDefault();
  };

  // ---- controls ----

  const SLIDERS = [
    { id: "alpha", name: "α", low: 0.02, high: 50, log: true, where: "plane" },
    { id: "beta", name: "β (softmax)", low: 0.01, high: 10000, log: true },
    { id: "layers", name: "layers", low: 1, high: 200, whole: true, where: "plane" },
    { id: "step", name: "time step", low: 0.01, high: 1, log: true, where: "sphere" },
    { id: "steps", name: "steps", low: 10, high: 1000, whole: true, where: "sphere" },
  ];

  const element = (name, attributes = {}, text = "") => {
    const made = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.textContent = text;
    return made;
  };

  const slider = ({ id, name, low, high, log, whole, where }, get, set) => {
    const row = element("div", { class: "x-row", ...(where ? { [`data-${where}`]: "" } : {}) });
    const range = element("input", { type: "range", id: `x-${id}`, min: log ? Math.log(low) : low, max: log ? Math.log(high) : high, step: whole ? 1 : "any" });
    const field = element("input", { type: "number", id: `x-${id}-field`, step: whole ? 1 : "any", "aria-label": `${name}, as a number` });
    const fill = () => {
      const value = get();
      range.value = String(log ? Math.log(value) : value);
      range.setAttribute("aria-valuetext", String(Number(value.toPrecision(4))));
      if (document.activeElement !== field) field.value = String(Number(value.toPrecision(whole ? 6 : 4)));
    };
    range.addEventListener("input", () => {
      const value = log ? Math.exp(Number(range.value)) : Number(range.value);
      set(whole ? Math.round(value) : Number(value.toPrecision(4)));
      fill();
    });
    field.addEventListener("change", () => {
      set(whole ? Math.round(field.valueAsNumber) : field.valueAsNumber);
      field.blur();
      fill();
    });
    row.append(element("label", { for: `x-${id}` }, name), range, field);
    return { row, fill };
  };

  const bounded = (id, value) => {
    const [low, high] = { alpha: [1e-6, 1e6], beta: [1e-9, 1e9], layers: [1, 2000], step: [1e-6, 10], steps: [1, 2000] }[id];
    if (!(value >= low && value <= high)) return complain(`${id} must be from ${low} to ${high}.`);
    complain("");
    change({ [id]: value });
    fillTime();
    fillTitles();
  };

  const fillTitles = () => {
    $("x-hard-title").textContent = sphere() && state.setup.coldLimit !== "hardmax" ? "Zero temperature, full support" : "Hardmax";
    $("x-soft-title").textContent = `Softmax, β = ${Number(state.setup.beta.toPrecision(4))}`;
  };

  const sliders = SLIDERS.map((what) => slider(what, () => state.setup[what.id], (value) => bounded(what.id, value)));
  sliders.forEach(({ row }) => $("x-sliders").append(row));

  const setEntry = (name, place, value) => {
    if (!Number.isFinite(value) || Math.abs(value) > 1e6) return complain("A matrix entry must be a number of at most a million.");
    complain("");
    const matrix = Float64Array.from(state.setup[name] ?? settings.identity(state.setup.d));
    matrix[place] = value;
    change({ [name]: matrix.every((x, k) => x === settings.identity(state.setup.d)[k]) ? null : matrix });
    fillMatrices(false);
  };

  const fields = (box, name, symbol) => {
    const { d } = state.setup, matrix = state.setup[name] ?? settings.identity(d);
    box.style.gridTemplateColumns = `repeat(${d}, minmax(0, 1fr))`;
    if (box.children.length !== d * d) {
      box.replaceChildren(...Array.from(matrix, (_, place) => {
        const field = element("input", { type: "number", step: "0.1", "aria-label": `${symbol}, row ${Math.floor(place / d) + 1}, column ${(place % d) + 1}` });
        field.addEventListener("change", () => setEntry(name, place, field.valueAsNumber));
        return field;
      }));
    }
    [...box.children].forEach((field, place) => { if (document.activeElement !== field) field.value = String(Number(matrix[place].toPrecision(5))); });
    return matrix;
  };

  let diagonal = [];
  const fillMatrices = (fresh) => {
    const { d, value } = state.setup, symbol = sphere() ? "B" : "A";
    $("x-matrix-name").textContent = sphere() ? "B, score ⟨x, By⟩" : "A, score ⟨Az, y⟩";
    const matrix = fields($("x-matrix"), "matrix", symbol);
    fields($("x-value"), "value", "V");
    if (fresh) {
      diagonal = Array.from({ length: d }, (_, k) => slider({ id: `v${k}`, name: `V${k + 1}${k + 1}`, low: -2, high: 4 }, () => (state.setup.value ?? settings.identity(d))[k * (d + 1)], (x) => setEntry("value", k * (d + 1), x)));
      $("x-diagonal").replaceChildren(...diagonal.map(({ row }) => row));
    }
    diagonal.forEach(({ fill }) => fill());
    const shape = d === 2 ? settings.ellipse(matrix) : null;
    $("x-ellipse").hidden = !shape;
    $("x-two").style.gridTemplateColumns = shape ? "" : "minmax(0, 1fr)";
    $("x-theorem").textContent = sphere() ? "" : !shape
      ? "A is not symmetric positive definite: the theorem on leaders does not apply."
      : value ? "V is not the identity: the theorem on leaders does not apply." : "";
    if (shape) drawEllipse(shape);
  };

  // The ellipse is shown with its longer half axis at most 55 pixels; one unit is the dotted circle.
  const ellipseScale = (shape) => 55 / Math.max(shape.first, shape.second, 1);

  const handles = (shape) => {
    const scale = ellipseScale(shape), c = Math.cos(shape.angle), s = Math.sin(shape.angle);
    return [[66 + scale * shape.first * c, 66 - scale * shape.first * s], [66 - scale * shape.second * s, 66 - scale * shape.second * c]];
  };

  const drawEllipse = (shape) => {
    const { pen } = sized($("x-ellipse")), colours = draw.theme($("x-page")), scale = ellipseScale(shape);
    pen.clearRect(0, 0, 132, 132);
    pen.strokeStyle = colours.quiet;
    pen.setLineDash([2, 3]);
    pen.beginPath(); pen.arc(66, 66, scale, 0, 2 * Math.PI); pen.stroke();
    pen.setLineDash([]);
    pen.strokeStyle = colours.accent;
    pen.lineWidth = 2;
    pen.beginPath(); pen.ellipse(66, 66, scale * shape.first, scale * shape.second, -shape.angle, 0, 2 * Math.PI); pen.stroke();
    handles(shape).forEach(([x, y], place) => {
      pen.fillStyle = place ? colours.paper : colours.accent;
      pen.beginPath(); pen.arc(x, y, 6, 0, 2 * Math.PI); pen.fill(); pen.stroke();
    });
  };

  const setEllipse = (shape) => {
    const axes = [shape.first, shape.second].map((axis) => Math.max(0.1, Math.min(5, axis)));
    change({ matrix: settings.ofEllipse({ angle: shape.angle, first: axes[0], second: axes[1] }) });
    fillMatrices(false);
  };

  const ellipsePointer = () => {
    const canvas = $("x-ellipse"), shape = () => settings.ellipse(state.setup.matrix ?? settings.identity(2));
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      const now = shape(), gaps = handles(now).map(([x, y]) => Math.hypot(x - event.offsetX, y - event.offsetY));
      canvas.setPointerCapture(event.pointerId);
      held = { which: gaps[0] <= gaps[1] ? 0 : 1, scale: ellipseScale(now), shape: now };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      const x = (event.offsetX - 66) / held.scale, y = (66 - event.offsetY) / held.scale, length = Math.hypot(x, y), angle = Math.atan2(y, x);
      setEllipse(held.which ? { ...held.shape, second: length, angle: angle - Math.PI / 2 } : { ...held.shape, first: length, angle });
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (held = null));
    canvas.addEventListener("keydown", (event) => {
      const now = shape(), turns = { ArrowLeft: 0.05, ArrowRight: -0.05 }[event.key], grows = { ArrowUp: 1.05, ArrowDown: 1 / 1.05 }[event.key];
      if (turns) setEllipse({ ...now, angle: now.angle + turns });
      else if (grows) setEllipse({ ...now, first: now.first * grows });
      else return;
      event.preventDefault();
    });
  };

  const fillTokens = () => {
    const { n, labels } = state.setup;
    $("x-token").replaceChildren(element("option", { value: "-1" }, "none"), ...labels.slice(0, n).map((label, place) => element("option", { value: String(place) }, label.slice(0, 60))));
    $("x-token").value = String(state.selected);
    $("x-count").value = String(n);
    fillPlace();
  };

  const fillPlace = () => {
    const { d } = state.setup, token = state.selected, box = $("x-place");
    box.hidden = token < 0;
    if (token < 0) return;
    if (box.children.length !== d) {
      box.replaceChildren(...Array.from({ length: d }, (_, c) => {
        const field = element("input", { type: "number", step: "0.01", "aria-label": `coordinate ${c + 1} of the start` });
        field.addEventListener("change", () => moveToken(state.selected, startOf(state.selected).map((x, k) => (k === c ? field.valueAsNumber : x))));
        return field;
      }));
    }
    startOf(token).forEach((x, c) => { if (document.activeElement !== box.children[c]) box.children[c].value = String(Number(x.toPrecision(6))); });
  };

  const fillTime = () => {
    $("x-time").max = String(total());
    if (state.position > total()) state.position = total();
  };

  const fillControls = () => {
    const { setup } = state;
    $("x-note").textContent = [setup.title, setup.note].filter(Boolean).join(": ");
    $("x-method").value = setup.method;
    $("x-cold").value = setup.coldLimit;
    fillTitles();
    $("x-model-title").textContent = sphere() ? "Flow on the sphere" : "Layers in the plane";
    $("x-chart-title").textContent = sphere() ? "W₂ to the projected law against time" : "Softmax against hardmax";
    $("x-table-title").textContent = sphere() ? "Clusters at zero temperature" : "Leaders at hardmax";
    $("x-table-first").textContent = sphere() ? "a token of it" : "leader";
    $("x-since").textContent = sphere() ? "" : "leads since";
    document.querySelectorAll("[data-sphere]").forEach((node) => (node.hidden = !sphere()));
    document.querySelectorAll("[data-plane]").forEach((node) => (node.hidden = sphere()));
    document.querySelectorAll("[data-three]").forEach((node) => (node.hidden = setup.d !== 3));
    const legend = sphere()
      ? ["★ a token of each cluster, as large as the cluster", "colour: the cluster at the last time", "× where the projected law puts the tokens", setup.d === 3 ? "patches: whom a point would follow" : "ring: whom a point would follow"]
      : ["★ leaders, as large as what follows them", "colour: the leader at the end of whom a token follows", "shaded: hull of the leaders; dotted: hull of all", "sectors: whom a point would follow"];
    $("x-key").replaceChildren(...legend.map((text) => element("li", {}, text)));
    sliders.forEach(({ fill }) => fill());
    fillMatrices(true);
    fillTokens();
    fillTime();
  };

  const play = (on) => {
    state.playing = on;
    if (on && state.position >= total()) state.position = 0;
    $("x-play").setAttribute("aria-pressed", String(on));
    $("x-play").textContent = on ? "❚❚ Pause" : "▶ Play";
    state.stale = true;
  };

  const seek = (position) => {
    play(false);
    state.position = Math.max(0, Math.min(total(), position));
  };

  const presets = () => {
    const kinds = [["Plane (arXiv 2407.01602)", "clustering", 2], ["Circle (arXiv 2605.10931)", "meanfield", 2], ["Sphere (arXiv 2605.10931)", "meanfield", 3]];
    for (const [label, model, d] of kinds) {
      const group = element("optgroup", { label });
      for (const [name, record] of Object.entries(data.settings)) {
        if (record.model === model && record.tokens[0].length === d) group.append(element("option", { value: name }, (record.title || name).slice(0, 60)));
      }
      if (group.children.length) $("x-preset").append(group);
    }
    const loaded = element("option", { value: "", hidden: "" }, "own tokens");
    $("x-preset").append(loaded);
  };

  const listen = () => {
    KINDS.forEach(pointer);
    ellipsePointer();
    $("x-preset").addEventListener("change", () => take(settings.read(data.settings[$("x-preset").value])));
    $("x-open").addEventListener("click", () => $("x-file").click());
    $("x-file").addEventListener("change", async () => { await open($("x-file").files[0]); $("x-file").value = ""; });
    $("x-save").addEventListener("click", () => save("explored.json", new Blob([JSON.stringify(exported())], { type: "application/json" })));
    $("x-png").addEventListener("click", picture);
    $("x-play").addEventListener("click", () => play(!state.playing));
    $("x-back").addEventListener("click", () => seek(Math.ceil(state.position) - 1));
    $("x-next").addEventListener("click", () => seek(Math.floor(state.position) + 1));
    $("x-time").addEventListener("input", () => seek(Number($("x-time").value)));
    $("x-method").addEventListener("change", () => change({ method: $("x-method").value }));
    $("x-cold").addEventListener("change", () => { change({ coldLimit: $("x-cold").value }); fillTitles(); });
    $("x-token").addEventListener("change", () => select(Number($("x-token").value)));
    $("x-add").addEventListener("click", () => addToken(Array.from({ length: state.setup.d }, () => (normal() * state.view.radius) / 2)));
    $("x-remove").addEventListener("click", () => removeToken(state.selected >= 0 ? state.selected : state.setup.n - 1));
    $("x-scatter").addEventListener("click", () => scatter($("x-count").valueAsNumber));
    $("x-fit").addEventListener("click", () => { fit(); state.stale = true; });
    for (const [name, text] of [["hull", "hulls"], ["cells", "cells"], ["trails", "trails"], ["names", "names"], ["projected", "projected law"]]) {
      const label = element("label"), box = element("input", { type: "checkbox", id: `x-show-${name}` });
      box.checked = true;
      box.addEventListener("change", () => shown(name, box.checked));
      label.append(box, text);
      if (name === "projected") label.setAttribute("data-sphere", "");
      if (name === "hull") label.setAttribute("data-plane", "");
      $("x-checks").append(label);
    }
    document.addEventListener("keydown", (event) => {
      const at = event.target.tagName;
      if (event.key !== " " || ["INPUT", "SELECT", "BUTTON", "TEXTAREA"].includes(at)) return;
      event.preventDefault();
      play(!state.playing);
    });
    document.addEventListener("dragover", (event) => { event.preventDefault(); $("x-page").classList.add("x-drop"); });
    document.addEventListener("dragleave", () => $("x-page").classList.remove("x-drop"));
    document.addEventListener("drop", (event) => { event.preventDefault(); $("x-page").classList.remove("x-drop"); open(event.dataTransfer.files[0]); });
    new ResizeObserver(() => { state.stale = true; }).observe($("x-page"));
    dark.addEventListener("change", () => { state.layers = {}; state.tables = ""; state.stale = true; fillMatrices(false); });
  };

  // ---- frames ----

  let before = 0;
  const tick = (now) => {
    const began = performance.now();
    if (state.playing) {
      const rate = sphere() ? Math.max(2.5 / state.setup.step, total() / 20) / 2 : Math.max(3, total() / 12);
      const limit = Math.min(...KINDS.map((kind) => state.shown[kind].states.length - 1));
      state.position = Math.min(state.position + (Math.min(100, now - before) / 1000) * rate, total(), Math.max(limit, state.position));
      if (state.position >= total() || KINDS.every((kind) => state.shown[kind].failure && state.position >= limit)) play(false);
      state.stale = true;
    }
    compute(began);
    if (state.stale) {
      state.stale = false;
      render();
    }
    state.frames.push(now - before);
    state.works.push(performance.now() - began);
    if (state.frames.length > 600) { state.frames.shift(); state.works.shift(); }
    before = now;
    requestAnimationFrame(tick);
  };

  presets();
  listen();
  take(settings.read(data.settings[data.chosen]));
  $("x-preset").value = data.chosen;
  requestAnimationFrame((now) => { before = now; tick(now); });
})();

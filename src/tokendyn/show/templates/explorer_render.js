// What the page shows at a moment: both panels, curves, the table, the equation with its numbers, and what the theory says.
(() => {
  "use strict";
  const app = tokendynApp, core = tokendynCore, draw = tokendynDraw, lens = tokendynLens, settings = tokendynSetup;
  const { $, state, show, data, KINDS, canvases } = app;
  const MOST_LINKED = 60, MOST_CLUSTERS = 12, MOST_COLOURED = 6;

  /** An element with attributes and a text. */
  const element = (name, attributes = {}, text = "") => {
    const node = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
    node.textContent = text;
    return node;
  };

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

  /** How many groups have a colour of their own: leaders; few clusters on the sphere, none where they are a continuum. */
  const coloured = (group) => (!app.sphere() ? data.styles.length : group.members.length > MOST_CLUSTERS ? 0 : MOST_COLOURED);

  const colourOf = (colours, most) => {
    const own = data.styles.map(({ colour }) => draw.lifted(colour, colours.lift)), neutral = draw.lifted(draw.NEUTRAL, colours.lift / 2);
    return (place) => (most === 0 ? own[0] : place >= 0 && place < most ? own[place] : neutral);
  };

  const crossesOf = (run) => {
    if (!show.projected) return null;
    if (!app.sphere()) return lens.ghosts(state.ghost)?.filter(Boolean) ?? null;
    const targets = app.targetsOf(run), { d } = run.setup;
    return targets && Array.from({ length: targets.length / d }, (_, i) => targets.slice(i * d, i * d + d));
  };

  const linkedOf = (n) => {
    if (!show.links) return [];
    return n <= MOST_LINKED ? Array.from({ length: n }, (_, i) => i) : state.selected >= 0 ? [state.selected] : [];
  };

  /** Cells, hulls and trails change with the state only: they are kept on a second canvas between. */
  const background = (kind, scene, size, colours, colour) => {
    const { run, view } = scene, kept = state.layers[kind];
    const key = [scene.state, run.states.length > scene.state, scene.group.known ?? scene.group.fresh, view.centre, view.radius, view.turn, Object.values(show), app.dark.matches].join();
    if (kept && kept.run === run && kept.key === key) return kept.canvas;
    const canvas = kept?.canvas ?? document.createElement("canvas");
    canvas.width = canvases[kind].width;
    canvas.height = canvases[kind].height;
    const pen = canvas.getContext("2d");
    pen.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
    if (show.cells) draw.cells(pen, scene, colour);
    tokendynFrame.frame(pen, scene, colours);
    if (show.hull && !app.sphere()) draw.hulls(pen, scene, colours);
    if (show.trails) draw.trails(pen, scene, colour);
    state.layers[kind] = { run, key, canvas };
    return canvas;
  };

  /** No groups: all tokens are plain dots. */
  const plain = (run) => ({ of: new Int32Array(run.setup.n).fill(-1), members: [] });

  const counted = (run, at, group) => {
    const count = group.members.filter((member) => member.shown).length;
    if (app.sphere()) return `${count} ${count === 1 ? "cluster" : "clusters"} ${run.done() ? "at the end" : "so far"}`;
    if (run.kind === "softmax") return draw.merged(run, at) ? "all tokens in one point" : `${count} would lead with hardmax`;
    return `${count} ${count === 1 ? "leader" : "leaders"}`;
  };

  const panel = (kind, colours) => {
    const run = state.shown[kind], canvas = canvases[kind], size = sized(canvas);
    const position = Math.min(state.position, run.states.length - 1), at = Math.floor(position), group = state.plain ? plain(run) : draw.groups(run, at);
    const scene = {
      run, view: state.view, width: size.width, height: size.height, state: at, position: app.still.matches ? at : position, group,
      most: coloured(group), selected: state.selected, names: show.names, targets: crossesOf(run), linked: linkedOf(run.setup.n),
    };
    $(kind === "hardmax" ? "x-hard-said" : "x-soft-said").textContent = run.failure || (state.plain ? "" : counted(run, at, group));
    if (!size.width) return 0;
    const colour = colourOf(colours, scene.most);
    size.pen.clearRect(0, 0, size.width, size.height);
    size.pen.drawImage(background(kind, scene, size, colours, colour), 0, 0, size.width, size.height);
    draw.links(size.pen, scene, colours);
    draw.tokens(size.pen, scene, colours, colour, data.styles);
    return draw.outside(scene);
  };

  const render = () => {
    const colours = draw.theme($("x-page")), away = KINDS.map((kind) => panel(kind, colours));
    leaving(away);
    renderChart(colours);
    renderTable(colours);
    equation();
    theory();
    if (tokendynLaws.behind(state.shown.softmax)) state.stale = true;
    $("x-said").textContent = said();
    $("x-time").value = String(state.position);
    $("x-time").setAttribute("aria-valuetext", said());
  };

  const leaving = (away) => {
    const { n } = state.setup, parts = KINDS.flatMap((kind, place) => (away[place] ? [`${kind} ${away[place]} of ${n}`] : []));
    const text = parts.length ? `Tokens outside the view: ${parts.join(", ")}.` : "";
    if ($("x-away-text").textContent !== text) $("x-away-text").textContent = text;
    $("x-away").hidden = !text;
  };

  const said = () => {
    const at = Math.floor(state.position + 1e-9), total = app.total();
    return app.sphere() ? `t = ${(state.position * state.setup.step).toFixed(2)} of ${(total * state.setup.step).toFixed(1)}` : `layer ${at} of ${total}`;
  };

  /** A law in place of the distance, where directions are all alike: what is measured solid, its closed form dashed. */
  const renderLaw = (colours, { values, expected, along, from, ylabel, said, against = "closed form" }) => {
    const size = sized($("x-chart")), { step } = state.setup;
    draw.chart(size.pen, size.width, size.height, {
      series: [{ values: expected, colour: colours.ink, dash: [6, 4] }, { values, colour: colours.accent, dash: [] }], from,
      total: app.total(), step, position: state.position, ylabel, xlabel: along ? "against time, logarithmic" : "against time", along,
    }, colours);
    const at = Math.min(Math.floor(state.position), values.length - 1);
    $("x-chart-said").textContent = `${said} Now ${at >= 0 ? lens.short(values[at]) : "–"}${expected[at] === undefined ? "" : `; ${against} ${lens.short(expected[at])}`}.`;
  };

  const renderChart = (colours) => {
    const curve = app.sphere() ? tokendynLaws.sphere(state.shown.softmax)?.curve : null;
    const title = curve?.title ?? (app.sphere() ? "W₂ to the projected law against time" : "Softmax against hardmax");
    if ($("x-chart-title").textContent !== title) $("x-chart-title").textContent = title;
    if (curve) {
      return renderLaw(colours, curve);
    }
    const { hardmax, softmax } = state.shown, size = sized($("x-chart")), sphere = app.sphere();
    const hard = { values: app.curve(hardmax, softmax), colour: colours.ink, dash: [6, 4] }, soft = { values: app.curve(softmax, hardmax), colour: colours.accent, dash: [] };
    const none = sphere && !app.targetsOf(softmax);
    draw.chart(size.pen, size.width, size.height, {
      series: sphere ? [hard, soft] : [soft], total: app.total(), step: sphere ? state.setup.step : 1, position: state.position,
      ylabel: sphere ? "W₂" : "distance", xlabel: sphere ? "against time" : "against the layer",
    }, colours);
    const at = Math.min(Math.floor(state.position), soft.values.length - 1), now = at >= 0 ? soft.values[at].toPrecision(3) : "–";
    $("x-chart-said").textContent = none
      ? "There is no projected law to compare with: all directions are alike, a token is on the separatrix, or the dominant eigenvalue is defective."
      : sphere
        ? `Solid: softmax, now ${now}. Dashed: zero temperature. An upper bound of W₂ by the coupling of each token with its own projection.`
        : `Root mean square distance between the softmax and the hardmax tokens, now ${now}.`;
  };

  /** The table of leaders, also for who cannot see the canvas; it is written anew when what it says changes. */
  const renderTable = (colours) => {
    const run = state.shown.hardmax, at = Math.min(Math.floor(state.position), run.states.length - 1);
    if (state.playing && at % 5) return;
    const group = draw.groups(run, at), { d, labels, weights } = run.setup, colour = colourOf(colours, coloured(group));
    const sum = weights.reduce((all, weight) => all + weight, 0), place = run.states[app.sphere() ? run.states.length - 1 : at];
    const rows = group.members
      .map((member, number) => ({ ...member, number }))
      .filter((member) => member.shown)
      .sort((a, b) => b.mass - a.mass)
      .slice(0, 40)
      .map(({ token, since, mass, number }) => ({
        number, cells: [labels[token], `${((100 * mass) / sum).toFixed(1)} %`, app.sphere() ? "" : `layer ${since}`, Array.from(place.slice(token * d, token * d + d), (x) => x.toFixed(3)).join(", ")],
      }));
    const key = JSON.stringify([rows, app.dark.matches]);
    if (key === state.tables) return;
    state.tables = key;
    $("x-table").replaceChildren(...rows.map(({ number, cells }) => {
      const row = element("tr");
      cells.forEach((text, column) => {
        const cell = element("td", column === 1 || column === 2 ? { class: "td-number" } : {}, text);
        if (column === 0) cell.prepend(element("span", { class: "x-star", "aria-hidden": "true", style: "" }, "★"));
        if (column === 0) cell.firstChild.style.color = colour(number);
        row.append(cell);
      });
      return row;
    }));
  };

  // ---- the equation and the theory, in words ----

  /** Set rows of texts where they differ from what is shown; rewriting them at each frame would lose a selection. */
  const fillOnce = (box, key, nodes) => {
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    box.replaceChildren(...nodes());
  };

  const point = (x) => `(${Array.from(x, (value) => lens.short(value)).join(", ")})`;

  const looks = (run, at, token) => {
    const shares = lens.attention(run, at, token), { labels } = run.setup, shown = shares.filter(([, share]) => share >= 0.005).slice(0, 3);
    const rest = 1 - shown.reduce((sum, [, share]) => sum + share, 0);
    return shown.map(([j, share]) => `${share.toFixed(2)} · “${labels[j].slice(0, 16)}”${j === token ? " (itself)" : ""}`).join(" + ") + (rest >= 0.005 ? ` + ${rest.toFixed(2)} · others` : "");
  };

  const mean = (run, at, token) => {
    const { d, model, matrix, coldLimit } = run.setup, state = run.states[at];
    if (model === "meanfield" && run.kind === "hardmax" && coldLimit !== "hardmax") {
      return core.retract(core.linear(state.slice(token * d, token * d + d), 1, d, core.transposed(matrix, d)), 1, d);
    }
    const sum = new Float64Array(d);
    for (const [j, share] of lens.attention(run, at, token)) for (let c = 0; c < d; c++) sum[c] += share * state[j * d + c];
    return sum;
  };

  const equation = () => {
    if (state.playing && state.frames.length % 6) return;
    const { setup } = state, sphere = app.sphere(), token = Math.max(0, state.selected), share = setup.alpha / (1 + setup.alpha);
    const lines = sphere
      ? [setup.method === "layers" ? "x ← x + h V m(x), divided by its norm" : "dx/dt = Pₓ V m(x)", `scores ⟨x, B y⟩, β = ${lens.short(setup.beta)}, time step h = ${lens.short(setup.step)}`]
      : ["z ← z + α/(1+α) · (V m − z)", `α = ${lens.short(setup.alpha)}: each layer goes ${(100 * share).toFixed(1)} % of the way to V m`, `scores ⟨A z, y⟩, β = ${lens.short(setup.beta)} for softmax`];
    for (const kind of KINDS) {
      const run = state.shown[kind], { n, d, value } = run.setup, at = Math.min(Math.floor(state.position), run.states.length - 1);
      if (token >= n) continue;
      const z = run.states[at].slice(token * d, token * d + d), m = mean(run, at, token), image = core.linear(m, 1, d, value);
      const limit = sphere && kind === "hardmax" && setup.coldLimit !== "hardmax", next = run.states[at + 1];
      lines.push(`${limit ? "zero temperature" : kind}: “${run.setup.labels[token].slice(0, 16)}” at ${point(z)} ${limit ? "asks for the direction" : `attends to ${looks(run, at, token)};`} m = ${point(m)}${value ? `, V m = ${point(image)}` : ""}${next ? `, next ${point(next.slice(token * d, token * d + d))}` : ""}`);
    }
    fillOnce($("x-equation"), lines.join("|"), () => lines.map((text, k) => element("p", k ? {} : { class: "x-formula" }, text)));
  };

  const theory = () => {
    if (state.playing && state.frames.length % 10) return;
    const { setup, shown } = state, { hardmax, softmax } = shown;
    if (softmax.setup.n !== setup.n || hardmax.setup.model !== setup.model || softmax.setup.d !== setup.d) return;
    const found = app.sphere()
      ? lens.sphere(softmax.setup, shown, { hardmax: app.curve(hardmax, softmax), softmax: app.curve(softmax, hardmax) }, app.targetsOf(softmax))
      : lens.plane(hardmax.setup, shown, state.ghost);
    const rows = (list, words) => list.map(({ holds, text, detail }) => {
      const state = holds ? 0 : holds === null ? 2 : 1, item = element("li", { class: ["x-holds", "x-fails", ""][state] });
      item.append(element("b", {}, `${"✓✗…"[state]} `), element("span", { class: "x-hidden" }, words[state]), text, element("small", {}, detail));
      return item;
    });
    fillOnce($("x-lens"), JSON.stringify(found), () => {
      const [hypotheses, predictions] = [element("ul"), element("ul")];
      hypotheses.append(...rows(found.hypotheses, ["holds: ", "does not hold: ", ""]));
      predictions.append(...rows(found.predictions, ["as predicted: ", "not as predicted: ", "open: "]));
      const broken = found.hypotheses.filter(({ holds }) => !holds).length;
      const verdict = broken ? `${broken} ${broken === 1 ? "hypothesis does" : "hypotheses do"} not hold: the theorem does not apply.` : "All hypotheses hold: the theorem applies.";
      return [element("p", {}, found.title), element("h3", {}, "Hypotheses"), hypotheses, element("p", { id: "x-theorem" }, verdict), element("h3", {}, "Predictions"), predictions, element("p", { class: "td-note" }, found.note)];
    });
  };

  // ---- the view ----

  /** Look at all tokens; where they run far apart only at those of the start. */
  const fit = (current = false) => {
    const { d, tokens, model } = state.setup, view = state.view;
    state.layers = {};
    state.stale = true;
    if (model === "meanfield") {
      Object.assign(view, { centre: [0, 0], radius: d === 2 ? 1.15 : 1.1 });
      if (d === 3) view.turn ??= turned(turned(Array.from(settings.identity(3)), 0, -0.35), 1, 0.35);
      return;
    }
    const nows = Object.values(state.shown).map((run) => draw.between(run, Math.min(state.position, run.states.length - 1)));
    const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
    for (const x of current ? nows : [tokens, [0, 0]]) {
      for (let i = 0; i < x.length; i++) { low[i % 2] = Math.min(low[i % 2], x[i]); high[i % 2] = Math.max(high[i % 2], x[i]); }
    }
    view.centre = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
    view.radius = (1.16 * Math.max(high[0] - low[0], high[1] - low[1], 1e-3)) / 2;
  };

  /** A rotation of the view followed by one about the x axis (0) or the y axis (1) of the screen. */
  const turned = (r, axis, angle) => {
    const c = Math.cos(angle), s = Math.sin(angle), rows = [r.slice(0, 3), r.slice(3, 6), r.slice(6, 9)];
    const mix = (a, p, b, q) => a.map((value, k) => p * value + q * b[k]);
    const [x, y, z] = rows;
    return (axis === 0 ? [x, mix(y, c, z, -s), mix(y, s, z, c)] : [mix(x, c, z, s), y, mix(x, -s, z, c)]).flat();
  };

  const complain = (message) => {
    $("x-error").textContent = message;
    $("x-error").hidden = !message;
  };

  /** Say what was done, to those who see and to those who listen. */
  const report = (message) => ($("x-status").textContent = message);

  Object.assign(app, { element, sized, render, said, fit, turned, complain, report });
})();

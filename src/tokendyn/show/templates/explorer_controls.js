// The controls beside the panels: sliders, matrices, the ellipse, the list of tokens, what is shown.
(() => {
  "use strict";
  const app = tokendynApp, draw = tokendynDraw, settings = tokendynSetup;
  const { $, state, data } = app, { element } = app;
  const CENTRE = 66, LONGEST = 55, HANDLE = 6;

  const SLIDERS = [
    { id: "alpha", name: "α (step)", low: 0.02, high: 50, log: true, where: "plane", thumb: true, bounds: [1e-6, 1e6] },
    { id: "beta", name: "β (softmax)", low: 0.01, high: 10000, log: true, thumb: true, bounds: [1e-9, 1e9] },
    { id: "layers", name: "layers", low: 1, high: 200, whole: true, where: "plane", bounds: [1, settings.MOST_STEPS] },
    { id: "step", name: "time step", low: 0.01, high: 1, log: true, where: "sphere", bounds: [1e-6, 10] },
    { id: "steps", name: "steps", low: 10, high: 1000, whole: true, where: "sphere", bounds: [1, settings.MOST_STEPS] },
  ];

  const slider = ({ id, name, low, high, log, whole, where, bounds }) => {
    const row = element("div", { class: "x-row", ...(where ? { [`data-${where}`]: "" } : {}) });
    const range = element("input", { type: "range", id: `x-${id}`, min: log ? Math.log(low) : low, max: log ? Math.log(high) : high, step: whole ? 1 : "any" });
    const field = element("input", { type: "number", id: `x-${id}-field`, step: whole ? 1 : "any", "aria-label": `${name}, as a number` });
    const fill = () => {
      const value = state.setup[id];
      range.value = String(log ? Math.log(value) : value);
      range.setAttribute("aria-valuetext", String(Number(value.toPrecision(4))));
      if (document.activeElement !== field) field.value = String(Number(value.toPrecision(whole ? 6 : 4)));
    };
    const set = (value) => {
      if (!(value >= bounds[0] && value <= bounds[1])) return app.complain(`${id} must be from ${bounds[0]} to ${bounds[1]}.`);
      app.complain("");
      app.change({ [id]: value }, id);
      fillTime();
      fillTitles();
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

  const sliders = SLIDERS.map(slider);

  /** On a phone the two sliders that matter most are under the thumb, below the picture; on a phone on its side, in the tour. */
  const placeSliders = () => {
    const thumb = app.phone.matches || (app.low.matches && document.body.classList.contains("x-touring"));
    sliders.forEach(({ row }, place) => $(thumb && SLIDERS[place].thumb ? "x-thumb" : "x-sliders").append(row));
  };

  const fillTitles = () => {
    $("x-hard-title").textContent = app.sphere() && state.setup.coldLimit !== "hardmax" ? "Zero temperature, full support" : "Hardmax";
    $("x-soft-title").textContent = `Softmax, β = ${Number(state.setup.beta.toPrecision(4))}`;
  };

  // ---- matrices ----

  const setEntry = (name, place, value) => {
    if (!Number.isFinite(value) || Math.abs(value) > 1e9) {
      fillMatrices();
      return app.complain("An entry of a matrix must be a number of at most 1e9.");
    }
    const matrix = (state.setup[name] ?? settings.identity(state.setup.d)).slice();
    matrix[place] = value;
    app.complain("");
    app.change({ [name]: matrix });
    fillMatrices();
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

  const fillMatrices = () => {
    const symbol = app.sphere() ? "B" : "A";
    $("x-matrix-name").textContent = app.sphere() ? "B, score ⟨x, By⟩" : "A, score ⟨Az, y⟩";
    const matrix = fields($("x-matrix"), "matrix", symbol), shape = state.setup.d === 2 ? settings.ellipse(matrix) : null;
    fields($("x-value"), "value", "V");
    $("x-ellipse").hidden = !shape;
    $("x-two").style.gridTemplateColumns = shape ? "" : "minmax(0, 1fr)";
    if (shape) drawEllipse(shape);
  };

  // The ellipse is shown with its longer half axis at most 55 pixels; one unit is the dotted circle.
  const ellipseScale = (shape) => LONGEST / Math.max(shape.first, shape.second, 1);

  const handles = (shape) => {
    const scale = ellipseScale(shape), c = Math.cos(shape.angle), s = Math.sin(shape.angle);
    return [[CENTRE + scale * shape.first * c, CENTRE - scale * shape.first * s], [CENTRE - scale * shape.second * s, CENTRE - scale * shape.second * c]];
  };

  const drawEllipse = (shape) => {
    const { pen } = app.sized($("x-ellipse")), colours = draw.theme($("x-page")), scale = ellipseScale(shape);
    pen.clearRect(0, 0, 2 * CENTRE, 2 * CENTRE);
    pen.strokeStyle = colours.quiet;
    pen.setLineDash([2, 3]);
    pen.beginPath(); pen.arc(CENTRE, CENTRE, scale, 0, 2 * Math.PI); pen.stroke();
    pen.setLineDash([]);
    pen.strokeStyle = colours.accent;
    pen.lineWidth = 2;
    pen.beginPath(); pen.ellipse(CENTRE, CENTRE, scale * shape.first, scale * shape.second, -shape.angle, 0, 2 * Math.PI); pen.stroke();
    handles(shape).forEach(([x, y], place) => {
      pen.fillStyle = place ? colours.paper : colours.accent;
      pen.beginPath(); pen.arc(x, y, HANDLE, 0, 2 * Math.PI); pen.fill(); pen.stroke();
    });
  };

  const setEllipse = (shape) => {
    const axes = [shape.first, shape.second].map((axis) => Math.max(0.1, Math.min(5, axis)));
    app.change({ matrix: settings.ofEllipse({ angle: shape.angle, first: axes[0], second: axes[1] }) }, "ellipse");
    fillMatrices();
  };

  const ellipsePointer = () => {
    const canvas = $("x-ellipse"), shape = () => settings.ellipse(state.setup.matrix ?? settings.identity(2));
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      const now = shape();
      if (!now) return;
      const gaps = handles(now).map(([x, y]) => Math.hypot(x - event.offsetX, y - event.offsetY));
      canvas.setPointerCapture(event.pointerId);
      held = { which: gaps[0] <= gaps[1] ? 0 : 1, scale: ellipseScale(now), shape: now };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      const x = (event.offsetX - CENTRE) / held.scale, y = (CENTRE - event.offsetY) / held.scale, length = Math.hypot(x, y), angle = Math.atan2(y, x);
      setEllipse(held.which ? { ...held.shape, second: length, angle: angle - Math.PI / 2 } : { ...held.shape, first: length, angle });
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (held = null));
    canvas.addEventListener("keydown", (event) => {
      const now = shape(), turns = { ArrowLeft: 0.05, ArrowRight: -0.05 }[event.key], grows = { ArrowUp: 1.05, ArrowDown: 1 / 1.05 }[event.key];
      if (!now) return;
      if (turns) setEllipse({ ...now, angle: now.angle + turns });
      else if (grows) setEllipse({ ...now, first: now.first * grows });
      else return;
      event.preventDefault();
    });
  };

  // ---- tokens ----

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
        field.addEventListener("change", () => app.moveToken(state.selected, app.startOf(state.selected).map((x, k) => (k === c ? field.valueAsNumber : x))));
        return field;
      }));
    }
    app.startOf(token).forEach((x, c) => { if (document.activeElement !== box.children[c]) box.children[c].value = String(Number(x.toPrecision(6))); });
  };

  // ---- all of them ----

  const fillTime = () => {
    $("x-time").max = String(app.total());
    if (state.position > app.total()) state.position = app.total();
  };

  const legend = () => (app.sphere()
    ? ["★ a cluster: a token and those within 0.2 of it at the last time", "colour: the cluster (one colour for a continuum)", "× where the projected law puts the tokens", state.setup.d === 3 ? "patches: the cluster that a point would follow" : "ring: the cluster that a point would follow"]
    : ["★ leaders, as large as what follows them", "colour: the leader at the end of a token's arrows (with equal scores, the first)", "× where hardmax tokens end, by the theorem", "shaded: hull of the leaders; dotted: hull of all", "sectors: the leader that a point would follow"]);

  /** What a note says of a preset or a file need not be true of what was made of it. */
  const fillNote = () => {
    const { title, note, altered } = state.setup, node = $("x-note"), { style } = node;
    // The page does not move under the hand that drags.
    style.minHeight = altered ? style.minHeight || `${node.getBoundingClientRect().height}px` : "";
    node.textContent = altered ? `${title || "Own tokens"}, changed` : [title, note].filter(Boolean).join(": ");
  };

  const fillControls = () => {
    const { setup } = state, sphere = app.sphere();
    $("x-preset").value = Object.hasOwn(data.settings, setup.base) ? setup.base : "";
    fillNote();
    $("x-method").value = setup.method;
    $("x-cold").value = setup.coldLimit;
    $("x-causal").value = String(setup.causal);
    fillTitles();
    $("x-model-title").textContent = !sphere ? "Layers in the plane" : setup.d === 2 ? "Flow on the circle" : "Flow on the sphere";
    $("x-chart-title").textContent = sphere ? "W₂ to the projected law against time" : "Softmax against hardmax";
    $("x-table-title").textContent = sphere ? "Clusters at zero temperature" : "Leaders at hardmax";
    $("x-table-first").textContent = sphere ? "a token of it" : "leader";
    $("x-since").textContent = sphere ? "" : "leads since";
    document.querySelectorAll("[data-sphere]").forEach((node) => (node.hidden = !sphere));
    document.querySelectorAll("[data-plane]").forEach((node) => (node.hidden = sphere));
    document.querySelectorAll("[data-three]").forEach((node) => (node.hidden = setup.d !== 3));
    $("x-key").replaceChildren(...legend().map((text) => element("li", {}, text)));
    sliders.forEach(({ fill }) => fill());
    fillMatrices();
    fillTokens();
    fillTime();
  };

  const fillPresets = () => {
    const kinds = [["Plane (arXiv 2407.01602)", "clustering", 2], ["Circle (arXiv 2605.10931)", "meanfield", 2], ["Sphere (arXiv 2605.10931)", "meanfield", 3]];
    const laws = ["Laws of neighbouring papers"], isLaw = (name) => name.startsWith("law-");
    for (const [label, model, d] of [...kinds, laws]) {
      const group = element("optgroup", { label });
      for (const [name, record] of Object.entries(data.settings)) {
        if (isLaw(name) ? !model : record.model === model && record.tokens[0].length === d) group.append(element("option", { value: name }, (record.title || name).slice(0, 60)));
      }
      if (group.children.length) $("x-preset").append(group);
    }
    $("x-preset").append(element("option", { value: "", hidden: "" }, "own tokens"));
  };

  const fillChecks = () => {
    const checks = [["hull", "hulls", "data-plane"], ["cells", "cells"], ["trails", "trails"], ["links", "attention"], ["names", "names"], ["projected", "limits (×)"]];
    for (const [name, text, where] of checks) {
      const label = element("label", where ? { [where]: "" } : {}), box = element("input", { type: "checkbox", id: `x-show-${name}` });
      box.addEventListener("change", () => app.shown(name, box.checked));
      label.append(box, text);
      $("x-checks").append(label);
      app.shown(name, app.show[name]);
    }
  };

  /** Causal attention and a law of full support exclude each other. */
  const seen = (changes) => {
    app.change(changes);
    fillControls();
  };

  const listenControls = () => {
    fillPresets();
    fillChecks();
    placeSliders();
    ellipsePointer();
    for (const screen of [app.phone, app.low]) screen.addEventListener("change", placeSliders);
    $("x-preset").addEventListener("change", () => { if ($("x-preset").value) app.choose($("x-preset").value); });
    $("x-method").addEventListener("change", () => app.change({ method: $("x-method").value }));
    $("x-cold").addEventListener("change", () => seen({ coldLimit: $("x-cold").value, ...($("x-cold").value === "hardmax" ? {} : { causal: false }) }));
    $("x-causal").addEventListener("change", () => seen({ causal: $("x-causal").value === "true", ...($("x-causal").value === "true" ? { coldLimit: "hardmax" } : {}) }));
    $("x-token").addEventListener("change", () => app.select(Number($("x-token").value)));
    for (const which of document.querySelectorAll("input[name=x-which]")) {
      which.addEventListener("change", () => { $("x-panels").dataset.which = which.value; state.stale = true; });
    }
  };

  Object.assign(app, { placeSliders, fillNote, fillControls, fillMatrices, fillTokens, fillPlace, fillTime, fillTitles, listenControls });
})();

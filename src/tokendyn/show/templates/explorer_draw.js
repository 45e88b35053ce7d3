// Drawing of the explorer: tokens, leaders, hulls, cells and trails on a canvas, and curves. It reads runs, never changes them.
const tokendynDraw = (() => {
  "use strict";

  const NEUTRAL = "#8A9099";
  const STAR_POINTS = { 5: star(5, 0.42), 4: star(4, 0.38), 6: star(6, 0.45) };

  function star(rays, inner) {
    return Array.from({ length: 2 * rays }, (_, k) => {
      const size = k % 2 ? inner : 1, angle = (Math.PI * k) / rays - Math.PI / 2;
      return [size * Math.cos(angle), size * Math.sin(angle)];
    });
  }

  /** Colours of the page now: they follow its dark mode. */
  const theme = (element) => {
    const css = getComputedStyle(element), of = (name) => css.getPropertyValue(name).trim();
    return { ink: of("--td-ink"), quiet: of("--td-quiet"), paper: of("--td-paper"), line: of("--td-line"), accent: of("--td-accent"), lift: parseFloat(of("--td-lift")) / 100 };
  };

  const lifted = (colour, lift) => {
    const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    return `rgb(${parts.map((part) => Math.round(part + lift * (255 - part))).join(" ")})`;
  };

  /** Tokens at a position between states; on the sphere they are put back on it. */
  const between = (run, position) => {
    const last = run.states.length - 1, low = Math.min(Math.floor(position), last), part = Math.min(position, last) - low;
    if (!part || low === last) return run.states[low];
    const next = run.states[low + 1];
    const mixed = run.states[low].map((value, place) => value + part * (next[place] - value));
    return run.setup.model === "meanfield" ? tokendynCore.retract(mixed, run.setup.n, run.setup.d) : mixed;
  };

  /**
   * Groups of tokens: of[i] is a place in members, or -1. In the plane, the leader at the end of the chain of whom a
   * token follows at a state; on the sphere, the cluster at the last state that is known.
   */
  const groups = (run, state) => (run.setup.model === "meanfield" ? clusters(run) : chains(run, state));

  /** Whether all tokens of a state are in one point, as far as a picture shows it. */
  const merged = (run, state) => {
    const { n, d } = run.setup, x = run.states[Math.min(state, run.states.length - 1)];
    return n > 1 && x.every((value, place) => Math.abs(value - x[place % d]) < 0.01 * run.scale);
  };

  const chains = (run, state) => {
    const at = Math.max(0, Math.min(state, run.leaders.length - 1));
    if (run.chain?.at === at && run.chain.known === run.found.length) return run.chain;
    const { n, weights } = run.setup, follow = run.leaders[at];
    const of = new Int32Array(n).fill(-1), masses = new Float64Array(run.found.length);
    if (follow) {
      for (let i = 0; i < n; i++) {
        let root = i;
        for (let hops = 0; hops < n && follow[root] !== root; hops++) root = follow[root];
        of[i] = follow[root] === root ? run.place[root] : -1;
        if (of[i] >= 0 && run.found[of[i]].since > at) of[i] = -1;
        if (of[i] >= 0) masses[of[i]] += weights[i];
      }
    }
    // With softmax nobody leads for ever: shown are those who lead now, and none once all tokens are in one point.
    const leads = new Set(run.kind === "softmax" && follow && !merged(run, at) ? Array.from(follow.keys()).filter((i) => follow[i] === i).map((i) => run.place[i]) : []);
    const members = run.found.map(({ token, since }, place) => ({ token, since, mass: masses[place], shown: since <= at && (run.kind === "hardmax" || leads.has(place)) }));
    run.chain = { at, known: run.found.length, of, members };
    return run.chain;
  };

  const clusters = (run) => {
    const count = run.states.length - 1, fresh = run.done() ? count : count - (count % 8);
    if (run.cluster?.fresh === fresh) return run.cluster;
    const { n, d, weights } = run.setup, state = run.states[fresh];
    const of = new Int32Array(n), members = [];
    for (let i = 0; i < n; i++) {
      let place = members.findIndex(({ token }) => {
        let square = 0;
        for (let c = 0; c < d; c++) square += (state[token * d + c] - state[i * d + c]) ** 2;
        return square < 0.04;
      });
      if (place < 0) { place = members.length; members.push({ token: i, since: fresh, mass: 0, shown: true }); }
      of[i] = place;
      members[place].mass += weights[i];
    }
    const order = members.map((_, place) => place).sort((a, b) => members[b].mass - members[a].mass);
    const rank = new Int32Array(order.length);
    order.forEach((place, number) => (rank[place] = number));
    run.cluster = { fresh, of: of.map((place) => rank[place]), members: order.map((place) => members[place]) };
    return run.cluster;
  };

  /** Where a point is on a canvas of some size: [x, y, depth]; depth is below 0 behind the sphere. */
  const placer = (view, width, height) => {
    const scale = (Math.min(width, height) / 2 - 8) / view.radius, [cx, cy] = view.centre, r = view.turn;
    if (view.d === 2) return (x, at) => [width / 2 + (x[at] - cx) * scale, height / 2 - (x[at + 1] - cy) * scale, 1];
    return (x, at) => {
      const a = x[at], b = x[at + 1], c = x[at + 2];
      return [width / 2 + (r[0] * a + r[1] * b + r[2] * c) * scale, height / 2 - (r[3] * a + r[4] * b + r[5] * c) * scale, r[6] * a + r[7] * b + r[8] * c];
    };
  };

  /** The point under a place of the canvas; on the sphere the nearest point of its front, null outside it by far. */
  const unplace = (view, width, height, x, y) => {
    const scale = (Math.min(width, height) / 2 - 8) / view.radius;
    const a = (x - width / 2) / scale, b = -(y - height / 2) / scale, r = view.turn;
    if (view.d === 2) return [a + view.centre[0], b + view.centre[1]];
    const size = Math.hypot(a, b), shrink = size > 1 ? 1 / size : 1;
    const p = a * shrink, q = b * shrink, s = Math.sqrt(Math.max(0, 1 - p * p - q * q));
    return [r[0] * p + r[3] * q + r[6] * s, r[1] * p + r[4] * q + r[7] * s, r[2] * p + r[5] * q + r[8] * s];
  };

  const followedBy = (queryAt, state, n, d) => {
    let top = -Infinity, best = -1;
    for (let j = 0; j < n; j++) {
      let score = queryAt[0] * state[j * d] + queryAt[1] * state[j * d + 1];
      if (d === 3) score += queryAt[2] * state[j * d + 2];
      if (score > top) { top = score; best = j; }
    }
    return best;
  };

  /** The map from a point to what it asks for. */
  const querying = ({ model, matrix, d }) => {
    const used = model === "meanfield" ? tokendynCore.transposed(matrix, d) : matrix;
    return (point) => tokendynCore.linear(point, 1, d, used);
  };

  /** Whom a token at any place would follow: sectors in the plane, a ring on the circle, patches on the sphere. */
  const cells = (pen, scene, colourOf) => {
    const { run, view, width, height } = scene, { setup } = run, { n, d } = setup;
    const state = run.states[Math.min(scene.state, run.states.length - 1)];
    const group = scene.group.of, place = placer(view, width, height), query = querying(setup);
    if (d === 3) return patches(pen, scene, state, colourOf);
    const sphere = setup.model === "meanfield", turns = 360;
    const found = Array.from({ length: turns }, (_, k) => {
      const angle = (2 * Math.PI * (k + 0.5)) / turns;
      return group[followedBy(query([Math.cos(angle), Math.sin(angle)]), state, n, d)];
    });
    const far = sphere ? 1.1 : 4 * view.radius + Math.hypot(...view.centre), [x0, y0] = place([0, 0], 0);
    pen.globalAlpha = sphere ? 0.45 : 0.13;
    for (let k = 0; k < turns; ) {
      let end = k + 1;
      while (end < turns && found[end] === found[k]) end++;
      pen.fillStyle = colourOf(found[k]);
      pen.beginPath();
      if (sphere) {
        for (let m = k; m <= end; m++) pen.lineTo(...place([far * Math.cos((2 * Math.PI * m) / turns), far * Math.sin((2 * Math.PI * m) / turns)], 0).slice(0, 2));
        for (let m = end; m >= k; m--) pen.lineTo(...place([1.03 * Math.cos((2 * Math.PI * m) / turns), 1.03 * Math.sin((2 * Math.PI * m) / turns)], 0).slice(0, 2));
      } else {
        pen.moveTo(x0, y0);
        for (let m = k; m <= end; m++) pen.lineTo(...place([far * Math.cos((2 * Math.PI * m) / turns), far * Math.sin((2 * Math.PI * m) / turns)], 0).slice(0, 2));
      }
      pen.fill();
      k = end;
    }
    pen.globalAlpha = 1;
  };

  const patches = (pen, scene, state, colourOf) => {
    const { run, view, width, height } = scene, { n, d } = run.setup, [cx, cy] = [width / 2, height / 2];
    const radius = (Math.min(width, height) / 2 - 8) / view.radius, size = n > 100 ? 10 : 6;
    const query = querying(run.setup);
    pen.globalAlpha = 0.2;
    for (let x = cx - radius; x < cx + radius; x += size) {
      for (let y = cy - radius; y < cy + radius; y += size) {
        if (Math.hypot(x + size / 2 - cx, y + size / 2 - cy) > radius) continue;
        const point = unplace(view, width, height, x + size / 2, y + size / 2);
        pen.fillStyle = colourOf(scene.group.of[followedBy(query(point), state, n, d)]);
        pen.fillRect(x, y, size, size);
      }
    }
    pen.globalAlpha = 1;
  };

  const outline = (pen, points, place) => {
    pen.beginPath();
    for (const point of points) pen.lineTo(...place(point, 0).slice(0, 2));
    pen.closePath();
  };

  /** The hull of all tokens, and K, the hull of the leaders. */
  const hulls = (pen, scene, colours) => {
    const { run, view, width, height } = scene, state = run.states[Math.min(scene.state, run.states.length - 1)];
    const place = placer(view, width, height), at = (token) => [state[2 * token], state[2 * token + 1]];
    pen.strokeStyle = colours.quiet;
    pen.setLineDash([3, 4]);
    pen.lineWidth = 1;
    outline(pen, tokendynCore.hull(state).map(at), place);
    pen.stroke();
    pen.setLineDash([]);
    const leaders = scene.group.members.filter(({ shown }) => shown).map(({ token }) => at(token));
    if (leaders.length < 2) return;
    outline(pen, tokendynCore.hull(Float64Array.from(leaders.flat())).map((k) => leaders[k]), place);
    pen.globalAlpha = 0.08;
    pen.fillStyle = colours.ink;
    pen.fill();
    pen.globalAlpha = 0.7;
    pen.strokeStyle = colours.ink;
    pen.stroke();
    pen.globalAlpha = 1;
  };

  /** The way of every token to the state; long runs are thinned to what a screen can show. */
  const trails = (pen, scene, colourOf) => {
    const { run, view, width, height } = scene, { n, d } = run.setup, place = placer(view, width, height);
    const last = Math.min(scene.state, run.states.length - 1), every = Math.max(1, Math.ceil((last * n) / 6000));
    const stops = [];
    for (let k = last; k >= 0 && stops.length < 400; k -= every) stops.push(run.states[k]);
    if (stops.length < 2) return;
    const byColour = new Map();
    for (let i = 0; i < n; i++) {
      const colour = colourOf(scene.group.of[i]);
      if (!byColour.has(colour)) byColour.set(colour, []);
      byColour.get(colour).push(i);
    }
    pen.lineWidth = 1;
    pen.globalAlpha = 0.35;
    for (const [colour, tokens] of byColour) {
      pen.strokeStyle = colour;
      pen.beginPath();
      for (const i of tokens) {
        let joined = false;
        for (const state of stops) {
          const [x, y, depth] = place(state, i * d);
          if (depth < 0) joined = false;
          else if (joined) pen.lineTo(x, y);
          else { pen.moveTo(x, y); joined = true; }
        }
      }
      pen.stroke();
    }
    pen.globalAlpha = 1;
  };

  /** Where the theory puts the tokens, known before play: small crosses. */
  const crosses = (pen, scene, colours) => {
    const { targets, view, width, height } = scene, place = placer(view, width, height);
    if (!targets) return;
    pen.beginPath();
    const seen = new Set();
    for (const target of targets) {
      const [x, y, depth] = place(target, 0), key = `${Math.round(x / 5)} ${Math.round(y / 5)}`;
      if (depth < 0 || seen.has(key)) continue;
      seen.add(key);
      pen.moveTo(x - 5, y - 5); pen.lineTo(x + 5, y + 5); pen.moveTo(x - 5, y + 5); pen.lineTo(x + 5, y - 5);
    }
    // A halo, since a cross may be on a star.
    for (const [colour, wide] of [[colours.paper, 3.6], [colours.ink, 1.4]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = wide;
      pen.stroke();
    }
  };

  const drawStar = (pen, x, y, size, rays) => {
    pen.beginPath();
    for (const [a, b] of STAR_POINTS[rays] ?? STAR_POINTS[5]) pen.lineTo(x + size * a, y + size * b);
    pen.closePath();
  };

  /** Lines to the tokens that each token attends to, as strong as the attention. */
  const links = (pen, scene, colours) => {
    const { run, view, width, height, position, state } = scene, { d } = run.setup;
    const x = between(run, position), place = placer(view, width, height);
    pen.strokeStyle = colours.ink;
    pen.lineWidth = 1.2;
    for (const i of scene.linked) {
      const [a, b, depth] = place(x, i * d);
      for (const [j, share] of tokendynLens.attention(run, state, i)) {
        if (j === i || share < 0.03 || depth < 0) continue;
        const [p, q, other] = place(x, j * d), long = Math.hypot(p - a, q - b);
        if (other < 0 || long < 12) continue;
        // A small head in the middle says who attends to whom; ends are under the tokens.
        const [u, v] = [(p - a) / long, (q - b) / long], [mx, my] = [(a + p) / 2 + 4 * u, (b + q) / 2 + 4 * v];
        pen.globalAlpha = 0.12 + 0.5 * share;
        pen.beginPath();
        pen.moveTo(a, b); pen.lineTo(p, q);
        pen.moveTo(mx - 7 * u - 4 * v, my - 7 * v + 4 * u); pen.lineTo(mx, my); pen.lineTo(mx - 7 * u + 4 * v, my - 7 * v - 4 * u);
        pen.stroke();
      }
    }
    pen.globalAlpha = 1;
  };

  /** How many tokens are outside the canvas. */
  const outside = (scene) => {
    const { run, view, width, height, position } = scene, { n, d } = run.setup, x = between(run, position), place = placer(view, width, height);
    let count = 0;
    for (let i = 0; i < n; i++) {
      const [a, b] = place(x, i * d);
      if (!(a >= 0 && a <= width && b >= 0 && b <= height)) count++;
    }
    return count;
  };

  /** Tokens as dots, leaders as stars whose area is the mass that follows them, names where there are few. */
  const tokens = (pen, scene, colours, colourOf, styles) => {
    const { run, view, width, height, selected, names, position } = scene, { n, d, labels, weights } = run.setup;
    const x = between(run, position), place = placer(view, width, height), size = n > 200 ? 2.4 : n > 60 ? 3.2 : 4.5;
    const near = (depth) => (d === 3 ? 0.72 + 0.38 * (depth + 1) / 2 : 1);
    const byColour = new Map(), stars = new Map(), places = [];
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    scene.group.members.forEach((member, number) => {
      if (member.shown && number < scene.most) stars.set(member.token, number);
    });
    for (let i = 0; i < n; i++) {
      const at = place(x, i * d), colour = colourOf(scene.group.of[i]), key = colour + (at[2] < 0 ? " back" : "");
      places.push(at);
      if (stars.has(i)) continue;
      if (!byColour.has(key)) byColour.set(key, { colour, back: at[2] < 0, list: [] });
      byColour.get(key).list.push(at);
    }
    for (const { colour, back, list } of [...byColour.values()].sort((a, b) => b.back - a.back)) {
      pen.globalAlpha = back ? 0.25 : 0.95;
      pen.fillStyle = colour;
      pen.strokeStyle = colours.paper;
      pen.lineWidth = 0.8;
      pen.beginPath();
      for (const [a, b, depth] of list) { const r = size * near(depth); pen.moveTo(a + r, b); pen.arc(a, b, r, 0, 2 * Math.PI); }
      pen.fill();
      if (n <= 200) pen.stroke();
    }
    pen.font = "600 12px system-ui, sans-serif";
    for (const [token, number] of stars) {
      const [a, b, depth] = places[token], mass = scene.group.members[number].mass / total;
      pen.globalAlpha = depth < 0 ? 0.3 : 1;
      drawStar(pen, a, b, (7 + 13 * Math.sqrt(mass)) * near(depth), styles[number].rays);
      pen.fillStyle = colourOf(number);
      pen.fill();
      pen.strokeStyle = colours.ink;
      pen.lineWidth = 1;
      pen.stroke();
    }
    pen.globalAlpha = 1;
    if (selected >= 0 && selected < n) {
      const [a, b] = places[selected];
      pen.strokeStyle = colours.accent;
      pen.lineWidth = 2.5;
      pen.beginPath();
      pen.arc(a, b, 12, 0, 2 * Math.PI);
      pen.stroke();
    }
    crosses(pen, scene, colours);
    if (names) labelled(pen, places, labels, stars, colours, width, height);
  };

  /** Names that do not cover one another, leaders' first. */
  const labelled = (pen, places, labels, stars, colours, width, height) => {
    const taken = [], order = [...stars.keys(), ...places.keys()];
    pen.fillStyle = colours.ink;
    pen.strokeStyle = colours.paper;
    pen.lineWidth = 3;
    for (const token of new Set(order)) {
      const [x, y, depth] = places[token];
      if (depth < 0 || taken.length > 60) continue;
      const text = labels[token].slice(0, 24), wide = pen.measureText(text).width, lead = stars.has(token) ? 12 : 7;
      const left = x + lead + wide > width ? x - lead - wide : x + lead, box = [left, y - 8, left + wide, y + 8];
      if (y < 8 || y > height - 4 || taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
      taken.push(box);
      pen.strokeText(text, left, y + 4);
      pen.fillText(text, left, y + 4);
    }
  };

  /** Curves over steps: series are {values, colour, dash}; logarithmic where all values are positive and far apart. */
  const chart = (pen, width, height, { series, total, step, position, ylabel, xlabel, along, from }, colours) => {
    pen.clearRect(0, 0, width, height);
    const left = 46, bottom = height - 22, top = 24, right = width - 12;
    const all = series.flatMap(({ values }) => values).filter((value) => Number.isFinite(value));
    const positive = all.filter((value) => value > 1e-17), largest = Math.max(...all, 1e-12), least = Math.min(...positive, largest);
    const log = from === undefined && largest / least > 50, floor = Math.max(least, largest * 1e-12);
    const low = log ? Math.floor(Math.log10(floor)) : 0, high = log ? Math.ceil(Math.log10(largest)) : from === 0 ? 4 * Math.ceil((largest * 1.02) / 4) : largest * 1.05;
    // Along the logarithm of 1 + k, so that the start is on it.
    const share = (k) => (along === "log" ? Math.log1p(k) / Math.log1p(total) : k / total), place = (q) => (along === "log" ? Math.expm1(q * Math.log1p(total)) : q * total);
    const px = (k) => left + (right - left) * share(k);
    const py = (v) => bottom - ((bottom - top) * ((log ? Math.log10(Math.max(v, 10 ** low)) : v) - low)) / (high - low || 1);
    pen.font = "12px system-ui, sans-serif";
    pen.lineWidth = 1;
    pen.fillStyle = colours.quiet;
    pen.strokeStyle = colours.line;
    pen.textAlign = "right";
    const every = log ? Math.max(1, Math.ceil((high - low) / 4)) : high / 4;
    // Without a curve there are no numbers for its axis.
    for (let tick = low; all.length && tick <= high + 1e-9; tick += every) {
      const y = bottom - ((bottom - top) * (tick - low)) / (high - low || 1);
      pen.beginPath(); pen.moveTo(left, y); pen.lineTo(right, y); pen.stroke();
      pen.fillText(log ? (Math.abs(tick) < 3 ? `${10 ** tick}`.slice(0, 5) : `1e${tick}`) : tick.toPrecision(2), left - 5, y + 4);
    }
    pen.textAlign = "center";
    for (let k = 0; k <= 4; k++) pen.fillText(String(Number((place(k / 4) * step).toPrecision(3))), px(place(k / 4)), height - 6);
    pen.textAlign = "right";
    pen.fillText(xlabel, right, 12);
    pen.textAlign = "left";
    pen.fillText(ylabel, 4, 12);
    for (const { values, colour, dash } of series) {
      pen.strokeStyle = colour;
      pen.lineWidth = 2;
      pen.setLineDash(dash);
      pen.beginPath();
      values.forEach((value, k) => { if (Number.isFinite(value)) pen.lineTo(px(k), py(value)); });
      pen.stroke();
    }
    pen.setLineDash([]);
    pen.strokeStyle = colours.ink;
    pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(px(position), top); pen.lineTo(px(position), bottom); pen.stroke();
  };

  return { NEUTRAL, theme, lifted, groups, merged, placer, unplace, between, cells, hulls, trails, links, outside, tokens, chart };
})();

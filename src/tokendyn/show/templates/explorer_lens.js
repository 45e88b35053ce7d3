// What the theory says about the settings: which hypotheses hold, what it predicts, and the first step that differs.
const tokendynLens = (() => {
  "use strict";
  const settings = tokendynSetup, core = tokendynCore, { short, row } = tokendynLaws;
  const WIDE = 0.01, DEPARTED = 0.5, DIRECTIONS = 24;

  /** Whom a token attends to at a state: [token, share], the largest first. */
  const attention = (run, at, token) => {
    const { d, matrix, model, weights, beta, tolerance, causal } = run.setup, n = causal ? token + 1 : run.setup.n, state = run.states[Math.min(at, run.states.length - 1)];
    const used = model === "meanfield" ? core.transposed(matrix, d) : matrix;
    const query = core.linear(state.slice(token * d, token * d + d), 1, d, used);
    const scores = new Float64Array(n);
    let top = -Infinity, radius = 0;
    for (let j = 0; j < n; j++) {
      for (let c = 0; c < d; c++) scores[j] += query[c] * state[j * d + c];
      if (scores[j] > top) top = scores[j];
      if (tolerance) radius = Math.max(radius, core.norm(state, j * d, d));
    }
    const threshold = top - (tolerance ? tolerance * core.norm(query, 0, d) * radius : 0), cold = run.kind === "hardmax";
    const shares = Array.from(scores, (score, j) => [j, weights[j] * (cold ? Number(score >= threshold) : Math.exp(beta * (score - top)))]);
    const mass = shares.reduce((sum, [, share]) => sum + share, 0);
    return shares.filter(([, share]) => share > 0).map(([j, share]) => [j, share / mass]).sort((x, y) => y[1] - x[1]);
  };

  /** The largest value of a measure over the states of a run, and the first state at which it is above a level. */
  const scan = (run, name, level, measure) => {
    run.scans ??= {};
    const known = (run.scans[name] ??= { count: 1, worst: 0, first: -1, token: -1 });
    for (; known.count < run.states.length; known.count++) {
      const [value, token] = measure(known.count);
      known.worst = Math.max(known.worst, value);
      if (value > level && known.first < 0) Object.assign(known, { first: known.count, token });
    }
    return known;
  };

  const gap = (x, y, at, other, d) => {
    let square = 0;
    for (let c = 0; c < d; c++) square += (x[at * d + c] - y[other * d + c]) ** 2;
    return Math.sqrt(square);
  };

  const farthest = (n, distance) => {
    let worst = 0, token = -1;
    for (let i = 0; i < n; i++) {
      const value = distance(i);
      if (!(value <= worst)) { worst = value; token = i; }
    }
    return [worst, token];
  };

  /** How far any token that once led has moved since. */
  const wandering = (run, level) => scan(run, "wandering", level, (k) => {
    const since = run.found.filter((leader) => leader.since < k);
    const [worst, place] = farthest(since.length, (i) => gap(run.states[k], run.states[since[i].since], since[i].token, since[i].token, 2));
    return [worst, place < 0 ? -1 : since[place].token];
  });

  /** How far the convex hull reaches beyond that of the layer before, in the worst of some directions. */
  const growth = (run, level) => scan(run, "growth", level, (k) => {
    const reach = (state, angle) => {
      const a = Math.cos(angle), b = Math.sin(angle);
      let most = -Infinity;
      for (let i = 0; i < state.length; i += 2) most = Math.max(most, a * state[i] + b * state[i + 1]);
      return most;
    };
    const [worst] = farthest(DIRECTIONS, (m) => {
      const angle = (2 * Math.PI * m) / DIRECTIONS;
      return reach(run.states[k], angle) - reach(run.states[k - 1], angle);
    });
    return [worst, -1];
  });

  /** How far any token is from where the theorem has it: hardmax with V the identity. */
  const departure = (run, ghost, level) => {
    if (run.ghost !== ghost) {
      run.ghost = ghost;
      delete run.scans?.departure;
    }
    const count = Math.min(run.states.length, ghost.states.length), { n } = run.setup;
    const common = run.states.length === count ? run : { states: { length: count }, scans: run.scans ?? (run.scans = {}) };
    return scan(common, "departure", level, (k) => farthest(n, (i) => gap(run.states[k], ghost.states[k], i, i, 2)));
  };

  /** Where the theorem lets each token end, known before play: [x, y] of its leader, null where that is open. */
  const ghosts = (ghost) => {
    if (!ghost?.done() || ghost.failure) return null;
    const end = ghost.states[ghost.states.length - 1];
    return Array.from(ghost.frozen, (leader) => (leader < 0 ? null : [end[2 * leader], end[2 * leader + 1]]));
  };

  const named = (run, token) => `token ${run.setup.labels[token].slice(0, 24)}`;

  const outcome = (run, found, step, what) =>
    found.first < 0 ? `${what}: holds so far (at most ${short(found.worst)})` : `${what}: fails first at ${step(found.first)}${found.token < 0 ? "" : `, ${named(run, found.token)}`} (${short(found.worst)} at most)`;

  /** The theorem on leaders (arXiv 2407.01602). */
  const plane = (setup, { hardmax, softmax }, ghost) => {
    const { n, value, tokens, tolerance } = setup, A = setup.matrix ?? settings.identity(2), one = settings.identity(2);
    const skew = Math.abs(A[1] - A[2]), half = (A[1] + A[2]) / 2, least = settings.eigenvalues([A[0], half, half, A[3]], 2)[1][0];
    const off = value ? Math.max(...value.map((x, k) => Math.abs(x - one[k]))) : 0;
    const smallest = Math.min(...Array.from({ length: n }, (_, i) => Math.hypot(tokens[2 * i], tokens[2 * i + 1])));
    const repeats = n - new Set(Array.from({ length: n }, (_, i) => `${tokens[2 * i]} ${tokens[2 * i + 1]}`)).size;
    const hypotheses = [
      row(off === 0, "V is the identity", off ? `largest difference ${short(off)}` : "difference 0"),
      row(skew === 0, "A is symmetric", `|A₁₂ − A₂₁| = ${short(skew)}`),
      row(least > 0, "A is positive definite", `smallest eigenvalue ${short(least)}`),
      row(smallest > 0, "no token is zero", `smallest norm ${short(smallest)}`),
      row(repeats === 0, "tokens are distinct", `${repeats} repeated`),
      ...(tolerance ? [row(false, "scores tie only if they are equal", `tolerance ${short(tolerance)}`)] : []),
    ];
    const scale = hardmax.scale || 1, layer = (k) => `layer ${k}`, rounding = 1e-9 * scale, wide = WIDE * scale;
    const both = (measure, levels) => [[hardmax, levels[0]], [softmax, levels[1]]].map(([run, level]) => [run, measure(run, level)]);
    // The theorem is about hardmax: its prediction fails with the hardmax run. How long softmax keeps to it is told besides.
    const prediction = (text, pairs) => row(pairs[0][1].first < 0, text, pairs.map(([run, found]) => outcome(run, found, layer, run.kind)).join("; "));
    const known = ghosts(ghost)?.filter(Boolean).length, trapped = tokendynLaws.trapped(softmax);
    return {
      title: "Theorem on leaders (arXiv 2407.01602), for hardmax",
      hypotheses,
      predictions: [
        prediction("A leader stays where it is", both(wandering, [rounding, wide])),
        prediction("The hull of all tokens never grows", both(growth, [rounding, rounding])),
        prediction("Tokens go where hardmax with V = I sends them", both((run, level) => departure(run, ghost, level), [rounding, wide])),
        ...(trapped ? [trapped] : []),
      ],
      note: known === undefined
        ? "The limits are being computed."
        : `Limits (×)${value ? ", as they would be with V = I," : ""} are known before play for ${known} of ${n} tokens.${known < n ? " For the others no leader is certain within these layers." : ""} Softmax fails where a token is off by more than 1 % of the largest coordinate.`,
    };
  };

  /** max |B^T x| over unit vectors of E, and over all. */
  const stretches = (B, projector, dimension, d) => {
    const basis = [];
    for (let c = 0; c < d && basis.length < dimension; c++) {
      let v = Array.from({ length: d }, (_, r) => projector[r * d + c]);
      for (const e of basis) {
        const along = v.reduce((sum, x, k) => sum + x * e[k], 0);
        v = v.map((x, k) => x - along * e[k]);
      }
      const length = Math.hypot(...v);
      if (length > 1e-6) basis.push(v.map((x) => x / length));
    }
    const images = basis.map((e) => Array.from(core.linear(Float64Array.from(e), 1, d, core.transposed(B, d))));
    const gram = images.flatMap((x) => images.map((y) => x.reduce((sum, a, k) => sum + a * y[k], 0))), k = basis.length;
    const inside = k === 1 ? gram[0] : settings.eigenvalues(gram, k)[0][0];
    return [Math.sqrt(Math.max(0, inside)), Math.sqrt(Math.max(0, settings.eigenvalues(settings.square(core.transposed(B, d), d), d)[0][0]))];
  };

  /** The theorem on concentration (arXiv 2605.10931). */
  const sphere = (setup, runs, curves, targets) => {
    const law = tokendynLaws.sphere(runs.softmax);
    if (law) return law;
    const { n, d, beta, step } = setup, one = settings.identity(d), B = setup.matrix ?? one, V = setup.value ?? one;
    const { projector, status, dimension, eigenvalues } = settings.projection(setup);
    const first = eigenvalues[0][0], second = dimension < d ? eigenvalues[dimension][0] : first;
    const [inside, outside] = stretches(B, projector, dimension, d), rate = (first - second) / inside;
    const images = core.linear(core.retract(setup.tokens, n, d), n, d, projector);
    const least = Math.min(...Array.from({ length: n }, (_, i) => core.norm(images, i * d, d)));
    const rest = one.map((x, k) => x - projector[k]), leak = settings.size(settings.product(settings.product(rest, V, d), projector, d));
    const needed = d === 2 ? 2.5 * Math.sqrt(beta * outside) : 7 * beta * outside;
    const hypotheses = [
      row(dimension < d, "M = VBᵀ has a dominant eigenspace E", `eigenvalues ${eigenvalues.map(([re, im]) => short(re) + (Math.abs(im) > 1e-6 ? `${im < 0 ? "−" : "+"}${short(Math.abs(im))}i` : "")).join(", ")}`),
      row(status !== "rotating" && status !== "defective", "its eigenvalue is real, without a Jordan chain", status === "rotating" ? "complex: clusters turn in E" : status === "defective" ? "defective: slow, no rate" : `gap ${short(first - second)}`),
      row(least > 1e-12, "no token is on the separatrix", `smallest |P x| = ${short(least)}`),
      row(leak < 1e-9 * (settings.size(V) || 1), "V keeps E (clusters stay near E)", `|(1 − P) V P| = ${short(leak)}`),
    ];
    const few = n < needed, resolution = row(!few, "There are enough tokens for this β (a rule of this project)", `${n} tokens; about ${Math.ceil(needed)} are needed`);
    const time = (k) => `t = ${short(k * step)}`;
    const said = (kind) => {
      const values = curves[kind], best = values.reduce((low, x, k) => (x < values[low] ? k : low), 0), run = runs[kind];
      const left = values[best] <= DEPARTED ? values.findIndex((x, k) => k > best && x > DEPARTED) : -1;
      return { best, left, text: `least ${short(values[best])} at ${time(best)}${run.done() ? "" : " so far"}`, near: values[best] <= DEPARTED };
    };
    const predictions = [resolution], open = (holds, kind) => holds || (runs[kind].done() ? false : null);
    if (targets && curves.softmax.length && curves.hardmax.length) {
      const [hard, soft] = [said("hardmax"), said("softmax")], order = rate > 0 && beta > 1 ? `; of order ln β/(2c) = ${short(Math.log(beta) / (2 * rate))}` : "";
      predictions.push(
        row(open(soft.near, "softmax"), "Softmax concentrates on the projected law (×)", `bound of W₂: ${soft.text}${order}`),
        row(soft.left < 0, "It stays there", soft.left < 0 ? "not left so far" : `fails first at ${time(soft.left)}: the terminal phase, in which V decides`),
        row(hard.left < 0 && open(hard.near, "hardmax"), "At zero temperature it stays for ever", `bound of W₂: ${hard.text}${hard.left < 0 ? "" : `; fails first at ${time(hard.left)}`}`),
      );
    }
    const rising = predictions.length > 1;
    predictions.push(...(tokendynLaws.energy(runs.softmax)?.rows ?? []));
    return {
      title: "Concentration (arXiv 2605.10931), for a law of full support",
      hypotheses, predictions,
      note: rising ? `Crosses (×) are known before play. ${rate > 0 ? `Rate c = ${short(rate)}.` : ""}` : "There is nothing to predict: all directions are alike, a token is on the separatrix, or the dominant eigenvalue is defective.",
    };
  };

  return { attention, ghosts, plane, sphere, short };
})();

// Laws of neighbouring papers (docs: theory-field): what a run shows beside a closed form that does not know the run.
// A law is null where its hypotheses do not hold; it measures the states that are new since it was last asked.
const tokendynLaws = (() => {
  "use strict";
  const core = tokendynCore, settings = tokendynSetup;
  const GAP = 0.05, PANELS = 2000, NEAR = 0.1, SMALL = 1e-9, MOST_PAIRED = 40, MOST_ENERGY = 300, MOST_STATES = 30;
  // Distance of Renyi centres in units of 1/sqrt(beta), and how far one may move, by that, before it counts as lost.
  const CENTRE = 4, LOST = 0.25;

  const short = (x) => (x === 0 ? "0" : Math.abs(x) >= 1e5 || Math.abs(x) < 1e-3 ? x.toExponential(1) : String(Number(x.toPrecision(3))));
  // holds is true, false, or null while that is open.
  const row = (holds, text, detail) => ({ holds, text, detail });

  const entries = (matrix, d) => matrix ?? settings.identity(d);
  const alike = (a, b) => a.every((x, k) => x === b[k]);
  const isIdentity = (matrix, d) => alike(entries(matrix, d), settings.identity(d));

  /** Half the square of the distance of two tokens: 1 - <x_i, x_j> on the sphere, exact also where it is small. */
  const apart = (state, i, j, d) => {
    let sum = 0;
    for (let c = 0; c < d; c++) sum += (state[i * d + c] - state[j * d + c]) ** 2;
    return sum / 2;
  };

  const angle = (state, i, j, d) => 2 * Math.asin(Math.min(1, Math.sqrt(apart(state, i, j, d) / 2)));
  const equal = (weights) => weights.every((weight) => Math.abs(weight - weights[0]) <= SMALL * weights[0]);

  /** What a law has measured of a run, with a measure of each new state; of many tokens, some states a call. */
  const measured = (run, name, measure) => {
    const laws = (run.laws ??= {}), known = (laws[name] ??= { values: [] }), most = run.setup.n > 8 ? MOST_STATES : Infinity;
    for (let k = 0; k < most && known.values.length < run.states.length; k++) known.values.push(measure(run.states[known.values.length], known.values.length, known));
    return known;
  };

  const flows = ({ method }) => row(method !== "layers", "time is continuous", method === "layers" ? "the method is layers: the closed form is their limit of small steps" : `method ${method}`);

  // ---- equiangular tokens (arXiv 2312.10794) ----

  /** u = 1 - gamma after a time under u' = -2 u (1 + (n - 1)(1 - u)) / (e^{beta u} + n - 1). */
  const gathered = (u, n, beta, time) => {
    const rate = (x) => (-2 * x * (1 + (n - 1) * (1 - x))) / (Math.exp(beta * x) + n - 1), h = time / 40;
    for (let k = 0; k < 40; k++) {
      const a = rate(u), b = rate(u + (h / 2) * a), c = rate(u + (h / 2) * b);
      u += (h / 6) * (a + 2 * (b + c) + rate(u + h * c));
    }
    return u;
  };

  const equiangular = (run) => {
    const { n, d, beta, step, weights } = run.setup, first = run.states[0];
    if (n < 2 || n > d + 1 || !equal(weights)) return null;
    const pairs = Array.from({ length: (n * (n - 1)) / 2 }, () => [0, 0]);
    for (let i = 0, at = 0; i < n; i++) for (let j = 0; j < i; j++) pairs[at++] = [i, j];
    const gaps = (state) => pairs.map(([i, j]) => apart(state, i, j, d)), start = gaps(first);
    if (Math.max(...start) - Math.min(...start) > SMALL || start[0] < SMALL) return null;
    const known = measured(run, "equiangular", (state, k, memo) => {
      memo.expected ??= [];
      memo.expected.push(k ? gathered(memo.expected[k - 1], n, beta, step) : start[0]);
      const now = gaps(state);
      memo.worst = Math.max(memo.worst ?? 0, ...now.map((gap) => Math.abs(gap - memo.expected[k])));
      return now.reduce((sum, gap) => sum + gap, 0) / now.length;
    });
    const { values, expected, worst } = known, last = values.length - 1, end = values[last];
    const rate = last > 0 && end > 1e-12 ? Math.log(values[last - 1] / end) / step : NaN, close = end < 0.05;
    return {
      title: "Tokens at one common angle (arXiv 2312.10794), for softmax",
      hypotheses: [
        row(true, "V and B are the identity, weights are equal", "exactly"),
        row(true, "every two tokens have the same inner product γ", `γ(0) = ${short(1 - start[0])}`), flows(run.setup),
      ],
      predictions: [
        row(worst < 1e-3, "All pairs follow γ′ = 2e^{βγ}(1−γ)(1+(n−1)γ) / (e^β + (n−1)e^{βγ})", `largest difference ${short(worst)}`),
        row(close ? Math.abs(rate / 2 - 1) < 0.1 : null, "In the end 1 − γ falls like e^{−2t}", Number.isFinite(rate) ? `rate now ${short(rate)}, closed form 2` : "at rounding"),
      ],
      note: `1 − γ is ${short(end)} at t = ${short(last * step)}; by the equation ${short(expected[last])}.`,
      curve: { title: "1 − γ: tokens and equation", ylabel: "1 − γ", values, expected, said: "Solid: the tokens. Dashed: the scalar equation." },
    };
  };

  // ---- pairs that wait (the metastable staircase) ----

  /** Time of two atoms from an angle to a smaller one: the integral of d phi / ((p_12 + p_21) sin phi) (Simpson). */
  const mergingTime = (from, beta, first, second) => {
    const slowness = (phi) => {
      const seen = Math.exp(-beta * (1 - Math.cos(phi)));
      return 1 / (((second * seen) / (first + second * seen) + (first * seen) / (second + first * seen)) * Math.sin(phi));
    };
    const h = (from - GAP) / PANELS;
    let sum = slowness(GAP) + slowness(from);
    for (let k = 1; k < PANELS; k++) sum += (k % 2 ? 4 : 2) * slowness(GAP + k * h);
    return (h / 3) * sum;
  };

  /** Tokens of the circle in pairs that are nearer to each other than to any other; null if some token has none. */
  const paired = (state, n) => {
    if (n < 2 || n % 2 || n > MOST_PAIRED) return null;
    const nearest = Array.from({ length: n }, (_, i) => {
      const order = Array.from({ length: n }, (_, j) => [angle(state, i, j, 2), j]).filter(([, j]) => j !== i).sort((a, b) => a[0] - b[0]);
      return { partner: order[0][1], gap: order[0][0], next: order[1]?.[0] ?? Infinity };
    });
    if (!nearest.every(({ partner, gap, next }, i) => nearest[partner].partner === i && gap > GAP && gap < next)) return null;
    return nearest.flatMap(({ partner, gap, next }, i) => (i < partner ? [{ i, j: partner, gap, next: Math.min(next, nearest[partner].next) }] : []));
  };

  /** Number of clusters on the circle: arcs between neighbours that are longer than GAP. */
  const clusters = (state, n) => {
    const angles = Array.from({ length: n }, (_, i) => Math.atan2(state[2 * i + 1], state[2 * i])).sort((a, b) => a - b);
    return Math.max(1, angles.filter((at, i) => (i ? at - angles[i - 1] : at - angles[n - 1] + 2 * Math.PI) > GAP).length);
  };

  const staircase = (run) => {
    const { n, d, beta, step, labels, weights } = run.setup, pairs = d === 2 ? paired(run.states[0], n) : null;
    if (!pairs) return null;
    const times = (run.times ??= pairs.map(({ i, j, gap }) => mergingTime(gap, beta, weights[i], weights[j])));
    const known = measured(run, "staircase", (state, k, memo) => {
      memo.met ??= pairs.map(() => -1);
      pairs.forEach(({ i, j }, place) => { if (memo.met[place] < 0 && angle(state, i, j, 2) <= GAP) memo.met[place] = k; });
      return clusters(state, n);
    });
    const end = (known.values.length - 1) * step, order = pairs.map((_, place) => place).sort((a, b) => times[a] - times[b]);
    const predictions = order.slice(0, 4).map((place) => {
      const { i, j } = pairs[place], met = known.met[place], time = times[place], at = met * step;
      const holds = met >= 0 ? Math.abs(at - time) <= Math.max(NEAR * time, step) : end > time * (1 + NEAR) + step ? false : null;
      return row(holds, `Tokens ${labels[i].slice(0, 12)} and ${labels[j].slice(0, 12)} meet at t = ${short(time)}`, met < 0 ? "not yet" : `met at t = ${short(at)}`);
    });
    const tightest = pairs.reduce((least, { gap, next }) => Math.min(least, next / gap), Infinity);
    return {
      title: "Pairs wait, and merge one after the other (metastability), for softmax",
      hypotheses: [
        row(true, "V and B are the identity", "exactly"),
        row(true, "every token has one partner, and all others are farther", `at least ${short(tightest)} times as far`), flows(run.setup),
      ],
      predictions,
      note: "The time to meet is an integral over two atoms alone, like e^{β(1 − cos a)}: pairs with a wider angle a wait for factors longer. What happens after the last pair has met is not predicted.",
      curve: {
        title: "Number of clusters against log time", ylabel: "clusters", values: known.values, along: "log", from: 0,
        expected: known.values.map((_, k) => n - times.filter((time) => time <= k * step).length), said: "Solid: the tokens. Dashed: the integral of two atoms, pair by pair.",
      },
    };
  };

  // ---- energy (arXiv 2501.03096) ----

  const energy = (run) => {
    const { n, d, beta, step, weights } = run.setup, B = entries(run.setup.matrix, d);
    if (n > MOST_ENERGY || !alike(B, entries(run.setup.value, d)) || !alike(B, core.transposed(B, d))) return null;
    const spectrum = settings.eigenvalues(B, d).map(([real]) => real), low = Math.abs(Math.min(0, spectrum[d - 1]));
    const largest = Math.max(beta * spectrum[0], beta * low + Math.log1p(Math.exp(-2 * beta * low)) - Math.LN2);
    const known = measured(run, "energy", (state, k, memo) => {
      const images = core.linear(state, n, d, B);
      let sum = 0;
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          let score = 0;
          for (let c = 0; c < d; c++) score += state[i * d + c] * images[j * d + c];
          sum += weights[i] * weights[j] * Math.exp(beta * score - largest);
        }
      }
      if (memo.values.length && sum < memo.values[k - 1] * (1 - SMALL) && !(memo.fell >= 0)) memo.fell = k;
      return sum;
    });
    const { values, fell } = known, last = values.length - 1, most = Math.max(...values);
    return {
      rows: [
        row(!(fell >= 0), "The energy Σ wᵢwⱼ e^{β⟨xᵢ, Bxⱼ⟩} of softmax never falls (V = B symmetric)", fell >= 0 ? `falls first at t = ${short(fell * step)}` : `now ${short(values[last])} of the largest`),
        row(most <= 1 + SMALL, "It stays below max(e^{βλ₁}, cosh βλ₂), that of one point or of an even pair", `at most ${short(most)} of it`),
      ],
      curve: { title: "Energy by its largest value", ylabel: "energy", values, expected: values.map(() => 1), said: "Solid: the energy of the softmax tokens. Dashed: the closed form of its largest value." },
    };
  };

  // ---- causal attention (arXiv 2411.04990) ----

  /** Renyi centres: tokens farther than delta from every centre before them; strong: from every token before them. */
  const centres = (state, n, d, delta) => {
    const parked = [], strong = [];
    for (let i = 0; i < n; i++) {
      const near = (j) => Math.sqrt(2 * apart(state, i, j, d)) <= delta;
      if (!parked.some(near)) parked.push(i);
      if (!Array.from({ length: i }, (_, j) => j).some(near)) strong.push(i);
    }
    return { parked, strong };
  };

  const causal = (run) => {
    const { n, d, beta, step, labels } = run.setup, first = run.states[0], delta = CENTRE / Math.sqrt(beta);
    const plain = isIdentity(run.setup.matrix, d), { parked, strong } = (run.centres ??= centres(first, n, d, delta));
    const known = measured(run, "causal", (state, k, memo) => {
      memo.far = 0;
      for (let i = 0; i < n; i++) {
        let square = 0, own = 0;
        for (let c = 0; c < d; c++) { square += (state[i * d + c] - first[c]) ** 2; own += (state[i * d + c] - first[i * d + c]) ** 2; }
        memo.far = Math.max(memo.far, Math.sqrt(square));
        if (i === 0) memo.moved = Math.sqrt(own);
        if (!strong.includes(i)) continue;
        memo.drift = Math.max(memo.drift ?? 0, Math.sqrt(own) / delta);
        if (Math.sqrt(own) > LOST * delta && !memo.lost) memo.lost = { k, i };
      }
      return d === 2 ? clusters(state, n) : NaN;
    });
    const { moved, far, drift, lost, values } = known, at = short((values.length - 1) * step);
    const stay = lost ? `token ${labels[lost.i].slice(0, 12)} is lost at t = ${short(lost.k * step)}` : `all stand; largest move ${short(drift)} δ`;
    return {
      title: "Causal attention (arXiv 2411.04990), for softmax",
      hypotheses: [row(isIdentity(run.setup.value, d), "V is the identity", "exactly"), flows(run.setup)],
      predictions: [
        row(moved < SMALL, "The first token stands still", `moved ${short(moved)}`),
        row(far < 0.01 ? true : null, "In the end all tokens are at the first", `at t = ${at} the farthest is ${short(far)} away; at a large β this takes very long`),
        ...(plain ? [row(!lost, `Strong Rényi centres wait: ${strong.length} tokens farther than δ = 4/√β = ${short(delta)} from all before them`, `${stay}; ${parked.length} tokens are parked centres`)] : []),
      ],
      note: plain ? "A token sees itself and those before it. At hardmax with B = I each is its own best, and nothing moves: that is the limit of waiting for ever." : "A token sees itself and those before it; at hardmax it follows the best of them.",
      curve: d === 2 ? {
        title: "Number of clusters against log time", ylabel: "clusters", values, along: "log", from: 0, expected: plain ? values.map(() => strong.length) : [], against: "strong centres",
        said: plain ? "Solid: the softmax tokens. Dashed: the strong Rényi centres." : "Solid: the softmax tokens.",
      } : null,
    };
  };

  /** The law of a softmax run on the sphere whose directions are all alike, or null; see energy for others. */
  const sphere = (run) => {
    const { d, value, matrix, causal: ordered } = run.setup;
    if (ordered) return causal(run);
    if (!isIdentity(value, d) || !isIdentity(matrix, d)) return null;
    const law = equiangular(run) ?? staircase(run);
    if (law) return law;
    const found = energy(run);
    return found && {
      title: "Energy (arXiv 2312.10794, 2501.03096), for softmax",
      hypotheses: [row(true, "V = B, and it is symmetric", "both are the identity"), flows(run.setup)],
      predictions: found.rows, note: "Tokens climb the energy, gather in clusters, and clusters merge.", curve: found.curve,
    };
  };

  // ---- two tokens on a line (arXiv 2508.09628) ----

  /** Two opposite tokens in the plane: u' = -u (1 - tanh(beta u^2)), so that they wait for a time like e^{2 beta}. */
  const trapped = (run) => {
    const { n, d, value, matrix, weights, beta, alpha, tokens } = run.setup, r = Math.hypot(tokens[0], tokens[1]);
    if (n !== 2 || !isIdentity(value, d) || !isIdentity(matrix, d) || !equal(weights) || !(r > 0)) return null;
    if (Math.hypot(tokens[0] + tokens[2], tokens[1] + tokens[3]) > SMALL * r) return null;
    const slowness = (u) => (1 + Math.exp(2 * beta * u * u)) / (2 * u), h = r / 2 / PANELS, share = alpha / (1 + alpha);
    let sum = slowness(r / 2) + slowness(r);
    for (let k = 1; k < PANELS; k++) sum += (k % 2 ? 4 : 2) * slowness(r / 2 + k * h);
    const layers = ((h / 3) * sum) / share, known = measured(run, "trapped", (state) => Math.hypot(state[0], state[1]));
    const left = known.values.findIndex((size) => size < r / 2);
    const holds = left >= 0 ? Math.abs(left - layers) <= NEAR * layers + 1 : known.values.length > layers * (1 + NEAR) + 1 ? false : null;
    return row(holds, `Softmax holds two opposite tokens for ${short(layers)} layers, until they are half as far`, left < 0 ? "not yet" : `left at layer ${left}; the time grows like e^{2β}`);
  };

  /** Whether a law has not yet measured all states of a run that are computed. */
  const behind = (run) => Object.values(run.laws ?? {}).some(({ values }) => values.length < run.states.length);

  return { short, row, sphere, energy, trapped, behind };
})();

// The arithmetic of the explorer: no page, no drawing. Every sum runs left to right as in tokendyn's Python, which
// the tests compare with it. Tokens are flat Float64Arrays of n rows and d columns; matrices are flat, row by row.
const tokendynCore = (() => {
  "use strict";

  const LOG2E = 1.4426950408889634, LN2_HIGH = 0.69314718036912381649, LN2_LOW = 1.90821492927058770002e-10;
  const ROUND = 6755399441055744, LOWEST = 700;

  // Pairs of tokens between two pauses: about half a millisecond.
  const PAIRS = 16384;

  const C = [
    0.5000000000000001, 0.16666666666666669, 0.04166666666662399, 0.008333333333330051, 0.0013888888917281794,
    0.00019841269863105968, 2.480152119021773e-5, 2.7557268378684192e-6, 2.7620138719733994e-7, 2.5100424157005067e-8,
  ];
  const [C0, C1, C2, C3, C4, C5, C6, C7, C8, C9] = C;
  const POWERS = Float64Array.from({ length: 1012 }, (_, place) => 2 ** -place);

  /** exp(s) for -700 < s <= 0: the same polynomial, in the same order, as attention/drift_kernels.py. */
  const exponential = (s) => {
    const whole = s * LOG2E + ROUND - ROUND;
    const u = s - whole * LN2_HIGH - whole * LN2_LOW;
    const u2 = u * u;
    const q = C4 + C5 * u + u2 * (C6 + C7 * u);
    let p = C0 + C1 * u + u2 * (C2 + C3 * u);
    p += u2 * u2 * (q + u2 * u2 * (C8 + C9 * u));
    return (1 + (u + u2 * p)) * POWERS[-whole];
  };

  /** M x for every token; null is the identity. */
  const linear = (tokens, n, d, matrix) => {
    if (!matrix) return tokens;
    const result = new Float64Array(n * d);
    for (let i = 0; i < n; i++) {
      for (let r = 0; r < d; r++) {
        let sum = tokens[i * d] * matrix[r * d];
        for (let c = 1; c < d; c++) sum += tokens[i * d + c] * matrix[r * d + c];
        result[i * d + r] = sum;
      }
    }
    return result;
  };

  const transposed = (matrix, d) => matrix && matrix.map((_, place) => matrix[(place % d) * d + Math.floor(place / d)]);

  const norm = (row, at, d) => {
    let sum = row[at] * row[at];
    for (let c = 1; c < d; c++) sum += row[at + c] * row[at + c];
    return Math.sqrt(sum);
  };

  /** Canonical scores <q_i, k_j> of one row into scores; returns the largest. */
  const rowScores = (queries, keys, n, d, i, scores) => {
    let top = -Infinity;
    const q0 = queries[i * d], q1 = queries[i * d + 1];
    if (d === 2) {
      for (let j = 0, at = 0; j < n; j++, at += 2) {
        const s = q0 * keys[at] + q1 * keys[at + 1];
        scores[j] = s;
        if (s > top) top = s;
      }
      return top;
    }
    const q2 = queries[i * d + 2];
    for (let j = 0, at = 0; j < n; j++, at += 3) {
      const s = q0 * keys[at] + q1 * keys[at + 1] + q2 * keys[at + 2];
      scores[j] = s;
      if (s > top) top = s;
    }
    return top;
  };

  // The kernels below fill rows first to last of a task; they are plain functions, which engines compile well.

  const hardmaxRows = (task, first, last) => {
    const { queries, keys, values, weights, d, tolerance, frozen, radius, scores, means, leaders, spreads } = task;
    for (let i = first; i < last; i++) {
      if (frozen && frozen[i] >= 0) continue;
      const n = task.causal ? i + 1 : task.n, top = rowScores(queries, keys, n, d, i, scores);
      const threshold = top - (tolerance ? tolerance * norm(queries, i * d, d) * radius : 0);
      let leader = -1, mass = 0, spread = 0;
      for (let j = 0; j < n; j++) {
        if (!(scores[j] >= threshold)) continue;
        if (leader < 0) leader = j;
        mass += weights[j];
        for (let c = 0; c < d; c++) {
          means[i * d + c] += weights[j] * values[j * d + c];
          const gap = Math.abs(values[j * d + c] - values[leader * d + c]);
          if (gap > spread) spread = gap;
        }
      }
      if (leader < 0) throw lost();
      for (let c = 0; c < d; c++) means[i * d + c] = spread === 0 ? values[leader * d + c] : means[i * d + c] / mass;
      leaders[i] = leader;
      spreads[i] = spread;
    }
  };

  const softmaxRows = (task, first, last) => {
    const { queries, keys, values, weights, n, d, beta, scores, means, leaders } = task;
    const three = d === 3;
    for (let i = first; i < last; i++) {
      const top = rowScores(queries, keys, n, d, i, scores);
      let mass = 0, m0 = 0, m1 = 0, m2 = 0, leader = -1;
      for (let j = 0, k = 0; j < n; j++, k += d) {
        const s = beta * (scores[j] - top);
        if (!(s > -LOWEST)) continue;
        if (leader < 0 && s === 0) leader = j;
        const term = weights[j] * exponential(s);
        mass += term;
        m0 += term * values[k];
        m1 += term * values[k + 1];
        if (three) m2 += term * values[k + 2];
      }
      if (leader < 0) throw lost();
      means[i * d] = m0 / mass;
      means[i * d + 1] = m1 / mass;
      if (three) means[i * d + 2] = m2 / mass;
      leaders[i] = leader;
    }
  };

  const driftRows = (task, first, last) => {
    const { queries, keys: tokens, weights, d, beta, scores, means: shifts, signs, leaders } = task;
    const three = d === 3;
    for (let i = first; i < last; i++) {
      const at = i * d, n = task.causal ? i + 1 : task.n;
      const a0 = queries[at], a1 = queries[at + 1], a2 = three ? queries[at + 2] : 0;
      const x0 = tokens[at], x1 = tokens[at + 1], x2 = three ? tokens[at + 2] : 0;
      let top = -Infinity, leader = -1;
      for (let j = 0, k = 0; j < n; j++, k += d) {
        let s = a0 * (tokens[k] - x0) + a1 * (tokens[k + 1] - x1);
        if (three) s += a2 * (tokens[k + 2] - x2);
        scores[j] = s;
        if (s > top) { top = s; leader = j; }
      }
      if (leader < 0) throw lost();
      let mass = 0, sign = 0, d0 = 0, d1 = 0, d2 = 0;
      for (let j = 0, k = 0; j < n; j++, k += d) {
        const s = beta * (scores[j] - top);
        if (!(s > -LOWEST)) continue;
        const k0 = tokens[k], k1 = tokens[k + 1], k2 = three ? tokens[k + 2] : 0;
        let side = k0 * x0 + k1 * x1;
        if (three) side += k2 * x2;
        side = side >= 0 ? 1 : -1;
        const term = weights[j] * exponential(s);
        mass += term;
        sign += term * side;
        d0 += term * (k0 - side * x0);
        d1 += term * (k1 - side * x1);
        if (three) d2 += term * (k2 - side * x2);
      }
      signs[i] = sign / mass;
      shifts[at] = d0 / mass;
      shifts[at + 1] = d1 / mass;
      if (three) shifts[at + 2] = d2 / mass;
      leaders[i] = leader;
    }
  };

  /** Fill all rows of a task, pausing now and then, so that a page keeps drawing while it computes. */
  function* filled(rows, n, d, given) {
    const task = {
      ...given, n, d, scores: new Float64Array(n), means: new Float64Array(n * d), leaders: new Int32Array(n),
      spreads: new Float64Array(n), signs: new Float64Array(n),
    };
    const count = Math.max(1, Math.floor(PAIRS / n));
    for (let at = 0; at < n; at += count) {
      rows(task, at, Math.min(n, at + count));
      if (at + count < n) yield;
    }
    return task;
  }

  const lost = () => new RangeError("the scores left the finite numbers");

  /** Hardmax: mean of the values of C_i, its first token, and whether it is more than one point; frozen rows are skipped. */
  const hardmax = (queries, keys, values, weights, n, d, tolerance, frozen = null, causal = false) => {
    let radius = 0;
    if (tolerance) for (let j = 0; j < n; j++) radius = Math.max(radius, norm(keys, j * d, d));
    return filled(hardmaxRows, n, d, { queries, keys, values, weights, tolerance, frozen, radius, causal });
  };

  /** Hardmax in which tokens whose leader is certain for ever follow it without attending (dynamics/freeze.py). */
  function* freezing(queries, x, weights, n, d, tolerance, frozen) {
    const found = yield* hardmax(queries, x, x, weights, n, d, tolerance, frozen);
    const { means, leaders, spreads } = found;
    const same = (i, j) => {
      for (let c = 0; c < d; c++) if (x[i * d + c] !== x[j * d + c]) return false;
      return true;
    };
    for (let i = 0; i < n; i++) {
      if (frozen[i] < 0) continue;
      leaders[i] = frozen[i];
      for (let c = 0; c < d; c++) means[i * d + c] = x[frozen[i] * d + c];
    }
    for (let i = 0; i < n; i++) {
      const j = leaders[i];
      if (frozen[i] < 0 && spreads[i] === 0 && spreads[j] === 0 && same(leaders[j], j)) frozen[i] = j;
    }
    return found;
  }

  /** Softmax at inverse temperature beta; leaders are the tokens of largest score. */
  const softmax = (queries, keys, values, weights, n, d, beta) =>
    filled(softmaxRows, n, d, { queries, keys, values, weights, beta });

  /** Softmax in difference form: means are sum_j p_ij (x_j - sigma_ij x_i), signs are sum_j p_ij sigma_ij. */
  const drift = (queries, keys, weights, n, d, beta, causal) => filled(driftRows, n, d, { queries, keys, weights, beta, causal });

  // A sum (high, low) plus one * other, without error in the product (Dekker) and the sum (Knuth).
  let high = 0, low = 0;
  const addProduct = (one, other) => {
    const product = one * other;
    let t = 134217729 * one;
    const oneHigh = t - (t - one), oneLow = one - oneHigh;
    t = 134217729 * other;
    const otherHigh = t - (t - other), otherLow = other - otherHigh;
    let error = oneHigh * otherHigh - product + oneHigh * otherLow + oneLow * otherHigh + oneLow * otherLow;
    const total = high + product, part = total - high;
    error += high - (total - part) + (product - part);
    high = total;
    low += error;
  };

  /** P_x V x in twice the working precision: the velocity of a collapsed cluster. */
  const tangentOfLinear = (tokens, n, d, matrix) => {
    const result = new Float64Array(n * d), tops = new Float64Array(d), bottoms = new Float64Array(d);
    for (let i = 0; i < n; i++) {
      const at = i * d;
      for (let p = 0; p < d; p++) {
        high = 0; low = 0;
        for (let q = 0; q < d; q++) addProduct(matrix[p * d + q], tokens[at + q]);
        tops[p] = high; bottoms[p] = low;
      }
      high = 0; low = 0;
      for (let p = 0; p < d; p++) addProduct(tokens[at + p], tokens[at + p]);
      const xx = high, xxLow = low;
      high = 0; low = 0;
      for (let p = 0; p < d; p++) { addProduct(tokens[at + p], tops[p]); low += tokens[at + p] * bottoms[p]; }
      const xy = high, xyLow = low, ratio = xy / xx;
      high = xy; low = xyLow;
      addProduct(-ratio, xx);
      const ratioLow = (high + (low - ratio * xxLow)) / xx;
      for (let p = 0; p < d; p++) {
        high = tops[p]; low = bottoms[p];
        addProduct(-ratio, tokens[at + p]);
        result[at + p] = high + (low - ratioLow * tokens[at + p]);
      }
    }
    return result;
  };

  /** v - x <x, v> / <x, x> for every token. */
  const tangent = (tokens, vectors, n, d) => {
    const result = new Float64Array(n * d);
    for (let at = 0; at < n * d; at += d) {
      let xv = tokens[at] * vectors[at], xx = tokens[at] * tokens[at];
      for (let c = 1; c < d; c++) { xv += tokens[at + c] * vectors[at + c]; xx += tokens[at + c] * tokens[at + c]; }
      const share = xv / xx;
      for (let c = 0; c < d; c++) result[at + c] = vectors[at + c] - tokens[at + c] * share;
    }
    return result;
  };

  const retract = (points, n, d) => {
    const result = new Float64Array(n * d);
    for (let at = 0; at < n * d; at += d) {
      const size = norm(points, at, d);
      for (let c = 0; c < d; c++) result[at + c] = points[at + c] / size;
    }
    return result;
  };

  /** x + h v. */
  const moved = (x, h, v) => x.map((value, place) => value + h * v[place]);

  // The velocity f pauses now and then, so that each of these is a generator.
  const STEPS = {
    *euler(f, back, x, h) {
      return back(moved(x, h, yield* f(x)));
    },
    *heun(f, back, x, h) {
      const one = yield* f(x);
      const two = yield* f(back(moved(x, h, one)));
      return back(moved(x, h / 2, one.map((value, place) => value + two[place])));
    },
    *rk4(f, back, x, h) {
      const one = yield* f(x);
      const two = yield* f(back(moved(x, h / 2, one)));
      const three = yield* f(back(moved(x, h / 2, two)));
      const four = yield* f(back(moved(x, h, three)));
      const sum = one.map((value, place) => value + 2 * (two[place] + three[place]) + four[place]);
      return back(moved(x, h / 6, sum));
    },
  };
  STEPS.layers = STEPS.euler;

  /** What moves a token on the sphere, P_x V m(x), or V m(x) for the layer map; notes whom each token follows. */
  const sphereField = (setup, cold, notes) => {
    const { n, d, value, weights, method } = setup;
    const interaction = transposed(setup.matrix, d);
    const signed = (signs, x) => x.map((one, place) => signs[Math.floor(place / d)] * one);
    const added = (x, y) => x.map((one, place) => one + y[place]);
    return function* velocity(x) {
      const queries = linear(x, n, d, interaction);
      if (!cold) {
        const found = yield* drift(queries, x, weights, n, d, setup.beta, setup.causal);
        notes.first ??= found;
        if (method === "layers") return linear(added(signed(found.signs, x), found.means), n, d, value);
        const outside = tangent(x, linear(found.means, n, d, value), n, d);
        return value ? added(signed(found.signs, tangentOfLinear(x, n, d, value)), outside) : outside;
      }
      const found = yield* hardmax(queries, x, x, weights, n, d, setup.tolerance, null, setup.causal);
      notes.first ??= found;
      const means = setup.coldLimit === "hardmax" ? found.means : retract(queries, n, d);
      const target = linear(means, n, d, value);
      return method === "layers" ? target : tangent(x, target, n, d);
    };
  };

  /**
   * Start a run of a setup, kind "hardmax" or "softmax". Its states, leaders, found (the tokens that lead, and since
   * when), frozen (the leader that a token follows for ever, -1 where that is open) and failure are read from outside;
   * advance() adds one layer or step, work(until) goes on until a time.
   */
  const startRun = (setup, kind) => {
    const { n, d } = setup;
    const sphere = setup.model === "meanfield", cold = kind === "hardmax";
    const weights = sphere ? shares(setup.weights, n) : Float64Array.from(setup.weights ?? new Float64Array(n).fill(1));
    const own = { ...setup, weights };
    const first = sphere ? retract(setup.tokens, n, d) : Float64Array.from(setup.tokens);
    const run = {
      setup: own, kind, states: [first], leaders: [], found: [], place: new Int32Array(n).fill(-1), failure: "",
      total: sphere ? setup.steps : setup.layers, scale: first.reduce((most, x) => Math.max(most, Math.abs(x)), 0),
      frozen: new Int32Array(n).fill(-1),
    };
    const note = ({ leaders, spreads }) => {
      run.leaders.push(leaders);
      noteLeaders(run, leaders, spreads);
    };
    function* layer(x) {
      const queries = linear(x, n, d, setup.matrix), values = linear(x, n, d, setup.value);
      const found = yield* !cold
        ? softmax(queries, x, values, weights, n, d, setup.beta)
        : setup.value
          ? hardmax(queries, x, values, weights, n, d, setup.tolerance)
          : freezing(queries, x, weights, n, d, setup.tolerance, run.frozen);
      const share = setup.alpha / (1 + setup.alpha);
      note(found);
      return x.map((value, place) => value + share * (found.means[place] - value));
    }
    function* step(x) {
      const before = (run.states.length - 1) * setup.step, after = run.states.length * setup.step;
      const notes = {};
      const back = (points) => retract(points, n, d);
      const next = yield* STEPS[setup.method](sphereField(own, cold, notes), back, x, after - before);
      note(notes.first);
      return next;
    }
    const parts = (function* whole() {
      try {
        while (run.states.length <= run.total) {
          const next = yield* (sphere ? step : layer)(run.states[run.states.length - 1]);
          if (!next.every(Number.isFinite)) throw new RangeError("a token left the finite numbers");
          run.states.push(next);
          yield;
        }
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        run.leaders.length = run.states.length - 1;
        run.failure = `${error.message} after ${run.states.length - 1} steps`;
      }
    })();
    run.done = () => run.failure !== "" || run.states.length > run.total;
    run.advance = () => {
      const count = run.states.length;
      while (!run.done() && run.states.length === count) parts.next();
    };
    run.work = (until) => {
      while (!run.done() && performance.now() < until) parts.next();
    };
    return run;
  };

  const shares = (weights, n) => {
    if (!weights) return new Float64Array(n).fill(1 / n);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return Float64Array.from(weights, (weight) => weight / total);
  };

  /** Note the tokens that begin to lead, alone in their own C_i; arrivals at a known leader count as that leader. */
  const noteLeaders = (run, follow, spreads) => {
    const { n, d } = run.setup, since = run.states.length - 1, now = run.states[since];
    for (let i = 0; i < n; i++) {
      if (follow[i] !== i || spreads[i] !== 0 || run.place[i] >= 0) continue;
      const near = run.found.findIndex(({ token }) => {
        for (let c = 0; c < d; c++) if (Math.abs(now[token * d + c] - now[i * d + c]) > 1e-6 * run.scale) return false;
        return true;
      });
      run.place[i] = near < 0 ? run.found.length : near;
      if (near < 0) run.found.push({ token: i, since });
    }
  };

  /** Corners of the convex hull of points in the plane, counter-clockwise (Andrew's monotone chain). */
  const hull = (xy) => {
    const n = xy.length / 2;
    const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => xy[2 * i] - xy[2 * j] || xy[2 * i + 1] - xy[2 * j + 1]);
    const turns = (o, a, b) =>
      (xy[2 * a] - xy[2 * o]) * (xy[2 * b + 1] - xy[2 * o + 1]) - (xy[2 * a + 1] - xy[2 * o + 1]) * (xy[2 * b] - xy[2 * o]);
    const half = (places) => {
      const chain = [];
      for (const place of places) {
        while (chain.length > 1 && turns(chain[chain.length - 2], chain[chain.length - 1], place) <= 0) chain.pop();
        chain.push(place);
      }
      chain.pop();
      return chain;
    };
    return n < 3 ? order : [...half(order), ...half(order.slice().reverse())];
  };

  return {
    exponential, linear, transposed, tangentOfLinear, retract, norm, startRun, hull,
  };
})();

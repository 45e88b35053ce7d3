// What a run is made of: small matrices, the projected law, and settings read from JSON without trusting it.
const tokendynSetup = (() => {
  "use strict";

  const MOST_TOKENS = 2000, MOST_STEPS = 2000, MOST_LETTERS = 200, SCHEMA = "tokendyn-explored";
  const TIE = 1e-7;

  const identity = (d) => Float64Array.from({ length: d * d }, (_, place) => (place % (d + 1) === 0 ? 1 : 0));

  const product = (a, b, d) => {
    const result = new Float64Array(d * d);
    for (let r = 0; r < d; r++) {
      for (let c = 0; c < d; c++) for (let k = 0; k < d; k++) result[r * d + c] += a[r * d + k] * b[k * d + c];
    }
    return result;
  };

  const size = (a) => Math.sqrt(a.reduce((sum, x) => sum + x * x, 0));

  const inverse = (a, d) => {
    if (d === 2) {
      const det = a[0] * a[3] - a[1] * a[2];
      return Float64Array.of(a[3] / det, -a[1] / det, -a[2] / det, a[0] / det);
    }
    const minor = (r, c) => {
      const [p, q] = [0, 1, 2].filter((k) => k !== r), [s, t] = [0, 1, 2].filter((k) => k !== c);
      return (r + c) % 2 ? a[p * 3 + t] * a[q * 3 + s] - a[p * 3 + s] * a[q * 3 + t] : a[p * 3 + s] * a[q * 3 + t] - a[p * 3 + t] * a[q * 3 + s];
    };
    const det = a[0] * minor(0, 0) + a[1] * minor(0, 1) + a[2] * minor(0, 2);
    return Float64Array.from({ length: 9 }, (_, place) => minor(place % 3, Math.floor(place / 3)) / det);
  };

  /** Eigenvalues [real, imaginary] of a 2 by 2 or 3 by 3 matrix, largest real part first. */
  const eigenvalues = (a, d) => {
    const pair = (trace, det) => {
      const half = trace / 2, rest = half * half - det;
      if (rest < 0) return [[half, Math.sqrt(-rest)], [half, -Math.sqrt(-rest)]];
      const far = half + Math.sign(half || 1) * Math.sqrt(rest);
      return [[far, 0], [far ? det / far : 0, 0]];
    };
    let found;
    if (d === 2) found = pair(a[0] + a[3], a[0] * a[3] - a[1] * a[2]);
    else {
      const trace = a[0] + a[4] + a[8];
      const minors = a[0] * a[4] - a[1] * a[3] + a[0] * a[8] - a[2] * a[6] + a[4] * a[8] - a[5] * a[7];
      const det = a[0] * (a[4] * a[8] - a[5] * a[7]) - a[1] * (a[3] * a[8] - a[5] * a[6]) + a[2] * (a[3] * a[7] - a[4] * a[6]);
      const middle = trace / 3, p = minors - (trace * trace) / 3;
      const q = -(2 * trace ** 3) / 27 + (trace * minors) / 3 - det;
      const discriminant = (q / 2) ** 2 + (p / 3) ** 3;
      if (p < 0 && discriminant <= 0) {
        const radius = 2 * Math.sqrt(-p / 3), angle = Math.acos(Math.max(-1, Math.min(1, (3 * q) / (p * radius)))) / 3;
        found = [0, 1, 2].map((k) => [middle + radius * Math.cos(angle - (2 * Math.PI * k) / 3), 0]);
      } else {
        const root = Math.sqrt(Math.max(0, discriminant));
        const one = Math.cbrt(-q / 2 + (q > 0 ? -root : root)), other = one ? -p / (3 * one) : 0;
        const imaginary = (Math.sqrt(3) / 2) * (one - other);
        found = [[middle + one + other, 0], [middle - (one + other) / 2, imaginary], [middle - (one + other) / 2, -imaginary]];
      }
    }
    return found.sort((x, y) => y[0] - x[0]);
  };

  /**
   * Pi(x) = P_E x / |P_E x| with E the dominant eigenspace of M = V B^T: the spectral projector is (1 + sign(M - s)) / 2
   * for s between the dominant real parts and the others; the sign by Newton's iteration.
   */
  const projection = (setup) => {
    const { d } = setup, one = identity(d);
    const M = product(setup.value ?? one, tokendynCore.transposed(setup.matrix ?? one, d), d);
    const found = eigenvalues(M, d), scale = size(M) || 1, tie = (d === 2 ? TIE : 1e-5) * scale;
    const count = found.filter(([real]) => real >= found[0][0] - tie).length;
    let projector = one, status = count === d ? "identity" : "eigenspace";
    if (count < d) {
      const middle = (found[count - 1][0] + found[count][0]) / 2;
      let sign = M.map((x, place) => x - middle * one[place]);
      for (let k = 0; k < 60; k++) {
        const back = inverse(sign, d), next = sign.map((x, place) => (x + back[place]) / 2);
        const change = size(next.map((x, place) => x - sign[place]));
        sign = next;
        if (!(change > 1e-15 * size(sign))) break;
      }
      projector = sign.map((x, place) => (one[place] + x) / 2);
    }
    if (found.slice(0, count).some(([, imaginary]) => Math.abs(imaginary) > tie)) status = "rotating";
    else if (size(product(M.map((x, place) => x - found[0][0] * one[place]), projector, d)) > 1e-4 * scale) status = "defective";
    return { projector, status, dimension: count, eigenvalues: found };
  };

  /** Pi of every token; null when it is the identity, not defined for a token, or converges too slowly to compare with. */
  const targets = (setup, start) => {
    const { projector, status } = projection(setup);
    // A law has no order of its tokens: there is no projected law of causal attention.
    if (setup.causal || status === "defective" || status === "identity" || !projector.every(Number.isFinite)) return null;
    const { n, d } = setup, images = tokendynCore.linear(start, n, d, projector);
    for (let i = 0; i < n; i++) if (!(tokendynCore.norm(images, i * d, d) > 1e-14 * size(projector))) return null;
    return tokendynCore.retract(images, n, d);
  };

  /** Root of the weighted mean of |x_i - y_i|^2: a bound of W_2, whose coupling joins each token to its own image. */
  const distance = (x, y, weights, n, d) => {
    let sum = 0, mass = 0;
    for (let i = 0; i < n; i++) {
      let square = 0;
      for (let c = 0; c < d; c++) square += (x[i * d + c] - y[i * d + c]) ** 2;
      sum += weights[i] * square;
      mass += weights[i];
    }
    return Math.sqrt(sum / mass);
  };

  /** Half axes and direction of the ellipse <x, A x> = 1, null unless A is symmetric positive definite, 2 by 2. */
  const ellipse = (A) => {
    if (A.length !== 4 || A[1] !== A[2] || !(A[0] > 0) || !(A[0] * A[3] - A[1] * A[2] > 0)) return null;
    const angle = Math.atan2(2 * A[1], A[0] - A[3]) / 2, middle = (A[0] + A[3]) / 2;
    const half = Math.hypot((A[0] - A[3]) / 2, A[1]);
    return { angle, first: 1 / Math.sqrt(middle + half), second: 1 / Math.sqrt(middle - half) };
  };

  /** The matrix of an ellipse. */
  const ofEllipse = ({ angle, first, second }) => {
    const a = 1 / (first * first), b = 1 / (second * second), c = Math.cos(angle), s = Math.sin(angle);
    const off = (a - b) * c * s;
    return Float64Array.of(a * c * c + b * s * s, off, off, a * s * s + b * c * c);
  };

  /** A^T A of a matrix, whose eigenvalues are squares of the singular values. */
  const square = (a, d) => product(tokendynCore.transposed(a, d), a, d);

  const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

  /** Read settings from a parsed JSON value, or throw an Error that lists what is wrong with it. */
  const read = (record) => {
    if (!isObject(record)) throw new Error("the file holds no JSON object");
    const inner = isObject(record.explorer) ? record.explorer : record;
    if (inner.schema !== SCHEMA) {
      throw new Error(`the file is no export of the explorer (schema ${JSON.stringify(inner.schema ?? null).slice(0, 40)}, expected "${SCHEMA}")`);
    }
    if (inner.schema_version !== 1) throw new Error(`schema version ${JSON.stringify(inner.schema_version ?? null).slice(0, 40)}; this page reads version 1`);
    const problems = [], need = (right, what) => { if (!right) problems.push(what); return right; };
    const number = (value) => typeof value === "number" && Number.isFinite(value);
    const sphere = inner.model === "meanfield", rows = inner.tokens;
    need(sphere || inner.model === "clustering", 'model must be "clustering" or "meanfield"');
    const some = Array.isArray(rows) && rows.length > 0;
    need(some && rows.length <= MOST_TOKENS, `tokens must be 1 to ${MOST_TOKENS} rows${Array.isArray(rows) ? `, got ${rows.length}` : ""}`);
    const d = some && Array.isArray(rows[0]) ? rows[0].length : 0, n = some ? rows.length : 0;
    need(d === 2 || (sphere && d === 3), sphere ? "tokens must have 2 or 3 coordinates" : "tokens must have 2 coordinates");
    const whole = some && rows.every((row) => Array.isArray(row) && row.length === d && row.every((x) => number(x) && Math.abs(x) <= 1e100));
    need(whole, "every token must have the same number of finite coordinates");
    if (whole && sphere) need(rows.every((row) => Math.abs(Math.hypot(...row) - 1) < 1e-9), "tokens must have norm 1");
    const labels = inner.labels ?? rows?.map?.((_, place) => String(place)) ?? [];
    need(Array.isArray(labels) && labels.length === n && labels.every((label) => typeof label === "string"), "labels must be one text a token");
    const weights = inner.weights ?? null;
    need(weights === null || (Array.isArray(weights) && weights.length === n && weights.every((w) => number(w) && w > 0 && w <= 1e100)), "weights must be one positive number a token");
    const grid = (name) => {
      const value = inner[name] ?? null;
      if (value === null) return null;
      const right = Array.isArray(value) && value.length === d && value.every((row) => Array.isArray(row) && row.length === d && row.every(number));
      return need(right, `${name} must be a ${d} by ${d} matrix of finite numbers`) ? Float64Array.from(value.flat()) : null;
    };
    const matrix = grid(sphere ? "interaction" : "score"), value = grid("value");
    const within = (name, low, high, otherwise, round) => {
      const given = inner[name] ?? otherwise;
      need(number(given) && given >= low && given <= high && (!round || Number.isInteger(given)), `${name} must be ${round ? "a whole number " : ""}from ${low} to ${high}`);
      return given;
    };
    const among = (name, choices) => {
      const given = inner[name] ?? choices[0];
      need(choices.includes(given), `${name} must be one of ${choices.join(", ")}`);
      return given;
    };
    const causal = inner.causal ?? false;
    need(causal === false || (causal === true && sphere && inner.cold_limit !== "full support"), 'causal must be true or false; true needs the model "meanfield" and cold_limit "hardmax"');
    const setup = {
      model: inner.model, causal, n, d, labels: labels.map?.((label) => String(label).slice(0, MOST_LETTERS)), weights, matrix, value,
      tokens: whole ? Float64Array.from(rows.flat()) : new Float64Array(0),
      title: typeof inner.title === "string" ? inner.title.slice(0, MOST_LETTERS) : "", note: typeof inner.note === "string" ? inner.note.slice(0, 1000) : "",
      beta: within("inverse_temperature", 1e-9, 1e9, 20), tolerance: within("tie_tolerance", 0, 0.1, 0),
      alpha: within("alpha", 1e-6, 1e6, 0.5), layers: within("layers", 1, MOST_STEPS, 30, true),
      method: among("method", ["rk4", "heun", "euler", "layers"]), coldLimit: among("cold_limit", ["hardmax", "full support"]),
      step: within("step", 1e-6, 10, 0.1), steps: within("steps", 1, MOST_STEPS, 100, true),
    };
    if (problems.length) throw new Error(problems.slice(0, 8).join("; ") + (problems.length > 8 ? `; and ${problems.length - 8} more` : ""));
    return setup;
  };

  const rowsOf = (flat, d) => Array.from({ length: flat.length / d }, (_, i) => Array.from(flat.slice(i * d, i * d + d)));

  /** The JSON object of settings and, of complete runs, the final states. */
  const write = (setup, runs = {}) => {
    const { n, d, model } = setup, sphere = model === "meanfield";
    const matrix = setup.matrix && rowsOf(setup.matrix, d), value = setup.value && rowsOf(setup.value, d);
    const final = {};
    for (const [kind, run] of Object.entries(runs)) {
      if (run.states.length === run.total + 1) final[kind] = rowsOf(run.states[run.total], d);
    }
    return {
      schema: SCHEMA, schema_version: 1, title: setup.title, note: setup.note, model,
      inverse_temperature: setup.beta, tie_tolerance: setup.tolerance, value,
      ...(sphere
        ? { interaction: matrix, cold_limit: setup.coldLimit, causal: setup.causal, method: setup.method, step: setup.step, steps: setup.steps }
        : { score: matrix, alpha: setup.alpha, layers: setup.layers }),
      labels: setup.labels.slice(0, n), weights: setup.weights && Array.from(setup.weights), tokens: rowsOf(setup.tokens, d), final,
    };
  };

  return { identity, eigenvalues, product, square, size, projection, targets, distance, ellipse, ofEllipse, read, write, MOST_TOKENS, MOST_STEPS };
})();

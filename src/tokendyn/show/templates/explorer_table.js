// Tokens from what people have: the page's own JSON, rows such as [[1, 2], [3, 4]], and tables with tabs, commas or spaces.
const tokendynTable = (() => {
  "use strict";

  const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;
  // A row of these is a token that lacks its numbers, and no header.
  const MISSING = /^([-+]?(nan|inf|infinity)|n\/?a|null|none|)$/i;

  /** The cells of a line; a cell in double quotes may hold the separator. */
  const cells = (line, separator) => {
    if (separator === " ") return line.trim().split(/\s+/);
    const result = [];
    let cell = "", inside = false;
    for (let k = 0; k < line.length; k++) {
      if (line[k] === '"') {
        if (inside && line[k + 1] === '"') cell += line[k++];
        else inside = !inside;
      } else if (line[k] === separator && !inside) { result.push(cell.trim()); cell = ""; } else cell += line[k];
    }
    return [...result, cell.trim()];
  };

  const separatorOf = (lines) => ["\t", ";", ","].find((sign) => lines.every((line) => line.includes(sign))) ?? " ";

  /** Rows and names of a table: a first row without numbers is a header, one column without numbers holds names. */
  const table = (text) => {
    const lines = text.split(/\r\n|\r|\n/).filter((line) => line.trim() && !line.startsWith("#"));
    const separator = separatorOf(lines), comma = separator !== "," && lines.some((line) => /\d,\d/.test(line)) && !/\d\.\d/.test(text);
    const read = (cell) => (comma ? cell.replace(",", ".") : cell).replace(/^−/, "-");
    let rows = lines.map((line) => cells(line, separator));
    const isNumber = (cell) => NUMBER.test(read(cell ?? "")), width = rows[0].length;
    if (rows.length > 1 && !rows[0].some((cell) => isNumber(cell) || MISSING.test(cell))) rows = rows.slice(1);
    const uneven = rows.find((row) => row.length !== width);
    if (uneven) throw new Error(`a row has ${uneven.length} columns and another ${width}; give every row the same columns`);
    const columns = Array.from({ length: width }, (_, c) => c), words = columns.filter((c) => rows.every((row) => !isNumber(row[c])));
    // A comma at the end of each row makes a column without a cell in it.
    const numbers = columns.filter((c) => !words.includes(c)), names = words.filter((c) => rows.some((row) => row[c]));
    const wrong = rows.flatMap((row, k) => numbers.filter((c) => !isNumber(row[c])).map((c) => `row ${k + 1}, column ${c + 1} holds "${row[c].slice(0, 30)}"`));
    if (!numbers.length) throw new Error("the text holds no numbers; give one token a row, with two or three coordinates");
    if (wrong.length) throw new Error(`${wrong.slice(0, 3).join("; ")}, which is no number`);
    if (names.length > 1) throw new Error(`${names.length} columns hold no numbers; one column of names is allowed`);
    return { rows: rows.map((row) => numbers.map((c) => Number(read(row[c])))), labels: names.length ? rows.map((row) => row[names[0]]) : undefined };
  };

  /** The record of rows of coordinates, with the parameters of what is shown where they fit. */
  const recordOf = ({ rows, labels }, shown, title) => {
    if (!Array.isArray(rows[0])) throw new Error("there is no row of coordinates; write tokens as [[1, 2], [3, 4]]");
    const d = rows[0].length;
    if (d !== 2 && d !== 3) throw new Error(`a token has ${d} ${d === 1 ? "coordinate" : "coordinates"}; the explorer shows 2 (plane, circle) or 3 (sphere)`);
    const model = d === 3 ? "meanfield" : shown.d === 2 ? shown.model : "clustering", same = shown.model === model && shown.d === d;
    const sphere = model === "meanfield", sizes = rows.map((row) => (Array.isArray(row) ? Math.hypot(...row) : NaN));
    if (sphere && sizes.some((size) => size === 0)) throw new Error("a token is zero; tokens on the sphere need a direction");
    const unit = sphere ? rows.map((row, k) => (Array.isArray(row) && sizes[k] > 0 ? row.map((x) => x / sizes[k]) : row)) : rows;
    return {
      ...(same ? tokendynSetup.write(shown) : { schema: "tokendyn-explored", schema_version: 1, model }), final: {}, weights: null,
      labels, tokens: unit, title, note: sphere ? "Each token is divided by its norm." : "",
    };
  };

  const json = (text) => {
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new Error(`the text begins like JSON and is not: ${error.message}`);
    }
  };

  /** Rows of numbers as Python and NumPy print them: "(1, 2), (3, 4)", "[[1. 2.]\n [3. 4.]]"; null where a text is none. */
  const printed = (text) => {
    const groups = [...text.matchAll(/[[(]([^[\]()]*)[\])]/g)].map(([, inner]) => inner.split(/[\s,]+/).filter(Boolean));
    const rest = text.replace(/[[(]([^[\]()]*)[\])]/g, "").replace(/^\s*(np\.|numpy\.)?array|dtype=[\w.]+|[[\]();,\s]/g, "");
    const closed = text.split(/[[(]/).length === text.split(/[\])]/).length, right = closed && !rest && groups.length > 0 && groups.every((row) => row.length && row.every((cell) => NUMBER.test(cell)));
    return right ? groups.map((row) => row.map(Number)) : null;
  };

  /** What a text that begins with a bracket holds, or null where it is a table all the same. */
  const bracketed = (text) => {
    if (!/^([[(]|(np\.|numpy\.)?array\()/.test(text)) return null;
    try {
      return json(text);
    } catch (error) {
      const rows = printed(text);
      if (!rows && text.startsWith("[")) throw error;
      return rows;
    }
  };

  /** The text in the bytes of a file: UTF-8, or UTF-16 with its mark, or else as Windows wrote Western European texts. */
  const decoded = (buffer) => {
    const [first, second] = new Uint8Array(buffer.slice(0, 2)), wide = { 0xfffe: "utf-16le", 0xfeff: "utf-16be" }[256 * first + second];
    if (wide) return new TextDecoder(wide).decode(buffer);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(buffer);
    } catch {
      return new TextDecoder("windows-1252").decode(buffer);
    }
  };

  /** The record in a text, or an Error that says what is wrong with it. */
  const read = (text, shown, title = "Own tokens") => {
    const trimmed = text.replace(/^\ufeff/, "").trim();
    if (!trimmed) throw new Error("there is nothing in it; give one token a row, with two or three coordinates");
    if (trimmed.startsWith("{")) {
      const record = json(trimmed), bare = Array.isArray(record.tokens) && record.schema === undefined;
      return bare ? recordOf({ rows: record.tokens, labels: record.labels }, shown, title) : record;
    }
    const rows = bracketed(trimmed);
    return recordOf(rows ? { rows } : table(trimmed), shown, title);
  };

  return { read, decoded };
})();

// Settings as the part of an address after "#", so that a link shows what was seen: "preset=triangle&alpha=2&at=12".
// Names are those of the JSON that the page saves; tokendyn reads the same links (particles/links.py).
const tokendynLink = (() => {
  "use strict";

  const GRIDS = ["tokens", "score", "interaction", "value"], WORDS = ["model", "method", "cold_limit", "title", "note"];
  const NUMBERS = ["inverse_temperature", "tie_tolerance", "alpha", "layers", "step", "steps"];
  const ORDER = ["model", ...NUMBERS, "method", "cold_limit", "causal", "score", "interaction", "value", "title", "note", "labels", "weights", "tokens"];
  const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

  // encodeURIComponent leaves quotes and brackets, which end a link in a shell or in a text.
  const quoted = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);

  const written = (name, value) => {
    if (value === null || value === undefined) return GRIDS.includes(name) ? "identity" : "";
    if (GRIDS.includes(name)) return value.map((row) => row.join(",")).join(";");
    if (name === "labels") return value.map(quoted).join(",");
    if (name === "weights") return value.join(",");
    return WORDS.includes(name) ? quoted(value) : String(value);
  };

  const plain = (name, record) =>
    name === "causal" ? !record.causal : name === "labels" ? record.labels.every((label, place) => label === String(place)) : ["", "identity"].includes(written(name, record[name]));

  /** The part of an address for a record: what differs from a preset, or everything where there is none. */
  const write = (record, preset, base, at) => {
    const parts = preset ? [`preset=${quoted(preset)}`] : [];
    for (const name of ORDER) {
      if (!(name in record)) continue;
      const text = written(name, record[name]);
      if (base ? text !== written(name, base[name]) : !plain(name, record)) parts.push(`${name}=${text}`);
    }
    if (at) parts.push(`at=${Number(at.toPrecision(6))}`);
    return parts.join("&");
  };

  const number = (text, name) => {
    if (!NUMBER.test(text)) throw new Error(`the link has ${name}=${text.slice(0, 30)}, which is no number`);
    return Number(text);
  };

  const parsed = (name, text) => {
    if (GRIDS.includes(name)) return text === "identity" ? null : text.split(";").map((row) => row.split(",").map((x) => number(x, name)));
    if (name === "labels") return text.split(",").map(decodeURIComponent);
    if (name === "weights") return text ? text.split(",").map((x) => number(x, name)) : null;
    if (WORDS.includes(name)) return decodeURIComponent(text);
    if (name === "causal" && (text === "true" || text === "false")) return text === "true";
    if (NUMBERS.includes(name)) return number(text, name);
    throw new Error(`the link has ${name.slice(0, 40)}, which the explorer does not know`);
  };

  /** Whether a part of an address holds settings; other parts are places of a page. */
  const holds = (fragment) => /^#?(preset|model)=/.test(fragment);

  /** The record, the preset, the position, and whether the link changes the preset, or an Error that says what is wrong with it. */
  const read = (fragment, presets) => {
    let record = { schema: "tokendyn-explored", schema_version: 1 }, preset = "", at = 0, altered = false;
    for (const part of fragment.replace(/^#/, "").split("&")) {
      const cut = part.indexOf("="), name = part.slice(0, cut), text = part.slice(cut + 1);
      if (name === "at") at = number(text, name);
      else if (name === "preset") {
        preset = decodeURIComponent(text);
        if (!Object.hasOwn(presets, preset)) throw new Error(`this page has no preset "${preset.slice(0, 40)}"`);
        record = { ...presets[preset], final: {} };
      } else {
        record[name] = parsed(name, text);
        altered = preset !== "";
      }
    }
    return { record, preset, at, altered };
  };

  return { write, read, holds };
})();

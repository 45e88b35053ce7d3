(() => {
  "use strict";
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const start = (root) => {
    root.dataset.ready = "yes";
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const all = (selector) => [...root.querySelectorAll(selector)];
    const slider = root.querySelector(".td-slider");
    const said = root.querySelector(".td-said");
    const mean = root.querySelector(".td-mean");
    const dots = all(".td-token"), lines = all(".td-line"), stars = all(".td-leader");
    const end = data.stops.length - 1;
    const words = all(".td-w[data-t]").map((node) => ({
      node, token: Number(node.dataset.t), look: node.className, css: node.getAttribute("style"),
      tip: node.dataset.tip, label: node.getAttribute("aria-label"), number: node.querySelector("sup").dataset.n,
      negative: node.classList.contains("td-neg"),
    }));
    const shift = (node, x, y, size) => {
      node.setAttribute("transform", `translate(${x} ${y})` + (size === undefined ? "" : ` scale(${size})`));
    };
    const draw = (xy, middle, to) => {
      dots.forEach((dot) => shift(dot, xy[2 * dot.dataset.t], xy[2 * dot.dataset.t + 1]));
      lines.forEach((line) => {
        const token = line.dataset.t, other = to[token];
        line.setAttribute("x1", xy[2 * token]);
        line.setAttribute("y1", xy[2 * token + 1]);
        line.setAttribute("x2", xy[2 * other]);
        line.setAttribute("y2", xy[2 * other + 1]);
      });
      stars.forEach((star) => {
        const token = data.leaders[star.dataset.l];
        shift(star, xy[2 * token], xy[2 * token + 1]);
      });
      if (mean) shift(mean, middle, 0);
    };
    const colour = (place) => (place < 0 ? "#8A9099" : data.colours[place]);
    const paintPlane = (stop) => {
      dots.forEach((dot) => dot.style.setProperty("--c", colour(stop.follow[dot.dataset.t])));
      lines.forEach((line) => line.style.setProperty("--c", colour(stop.follow[line.dataset.t])));
      stars.forEach((star) => {
        const size = stop.sizes[star.dataset.l], name = stop.names[star.dataset.l];
        star.style.display = size ? "" : "none";
        const shape = star.querySelector("path"), text = star.querySelector("text");
        if (shape) shape.setAttribute("transform", `scale(${size})`);
        if (text) text.style.display = name ? "" : "none";
        if (text && name) shift(text, name[0], name[1]);
      });
    };
    const paintWord = (word, stop) => {
      const place = stop.follow[word.token];
      const leads = place >= 0 && data.leaders[place] === word.token;
      const own = data.words[word.token], other = data.words[stop.to[word.token]];
      const what = leads ? `“${own}” leads` : other === own ? `“${own}” stays` : `“${own}” follows “${other}”`;
      const free = place < 0 || data.numbers[place] === "0";
      word.node.className = ["td-w", word.negative && "td-neg", leads && "td-lead", free && "td-free"].filter(Boolean).join(" ");
      word.node.style.setProperty("--c", colour(place));
      word.node.style.setProperty("--s", leads ? Math.max(0.5, (1.45 * stop.sizes[place]) / data.largest).toFixed(2) : "1");
      word.node.dataset.tip = `${what} at layer ${stop.layer}`;
      word.node.setAttribute("aria-label", word.node.dataset.tip);
      word.node.querySelector("sup").dataset.n = place < 0 ? "" : data.numbers[place];
    };
    const restore = (word) => {
      word.node.className = word.look;
      word.node.setAttribute("style", word.css);
      word.node.dataset.tip = word.tip;
      word.node.setAttribute("aria-label", word.label);
      word.node.querySelector("sup").dataset.n = word.number;
    };
    let shown = data.stops[end].xy, middle = data.stops[end].mean, frame = 0;
    const show = (number) => {
      const stop = data.stops[number];
      words.forEach((word) => (number === end ? restore(word) : paintWord(word, stop)));
      paintPlane(stop);
      said.textContent = stop.said;
      slider.setAttribute("aria-valuetext", stop.said);
      cancelAnimationFrame(frame);
      const from = shown, before = middle, began = performance.now(), lasts = still.matches ? 0 : 280;
      const step = (time) => {
        const share = lasts ? Math.min(1, Math.max(0, (time - began) / lasts)) : 1;
        const eased = share * (2 - share);
        shown = stop.xy.map((value, place) => from[place] + (value - from[place]) * eased);
        middle = before + (stop.mean - before) * eased;
        draw(shown, middle, stop.to);
        if (share < 1) frame = requestAnimationFrame(step);
      };
      step(began);
    };
    slider.value = String(end);
    slider.addEventListener("input", () => show(Number(slider.value)));
    root.querySelector(".td-control").hidden = false;
  };
  document.querySelectorAll(".td-motion:not([data-ready])").forEach(start);
})();

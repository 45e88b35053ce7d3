// What lies under the tokens: axes with numbers in the plane, the circle, and the sphere with its graticule.
const tokendynFrame = (() => {
  "use strict";
  const draw = tokendynDraw;
  const TURN = 2 * Math.PI, FONT = "12px system-ui, sans-serif";

  /** A step of 1, 2 or 5 times a power of ten, about so long. */
  const niceStep = (rough) => {
    const power = 10 ** Math.floor(Math.log10(rough));
    return power * [1, 2, 5, 10].find((part) => part * power >= rough);
  };

  const label = (x, step) => (Math.abs(x) >= 1e5 || (x !== 0 && step < 1e-4) ? x.toExponential(1) : String(Number(x.toFixed(Math.max(0, Math.ceil(-Math.log10(step)))))));

  const haloed = (pen, text, x, y, colours) => {
    pen.strokeStyle = colours.paper;
    pen.lineWidth = 3;
    pen.strokeText(text, x, y);
    pen.fillStyle = colours.quiet;
    pen.fillText(text, x, y);
  };

  const plane = (pen, { view, width, height }, colours) => {
    const [left, bottom] = draw.unplace(view, width, height, 0, height), [right, top] = draw.unplace(view, width, height, width, 0);
    const place = draw.placer(view, width, height), step = niceStep((right - left) / 6);
    const ticks = (low, high) => Array.from({ length: Math.max(0, Math.floor(high / step) - Math.ceil(low / step) + 1) }, (_, k) => (Math.ceil(low / step) + k) * step);
    pen.lineWidth = 1;
    pen.strokeStyle = colours.line;
    const lines = (values, across, strong) => {
      pen.globalAlpha = strong ? 1 : 0.55;
      pen.beginPath();
      for (const value of values) {
        const [x, y] = place([value, value], 0);
        if (across) { pen.moveTo(0, y); pen.lineTo(width, y); } else { pen.moveTo(x, 0); pen.lineTo(x, height); }
      }
      pen.stroke();
      pen.globalAlpha = 1;
    };
    lines(ticks(left, right), false, false);
    lines(ticks(bottom, top), true, false);
    pen.strokeStyle = colours.quiet;
    if (left < 0 && right > 0) lines([0], false, false);
    if (bottom < 0 && top > 0) lines([0], true, false);
    pen.font = FONT;
    pen.textAlign = "center";
    for (const value of ticks(left, right)) {
      const [x] = place([value, 0], 0);
      if (x > 44 && x < width - 16) haloed(pen, label(value, step), x, height - 5, colours);
    }
    pen.textAlign = "left";
    for (const value of ticks(bottom, top)) {
      const [, y] = place([0, value], 0);
      if (y > 12 && y < height - 20) haloed(pen, label(value, step), 4, y + 4, colours);
    }
  };

  const circle = (pen, { view, width, height }, colours) => {
    const place = draw.placer(view, width, height), [x0, y0] = place([0, 0], 0), [x1] = place([1, 0], 0);
    pen.strokeStyle = colours.quiet;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.arc(x0, y0, x1 - x0, 0, TURN);
    pen.stroke();
    pen.font = FONT;
    pen.textAlign = "center";
    for (const [angle, text] of [[0, "0°"], [90, "90°"], [180, "180°"], [270, "270°"]]) {
      const [x, y] = place([0.86 * Math.cos((angle * Math.PI) / 180), 0.86 * Math.sin((angle * Math.PI) / 180)], 0);
      haloed(pen, text, x, y + 4, colours);
    }
    pen.textAlign = "left";
  };

  /** A curve on the sphere, faint behind it. */
  const arc = (pen, place, point) => {
    for (const behind of [true, false]) {
      pen.globalAlpha = behind ? 0.22 : 0.8;
      pen.beginPath();
      let joined = false;
      for (let k = 0; k <= 72; k++) {
        const [x, y, depth] = place(point((TURN * k) / 72), 0);
        if (depth < 0 !== behind) joined = false;
        else if (joined) pen.lineTo(x, y);
        else { pen.moveTo(x, y); joined = true; }
      }
      pen.stroke();
    }
    pen.globalAlpha = 1;
  };

  const ball = (pen, { view, width, height }, colours) => {
    const place = draw.placer(view, width, height), radius = (Math.min(width, height) / 2 - 8) / view.radius, [x0, y0] = place([0, 0, 0], 0);
    const light = pen.createRadialGradient(x0 - radius / 3, y0 - radius / 3, radius / 8, x0, y0, radius);
    // Light falls on the near side: on dark paper that is the lighter colour.
    const [near, far] = colours.lift > 0 ? [colours.line, colours.paper] : [colours.paper, colours.line];
    light.addColorStop(0, near);
    light.addColorStop(1, far);
    pen.globalAlpha = 0.6;
    pen.fillStyle = light;
    pen.beginPath();
    pen.arc(x0, y0, radius, 0, TURN);
    pen.fill();
    pen.globalAlpha = 1;
    pen.strokeStyle = colours.quiet;
    pen.lineWidth = 1;
    pen.stroke();
    pen.lineWidth = 0.6;
    for (let k = 0; k < 6; k++) {
      const a = (Math.PI * k) / 6;
      arc(pen, place, (s) => [Math.cos(a) * Math.sin(s), Math.sin(a) * Math.sin(s), Math.cos(s)]);
    }
    for (const height of [-60, -30, 0, 30, 60]) {
      const z = Math.sin((height * Math.PI) / 180), r = Math.cos((height * Math.PI) / 180);
      pen.lineWidth = height ? 0.6 : 1.1;
      arc(pen, place, (s) => [r * Math.cos(s), r * Math.sin(s), z]);
    }
    pen.font = FONT;
    pen.textAlign = "left";
    for (const [axis, name] of [[[1, 0, 0], "e₁"], [[0, 1, 0], "e₂"], [[0, 0, 1], "e₃"]]) {
      const [x, y, depth] = place(axis, 0);
      pen.globalAlpha = depth < 0 ? 0.5 : 1;
      haloed(pen, name, x + 4, y - 4, colours);
    }
    pen.globalAlpha = 1;
  };

  const frame = (pen, scene, colours) => {
    const kind = scene.run.setup.model === "clustering" ? plane : scene.view.d === 2 ? circle : ball;
    kind(pen, scene, colours);
  };

  return { frame };
})();

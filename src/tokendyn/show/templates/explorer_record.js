// What leaves the page: the settings as JSON, a picture, a film, a link.
(() => {
  "use strict";
  const app = tokendynApp, draw = tokendynDraw, settings = tokendynSetup;
  const { $, state, KINDS, canvases } = app;
  const GAP = 24, HEAD = 60, FILMS = [["video/webm;codecs=vp9", "webm"], ["video/webm", "webm"], ["video/mp4", "mp4"]];

  const save = (name, blob) => {
    const link = document.createElement("a"), url = URL.createObjectURL(blob);
    link.href = url;
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 5000);
    app.report(`Saved ${name}.`);
  };

  /** Draw the panels that can be seen, side by side with their titles, on a sheet of the right size. */
  const compose = (sheet) => {
    const seen = KINDS.filter((kind) => canvases[kind].clientWidth), colours = draw.theme($("x-page"));
    const first = canvases[seen[0]], scale = first.width / first.clientWidth, pen = sheet.getContext("2d");
    const width = seen.reduce((sum, kind) => sum + canvases[kind].width + GAP * scale, GAP * scale), height = first.height + (HEAD + GAP) * scale;
    // Films want an even number of pixels; setting a size empties a canvas, so it is set only where it differs.
    const size = [width, height].map((x) => 2 * Math.ceil(x / 2));
    if (sheet.width !== size[0] || sheet.height !== size[1]) [sheet.width, sheet.height] = size;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = colours.paper;
    pen.fillRect(0, 0, sheet.width, sheet.height);
    pen.scale(scale, scale);
    pen.fillStyle = colours.ink;
    pen.font = "600 16px system-ui, sans-serif";
    pen.fillText(`${state.setup.title.slice(0, 80)}   ${app.said()}`, GAP, 24);
    pen.font = "14px system-ui, sans-serif";
    let left = GAP;
    for (const kind of seen) {
      pen.fillText($(kind === "hardmax" ? "x-hard-title" : "x-soft-title").textContent, left, 48);
      pen.drawImage(canvases[kind], left, HEAD, canvases[kind].clientWidth, canvases[kind].clientHeight);
      left += canvases[kind].clientWidth + GAP;
    }
    return sheet;
  };

  /** A sheet of what is shown now; a panel that was hidden a moment ago is drawn first. */
  const composed = () => {
    app.render();
    return compose(document.createElement("canvas"));
  };

  const picture = () => composed().toBlob((blob) => save("explored.png", blob), "image/png");

  // ---- film ----

  let recorder = null, sheet = null;

  /** Record one run from its start to its end, as it is played. */
  const film = () => {
    if (recorder) return recorder.stop();
    const [type, ending] = typeof MediaRecorder === "undefined" ? [] : FILMS.find(([kind]) => MediaRecorder.isTypeSupported(kind)) ?? [];
    if (!type) return app.complain("This browser cannot record. Save pictures instead, or open the page in another browser.");
    sheet = composed();
    const parts = [];
    recorder = new MediaRecorder(sheet.captureStream(30), { mimeType: type, videoBitsPerSecond: 6e6 });
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", () => {
      recorder = null;
      app.play(false);
      $("x-film").textContent = "● Record";
      save(`explored.${ending}`, new Blob(parts, { type: type.split(";")[0] }));
    });
    recorder.start();
    $("x-film").textContent = "■ Stop recording";
    app.report("Recording one run from its start.");
    state.position = 0;
    app.play(true);
  };

  /** Copy what is shown into the film; the film ends with the run. */
  const filmed = () => {
    if (!recorder) return;
    compose(sheet);
    if (!state.playing && recorder.state === "recording") recorder.stop();
  };

  // ---- link ----

  const copyLink = async () => {
    const link = app.linked();
    $("x-link").hidden = false;
    $("x-link-text").value = link;
    $("x-link-command").value = `tokendyn simulate '${link}'`;
    $("x-link-text").select();
    try {
      await navigator.clipboard.writeText(link);
      app.report("The link is copied.");
    } catch {
      app.report("Copy the link from the field.");
    }
  };

  const listenRecord = () => {
    $("x-save").addEventListener("click", () => save("explored.json", new Blob([JSON.stringify(settings.write(state.setup, app.finish()))], { type: "application/json" })));
    $("x-png").addEventListener("click", picture);
    $("x-film").addEventListener("click", film);
    $("x-copy").addEventListener("click", copyLink);
    $("x-link-close").addEventListener("click", () => ($("x-link").hidden = true));
  };

  Object.assign(app, { filmed, listenRecord });
})();

// A tour of six steps for people who know none of the papers: what a token, attention, a layer and a leader are.
(() => {
  "use strict";
  const app = tokendynApp, core = tokendynCore;
  const { $, state, data, show } = app, { element } = app;
  const PRESET = "emerging-leader";

  const names = (tokens) => tokens.map((token) => state.setup.labels[token]).join(", ");

  /** The tokens that score themselves highest at a layer of the hardmax run. */
  const leaders = (layer) => {
    const follow = state.shown.hardmax.leaders[layer];
    return follow ? Array.from(follow.keys()).filter((token) => follow[token] === token) : [];
  };

  /** On a phone one panel is shown at a time. */
  const look = (which) => document.querySelector(`input[name=x-which][value=${which}]`).click();

  const start = ({ position = 0, links = true, projected = false, cells = false } = {}) => {
    app.choose(PRESET);
    for (const [name, on] of Object.entries({ links, projected, cells, hull: false, trails: false })) app.shown(name, on);
    state.position = position;
    look("hardmax");
  };

  let wanted = "";
  const STEPS = [
    {
      title: "Tokens are points",
      text: ["A transformer reads a text as a set of points, one for each word. Such a point is a token. Here are eight tokens in a plane, with numbers as names.", "There are two pictures of the same eight. Look at the one called Hardmax first: it is the simpler one."],
      set: () => start({ links: false }),
    },
    {
      title: "Each token looks at one token",
      text: ["This is attention. A token gives every token a score, itself too. The score is high for tokens far out in the direction in which it lies itself, seen from the centre (0, 0). It looks at the token with the highest score.", "Each line has an arrow head: it points from a token to the one it looks at."],
      set: () => start(),
    },
    {
      title: "A layer is one step",
      text: ["In each layer every token goes a third of the way to the token it looks at. A deep transformer repeats this, layer after layer.", "Press “One layer” a few times, and watch who moves and who does not."],
      set: () => start(),
      action: ["One layer", () => app.seek(Math.floor(state.position) + 1)],
    },
    {
      title: "A leader looks at itself",
      text: ["A token that gives its highest score to itself looks at itself. It has nowhere to go, so it stays: it is a leader (★). All others look at someone else, and in the end each walks up to a leader.", "A leader leads for ever, and new ones can appear. Press “Play”."],
      set: () => start(),
      action: ["Play", () => app.play(true)],
      said: () => `Leaders now: ${names(leaders(Math.min(Math.floor(state.position), state.shown.hardmax.leaders.length - 1))) || "being computed"}.`,
    },
    {
      title: "Softmax looks at everybody a little",
      text: ["Real transformers do not look at one token only. In the picture called Softmax each token spreads its attention: much to high scores, little to low ones. β says how sharply. With large β it is nearly the same as Hardmax; with small β all tokens run together, and none leads.", "Slide β down and up, and play again."],
      set: () => { start({ projected: true }); look("softmax"); },
      action: ["Play", () => app.play(true)],
      lit: "x-beta",
    },
    {
      title: "Your turn: make a leader",
      text: ["Before you play, the crosses (×) show where the theorem says that tokens will end. Drag token 7 away from the others and far out, until it looks at itself and gets a star.", "By keyboard: go to the Hardmax picture with Tab, press N until 7 has a ring, then move it with shift and the arrows."],
      set: () => { start({ projected: true, cells: true }); wanted = names(leaders(0)); },
      said: () => {
        const now = names(leaders(0));
        wanted ||= now;
        return !now || now === wanted ? `Leaders at the start: ${now || "being computed"}.` : `Done: at the start, the leaders are now ${now}.`;
      },
    },
  ];

  let step = -1, kept = null, spoken = "";

  const go = (next) => {
    if (step < 0) kept = { ...show };
    app.play(false);
    step = next;
    const { title, text, set, action, lit } = STEPS[step];
    wanted = "";
    set();
    $("x-tour").hidden = false;
    $("x-invite").hidden = true;
    $("x-tour-title").textContent = `${step + 1} of ${STEPS.length}: ${title}`;
    $("x-tour-text").replaceChildren(...text.map((part) => element("p", {}, part)));
    $("x-tour-back").disabled = step === 0;
    $("x-tour-next").textContent = step === STEPS.length - 1 ? "Finish" : "Next";
    $("x-tour-action").hidden = !action;
    $("x-tour-action").textContent = action?.[0] ?? "";
    document.querySelectorAll(".x-lit").forEach((node) => node.classList.remove("x-lit"));
    if (lit) $(lit).parentElement.classList.add("x-lit");
    spoken = "";
    document.body.classList.add("x-touring");
    document.body.classList.toggle("x-thumbing", Boolean(lit));
    $("x-tour-title").focus({ preventScroll: true });
    $("x-tour").scrollIntoView({ block: "nearest" });
  };

  const close = () => {
    step = -1;
    document.querySelectorAll(".x-lit").forEach((node) => node.classList.remove("x-lit"));
    document.body.classList.remove("x-touring", "x-thumbing");
    $("x-tour").hidden = true;
    $("x-invite").hidden = false;
    for (const [name, on] of Object.entries(kept)) app.shown(name, on);
    $("x-tour-start").focus({ preventScroll: true });
  };

  /** What the tour says about the moment; called at each frame. */
  const tell = () => {
    if (step < 0) return;
    const text = STEPS[step].said?.() ?? "";
    if (text !== spoken) $("x-tour-said").textContent = spoken = text;
    $("x-tour-said").hidden = !text;
  };

  const listenTour = () => {
    $("x-invite").hidden = !Object.hasOwn(data.settings, PRESET);
    $("x-tour-start").addEventListener("click", () => go(0));
    $("x-tour-back").addEventListener("click", () => go(step - 1));
    $("x-tour-next").addEventListener("click", () => (step === STEPS.length - 1 ? close() : go(step + 1)));
    $("x-tour-action").addEventListener("click", () => STEPS[step].action[1]());
    $("x-tour-close").addEventListener("click", close);
  };

  Object.assign(app, { tell, listenTour });
})();

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

  /** Said where there are two pictures and a keyboard, or where there are a phone and a finger. */
  const either = (wide, narrow) => (app.phone.matches ? narrow : wide);

  /** On a phone one panel is shown at a time. */
  const look = (which) => document.querySelector(`input[name=x-which][value=${which}]`).click();

  const start = ({ plain = false, links = true, projected = false, cells = false } = {}) => {
    app.choose(PRESET);
    for (const [name, on] of Object.entries({ links, projected, cells, hull: false, trails: false })) app.shown(name, on);
    state.plain = plain;
    look("hardmax");
  };

  let wanted = "";
  const STEPS = [
    {
      title: "Tokens are points",
      text: () => ["A transformer reads a text as a set of points, one for each word. Such a point is a token. Here are eight tokens in a plane, with numbers as names.", either("There are two pictures of the same eight. Look at the one called Hardmax first: it is the simpler one.", "The picture is called Hardmax: this is the simpler of two ways to attend. Softmax comes in step 5.")],
      set: () => start({ plain: true, links: false }),
    },
    {
      title: "Each token looks at one token",
      text: () => ["This is attention. A token gives every token a score, itself too. Seen from (0, 0), a token scores those highly that lie far out in its own direction. It looks at the token with the highest score.", "Each line has an arrow head: it points from a token to the one it looks at."],
      set: () => start({ plain: true }),
    },
    {
      title: "A layer is one step",
      text: () => ["In each layer every token goes a third of the way to the token it looks at (the slider α sets how far). A deep transformer repeats this, layer after layer.", "Press “One layer” a few times, and watch who moves and who does not."],
      set: () => start({ plain: true }),
      lit: ["x-alpha"],
      action: ["One layer", () => app.seek(Math.floor(state.position) + 1)],
    },
    {
      title: "A leader looks at itself",
      text: () => ["Back at the start. A token that gives its highest score to itself looks at itself. It has nowhere to go, so it stays: it is a leader (★). All others look at someone else, and have the colour of the leader at the end of the arrows.", `Press Play, below the ${either("pictures", "picture")}, and watch token 1. New leaders can appear, and with hardmax a leader leads for ever. Here each token ends at a leader. Tokens that end together are a cluster.`],
      set: () => start(),
      lit: ["x-play"],
      said: () => `Leaders now: ${names(leaders(Math.min(Math.floor(state.position), state.shown.hardmax.leaders.length - 1))) || "being computed"}.`,
    },
    {
      title: "Softmax looks at all",
      text: () => [`Real transformers do not look at one token only. ${either("In the picture called Softmax", "With softmax")} each token spreads its attention: much to high scores, little to low ones. β says how sharply. A star is now a token that looks most at itself.`, "Set β, and press Play. With very large β (try 1000) it is nearly the same as Hardmax. With less, leaders drift: at β = 20, token 1 is lost to 2. With small β (try 1) all tokens run into one point."],
      set: () => { start(); look("softmax"); },
      lit: ["x-beta", "x-play"],
    },
    {
      title: "Your turn: make a leader",
      text: () => [
        "Back at the start. A cross (×) shows where hardmax tokens end, by a theorem and known before you play; the colour behind shows whom a token there would follow. Drag token 7 away from the others and far out, until it looks at itself and gets a star.",
        ...(app.phone.matches || app.low.matches ? [] : ["By keyboard: go to the Hardmax picture with Tab, press P once so that 7 has a ring, then press Shift and ↑ a few times."]),
      ],
      set: () => {
        start({ projected: true, cells: true });
        // Room for the token to go far out.
        state.view.radius *= 1.4;
        wanted = names(leaders(0));
      },
      lit: ["x-play"],
      said: () => {
        const now = names(leaders(0));
        wanted ||= now;
        return !now || now === wanted ? `Leaders at the start: ${now || "being computed"}.` : `Done: at the start, the leaders are now ${now}. Now press Play.`;
      },
    },
  ];

  let step = -1, kept = null, spoken = null;

  /** The height that the tour leaves to the pictures follows that of its text, also when a phone is turned. */
  const measure = () => document.body.style.setProperty("--x-tour-high", `${$("x-tour").offsetHeight}px`);

  const go = (next) => {
    if (step < 0) kept = { ...show };
    app.play(false);
    step = next;
    const { title, text, set, action, lit = [] } = STEPS[step];
    wanted = "";
    document.body.classList.add("x-touring");
    document.body.classList.toggle("x-thumbing", lit.some((id) => $(id).closest(".x-row")));
    app.placeSliders();
    set();
    $("x-tour").hidden = false;
    $("x-invite").hidden = true;
    $("x-tour-title").textContent = `${step + 1} of ${STEPS.length}: ${title}`;
    $("x-tour-text").replaceChildren(...text().map((part) => element("p", {}, part)));
    $("x-tour-back").disabled = step === 0;
    $("x-tour-next").textContent = step === STEPS.length - 1 ? "Finish" : "Next";
    $("x-tour-action").hidden = !action;
    $("x-tour-action").textContent = action?.[0] ?? "";
    document.querySelectorAll(".x-lit").forEach((node) => node.classList.remove("x-lit"));
    lit.forEach((id) => ($(id).closest(".x-row") ?? $(id)).classList.add("x-lit"));
    spoken = null;
    $("x-tour-title").focus({ preventScroll: true });
    measure();
    $("x-tour").scrollIntoView({ block: "start" });
  };

  const finish = () => {
    close();
    $("x-invite-text").textContent = "That was the tour. Try another preset, above the pictures; the legend below them says what lines and colours mean.";
    $("x-tour-start").textContent = "Take the tour again";
  };

  const close = () => {
    step = -1;
    state.plain = false;
    app.fit();
    document.querySelectorAll(".x-lit").forEach((node) => node.classList.remove("x-lit"));
    document.body.classList.remove("x-touring", "x-thumbing");
    app.placeSliders();
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
  };

  const listenTour = () => {
    new ResizeObserver(measure).observe($("x-tour"));
    $("x-invite").hidden = !Object.hasOwn(data.settings, PRESET);
    $("x-tour-start").addEventListener("click", () => go(0));
    $("x-tour-back").addEventListener("click", () => go(step - 1));
    $("x-tour-next").addEventListener("click", () => (step === STEPS.length - 1 ? finish() : go(step + 1)));
    $("x-tour-action").addEventListener("click", () => STEPS[step].action[1]());
    $("x-tour-close").addEventListener("click", close);
  };

  Object.assign(app, { tell, listenTour });
})();

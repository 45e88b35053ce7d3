"""The explorer page in a browser: opened and watched, waited for, and read."""

import time

import numpy as np

from tokendyn.show.explorer import write_explorer


def opened(browser, folder, settings, **context):
    """Return the page of some settings; its ``problems`` are errors, and what it asks of a network."""
    file = folder / "explorer.html"
    write_explorer(settings, next(iter(settings)), file)
    page = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True, **context).new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda sent: None if sent.url.startswith(("file:", "blob:", "data:")) else page.problems.append(sent.url),
    )
    page.goto(file.as_uri())
    return page


def settle(page):
    """Wait until the page has computed what is shown."""
    until = time.monotonic() + 30
    done = "Object.values(s.shown).every((run) => run.done())"
    while not page.evaluate(f"(() => {{ const s = tokendynExplorer.state; return !s.dirty && {done}; }})()"):
        assert time.monotonic() < until
        page.wait_for_timeout(20)


def drawn(page):
    """Wait until the page has computed and drawn."""
    settle(page)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def setup_of(page, name):
    """Return a setting of the page, as an array where it is one."""
    plain = "value && value.length !== undefined ? Array.from(value) : value"
    value = page.evaluate(f"(() => {{ const value = tokendynExplorer.state.setup.{name}; return {plain}; }})()")
    return np.array(value) if isinstance(value, list) else value


def place_of(page, token, canvas="#x-hard"):
    """Return where a token of the plane is at its start, in pixels of the window."""
    page.locator(canvas).scroll_into_view_if_needed()
    return page.evaluate(
        """([token, name]) => {
          const { state } = tokendynExplorer, c = document.querySelector(name), box = c.getBoundingClientRect();
          const scale = (Math.min(c.clientWidth, c.clientHeight) / 2 - 8) / state.view.radius;
          const [x, y] = state.setup.tokens.slice(2 * token, 2 * token + 2), [left, top] = state.view.centre;
          return [box.left + c.clientLeft + c.clientWidth / 2 + (x - left) * scale,
                  box.top + c.clientTop + c.clientHeight / 2 - (y - top) * scale, scale];
        }""",
        [token, canvas],
    )

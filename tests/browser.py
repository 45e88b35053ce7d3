"""Pages opened in a browser: whether anything that a user gave runs, is loaded, or is taken for markup."""

import shutil
from dataclasses import dataclass, field

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

#: What may stand in the name of a file: an element that runs, quotes, signs of templates and of mathematics.
EVIL_NAME = "<img src=x onerror=stolen=1>\"'&{{7*7}}${7*7}$\\frac{"
#: What may stand in a text: it also ends scripts and comments, and is a link.
EVIL = (
    "</script><script>stolen=2</script></style><svg onload=stolen=3><a href='javascript:stolen=4'>press</a>"
    f"-->{{% raw %}}{EVIL_NAME}"
)


@dataclass
class Seen:
    """What a page did when it was opened."""

    text: str = ""
    problems: list[str] = field(default_factory=list)


def seen(browser, path):
    """Open a page with its own security policy switched off, press what can be pressed, and say what happened.

    Without the policy nothing but the escaping of texts stands between what a user gave and the browser.
    """
    context = browser.new_context(bypass_csp=True)
    found, page = Seen(), context.new_page()
    page.on("dialog", lambda dialog: (found.problems.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: found.problems.append(f"error {error}"))
    page.on("request", lambda sent: _note(found, sent.url, path))
    page.goto(path.as_uri())
    found.problems += page.evaluate(_PRESS)
    if page.evaluate("typeof stolen") != "undefined":
        found.problems.append(f"script {page.evaluate('stolen')} ran")
    made = "Array.from(document.querySelectorAll('[onerror], [onload], iframe, object, embed, form, base'))"
    found.problems += page.evaluate(f"{made}.map(element => 'element ' + element.outerHTML.slice(0, 200))")
    found.text = page.evaluate("document.body.textContent")
    context.close()
    return found


#: Press everything, each in a task of its own, and return the links that lead out of the page.
_PRESS = """async () => {
  const out = [];
  for (const pressed of document.querySelectorAll("a, summary, button")) {
    const href = pressed.getAttribute("href");
    if (href && !href.startsWith("#")) out.push("link " + href);
    pressed.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, composed: true }));
    await new Promise((done) => setTimeout(done));
  }
  return out;
}"""


def _note(found, url, path):
    if url.split("#")[0] != path.as_uri() and not url.startswith("data:"):
        found.problems.append(f"request {url[:200]}")

"""The admin page in a real browser: headless Chromium against a running admin server.

    page.py BASE_URL SCREENSHOT.png [--dark] [--width PIXELS] [--token TOKEN] [--panel]

Wants at least one address in /status, and forces the first one down and releases it again. One
line a check; the first that does not hold ends it with code 1. --panel leaves the details open in
the screenshot. Needs a `chromium` and nothing else: it is spoken to by its own pipe.
"""

import argparse
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

DEADLINE = 15
SCHEMES = ("light", "dark")


class Surprise(Exception):
    pass


class Browser:
    """Chromium, by the DevTools protocol: messages end with a zero byte, on its files 3 and 4."""

    def __init__(self, folder, *more):
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if not program:
            raise Surprise("there is no chromium; Debian's package is `chromium`")
        told, self.tell = os.pipe()
        self.heard, tells = os.pipe()
        # Out of the way of 3 and 4 first, whichever numbers the pipes have got.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (told, tells)]
        arguments = [
            program, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={folder}",
            "--no-first-run", "--no-proxy-server", "--disable-gpu", "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-extensions", "--hide-scrollbars", *more, "about:blank",
        ]
        if os.geteuid() == 0:
            arguments.insert(1, "--no-sandbox")

        def give():
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self.errors = open(os.path.join(folder, "stderr"), "w+b")
        self.process = subprocess.Popen(
            arguments, preexec_fn=give, pass_fds=(3, 4), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self.errors)
        for end in (told, tells, *ends):
            os.close(end)
        self.buffer = b""
        self.last = 0
        self.session = None
        self.complaints = []

    def read(self, until):
        while b"\0" not in self.buffer:
            if not select.select([self.heard], [], [], max(0, until - time.monotonic()))[0]:
                raise Surprise("the browser does not answer")
            piece = os.read(self.heard, 1 << 20)
            if not piece:
                self.errors.seek(0)
                said = self.errors.read().decode(errors="replace").strip().splitlines()[-3:]
                raise Surprise(f"the browser ended: {' | '.join(said)}")
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.tell, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 2 * DEADLINE
        while True:
            answer = self.read(until)
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise Surprise(f"{method}: {answer['error'].get('message')}")
                return answer["result"]
            self.note(answer)

    def note(self, event):
        """Keeps what a developer would see in red."""
        told = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                details = told["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "assert", "warning"):
                words = (str(one.get("value", one.get("description"))) for one in told["args"])
                self.complaints.append(" ".join(words))
            case "Log.entryAdded" if told["entry"]["level"] in ("error", "warning"):
                entry = told["entry"]
                self.complaints.append(f"{entry['text']} ({entry.get('url', 'no url')})")

    def open(self, url, width, scheme):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=1000,
                  deviceScaleFactor=2 if width < 500 else 1, mobile=False)
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.scheme(scheme)
        self.call("Page.addScriptToEvaluateOnNewDocument", source="""
            window.violations = [];
            document.addEventListener("securitypolicyviolation",
                (event) => violations.push(`${event.violatedDirective}: ${event.blockedURI}`));
        """)
        error = self.call("Page.navigate", url=url).get("errorText")
        if error:
            raise Surprise(f"{url}: {error}")
        self.until("the page", f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    def scheme(self, scheme):
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"}])

    def ask(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise Surprise(f"{expression}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    def until(self, what, expression):
        """Waits for the expression to hold, and gives its value."""
        end = time.monotonic() + DEADLINE
        while not (value := self.ask(expression)):
            if time.monotonic() > end:
                raise Surprise(f"{what}: not within {DEADLINE} s ({'; '.join(self.complaints) or 'no complaints'})")
            time.sleep(0.05)
        return value

    def key(self, key, code=0, text=""):
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def enter(self):
        self.key("Enter", 13, "\r")

    def tab_to(self, selector):
        for _ in range(80):
            self.key("Tab", 9)
            if self.ask(f"document.activeElement.matches({json.dumps(selector)})"):
                return
        raise Surprise(f"80 times Tab did not reach {selector}")

    def click(self, selector):
        x, y = self.ask(f"""(() => {{
            const one = document.querySelector({json.dumps(selector)});
            one.scrollIntoView({{ block: "center" }});
            const box = one.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.errors.close()


def expect(what, found, expected=True):
    if found != expected:
        raise Surprise(f"{what}: found {found!r}, expected {expected!r}")


def say(what):
    print(f"page: {what}", flush=True)


def status(options):
    request = urllib.request.Request(f"{options.base}/status")
    if options.token:
        request.add_header("Authorization", f"Bearer {options.token}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=DEADLINE) as answer:
        return json.load(answer)


def addresses(told):
    """Every address of a status once, in the page's first and later places alike."""
    named = [one["address"] for upstream in told.get("upstreams", []) for one in upstream["endpoints"]]
    return sorted({*named, *(one["address"] for one in told.get("health", []))})


def check(browser, options):
    scheme = "dark" if options.dark else "light"
    browser.open(f"{options.base}/", options.width, scheme)
    if options.token:
        browser.until("the dialog for the token", "document.getElementById('token').open")
        # Until it has the token, the page's own first question is refused, and the log says so.
        browser.complaints = [one for one in browser.complaints if "401" not in one]
        browser.call("Input.insertText", text=options.token)
        browser.enter()
    browser.until("the first status", "document.getElementById('uptime').textContent !== '–'")
    expected = addresses(status(options))
    expect("addresses in /status, of which it needs one", bool(expected))
    rows = "[...document.querySelectorAll('#table tr[data-address]')]"
    shown = browser.until("rows of addresses", f"{rows}.map((row) => row.querySelector('.address').textContent)")
    missing = [one for one in expected if one not in shown]
    expect("addresses of /status that the page does not show", missing[:3] if len(shown) < 200 else [], [])
    expect("a state in words in every row", browser.ask(f"{rows}.every((row) => row.querySelector('.state').textContent)"))
    say(f"it loads, and shows {len(shown)} addresses")

    expect("wider than the window", browser.ask("document.documentElement.scrollWidth > innerWidth"), False)
    grounds = {}
    for one in (*SCHEMES, scheme):
        browser.scheme(one)
        grounds[one] = browser.ask("getComputedStyle(document.documentElement).backgroundColor")
    expect("another ground in the dark", grounds["light"] != grounds["dark"])
    say(f"it is {grounds['light']} by day and {grounds['dark']} by night, and fits {options.width} px")

    browser.tab_to("button.address")
    address = browser.ask("document.activeElement.textContent")
    state = f"{rows}.find((row) => row.dataset.address === {json.dumps(address)}).querySelector('.state').textContent"
    before = browser.ask(state)
    browser.enter()
    browser.until("the details after Enter", "!document.getElementById('panel').hidden")
    expect("title of the details", browser.ask("document.getElementById('panel-title').textContent"), address)
    expect("focus in the details", browser.ask("document.getElementById('panel').contains(document.activeElement)"))
    browser.until("the journal", "document.querySelector('#journal li, #journal-none:not([hidden])') !== null")
    say(f"Enter opens the details of {address}, which is {before.lower()}")

    browser.click("[data-order='down']")
    browser.until("the row after Force down", f"{state} === 'Forced down'")
    browser.until("the details after Force down", "document.getElementById('panel-state').textContent === 'Forced down'")
    browser.until("an answer in words", "document.getElementById('panel-answer').textContent")
    if options.panel:
        picture(browser, options)
    browser.tab_to("[data-order='release']")
    browser.enter()
    browser.until("the row after Release", f"{state} !== 'Forced down'")
    say("Force down by the mouse and Release by the keyboard change what is shown")

    browser.key("Escape", 27)
    browser.until("no details after Escape", "document.getElementById('panel').hidden")
    expect("focus after Escape", browser.ask("document.activeElement.textContent"), address)
    say("Escape closes the details, and the focus is back")

    if not options.panel:
        picture(browser, options)
    expect("violations of the content security policy", browser.ask("violations"), [])
    expect("what the console complained of", browser.complaints, [])
    say("no violation of the content security policy, and nothing in the console")


def picture(browser, options):
    # One more answer, so that the rates have something to be drawn from.
    shown = "document.querySelector('#tiles .line').getAttribute('d').includes('L')"
    browser.until("two points of a rate", shown)
    taken = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=not options.panel)
    with open(options.screenshot, "wb") as file:
        file.write(base64.b64decode(taken["data"]))


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].strip())
    parser.add_argument("base", type=lambda url: url.rstrip("/"))
    parser.add_argument("screenshot")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--panel", action="store_true")
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--token")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = None
        try:
            browser = Browser(folder)
            check(browser, options)
        except (Surprise, OSError) as error:
            print(f"page: not ok: {error}", flush=True)
            sys.exit(1)
        finally:
            if browser:
                browser.end()


if __name__ == "__main__":
    main()

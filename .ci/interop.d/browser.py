"""Chromium without a window, spoken to by its own pipe; nothing else is needed. What is expected of a
page is said with it: page.py, secure.py and shown.py, each beside its part, find it by PYTHONPATH.
"""

import fcntl
import json
import os
import select
import shutil
import subprocess
import time

DEADLINE = 15


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

"""A site's page in headless Chromium, by TLS: which protocol, which key exchange, and a WebSocket.

    secure.py PORT HASH_OF_KEY      the site `shop.test`; the hash is SHA-256 of its public key, base64
"""

import sys
import tempfile

from browser import Browser, Surprise, expect


class Watcher(Browser):
    """One that keeps how each answer was secured."""

    groups = None

    def note(self, event):
        super().note(event)
        if event.get("method") == "Network.responseReceived":
            response = event["params"]["response"]
            if details := response.get("securityDetails"):
                self.groups = (self.groups or set()) | {details.get("keyExchangeGroup")}


def check(browser, port):
    browser.open(f"https://shop.test:{port}/page.html", 800, "light")
    said = browser.until("the WebSocket", "window.said && said.length === 2 ? said : null")
    expect("what the WebSocket said", said, ["welcome", "from the page"])
    protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
    expect("protocol", browser.ask(protocol), "h2")
    body = browser.ask("fetch('/text.txt').then((answer) => answer.text()).then((text) => text.length)")
    expect("length of a text that is fetched", body, 1288895)
    expect("key exchange", browser.groups, {"X25519MLKEM768"})
    own = [one for one in browser.complaints if "favicon" not in one]
    expect("what the console complained of", own, [])


def main():
    port, key = sys.argv[1:]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = None
        try:
            browser = Watcher(folder, f"--ignore-certificate-errors-spki-list={key}",
                              "--host-resolver-rules=MAP shop.test 127.0.0.1")
            check(browser, port)
        except (Surprise, OSError) as error:
            sys.exit(str(error))
        finally:
            if browser:
                browser.end()


if __name__ == "__main__":
    main()

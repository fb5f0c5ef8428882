"""The admin page in a real browser: headless Chromium against a running admin server.

    page.py BASE_URL SCREENSHOT.png [--dark] [--width PIXELS] [--token TOKEN] [--panel]

Wants at least one address in /status, and forces the first one down and releases it again. One
line a check; the first that does not hold ends it with code 1. --panel leaves the details open in
the screenshot.
"""

import argparse
import base64
import json
import sys
import tempfile
import urllib.request

from browser import DEADLINE, Browser, Surprise, expect

SCHEMES = ("light", "dark")


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

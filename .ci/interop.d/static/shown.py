"""Files in headless Chromium: a page with all that a page has, and a listing.

    shown.py make FOLDER FONT               a page, a sound, a service worker and what they need
    shown.py page PORT FOLDER               shows it; takes a file away that the worker has kept
    shown.py listing PORT PATH FOLDER NAME  on a phone, in the dark, by keyboard, to the folder NAME
"""

import pathlib
import shutil
import struct
import sys
import tempfile

from browser import Browser, Surprise, expect

# Five minutes of silence: more than a browser reads ahead.
RATE, MINUTES = 44_100, 5
SOUND_BYTES = RATE * 4 * 60 * MINUTES
PAGE = """<!doctype html><html lang=en><meta charset=utf-8><title>A page</title>
<link rel=icon href=picture.svg><link rel=stylesheet href=style.css>
<img id=picture src=picture.svg alt="A square">
<audio id=sound preload=auto src=sound.wav></audio>
<p id=words>Words</p>
<script type=module src=module.mjs></script>
"""
FILES = {
    "index.html": PAGE,
    "style.css": "@font-face { font-family: Shown; src: url(font.ttf) }\n#words { font-family: Shown; color: rgb(1, 2, 3) }\n",
    "module.mjs": "import { word } from './deep/word.js';\nwindow.word = word;\n",
    "deep/word.js": "export const word = 'said';\n",
    "picture.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><rect width="40" height="40"/></svg>',
    "told.json": '{"told": true}',
    "kept.html": "<!doctype html><link rel=icon href=data:,><title>Kept</title>",
    "worker.js": """
self.addEventListener("install", (event) => {
    event.waitUntil(caches.open("kept").then((cache) => cache.add("/kept.html")).then(() => self.skipWaiting()));
});
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
    if (new URL(event.request.url).pathname === "/kept.html") event.respondWith(caches.match("/kept.html"));
});
""",
}
# The smallest module there is.
WASM = b"\0asm\1\0\0\0"


def make(folder, font):
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "empty.wasm").write_bytes(WASM)
    shutil.copy(font, folder / "font.ttf")
    with open(folder / "sound.wav", "wb") as sound:
        sound.write(b"RIFF" + struct.pack("<I", 36 + SOUND_BYTES) + b"WAVEfmt ")
        sound.write(struct.pack("<IHHIIHH", 16, 1, 2, RATE, RATE * 4, 4, 16) + b"data" + struct.pack("<I", SOUND_BYTES))
        sound.truncate(44 + SOUND_BYTES)


class Watcher(Browser):
    """One that keeps which parts of files it was answered with."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.parts = []

    def note(self, event):
        super().note(event)
        if event.get("method") == "Network.responseReceived":
            response = event["params"]["response"]
            fields = {name.lower(): value for name, value in response["headers"].items()}
            if response["status"] == 206:
                self.parts.append(fields["content-range"])


def page(browser, port, folder):
    browser.open(f"http://127.0.0.1:{port}/", 800, "light")
    expect("the module", browser.until("the module", "window.word"), "said")
    expect("the style", browser.ask("getComputedStyle(document.getElementById('words')).color"), "rgb(1, 2, 3)")
    expect("the picture", browser.until("the picture", "document.getElementById('picture').naturalWidth"), 40)
    expect("the font", browser.ask("document.fonts.load('16px Shown').then((fonts) => fonts.map((font) => font.status))"),
           ["loaded"])
    expect("JSON", browser.ask("fetch('told.json').then((answer) => answer.json())"), {"told": True})
    expect("WebAssembly", browser.ask(
        "WebAssembly.compileStreaming(fetch('empty.wasm')).then((found) => found instanceof WebAssembly.Module)"))

    sound = "document.getElementById('sound')"
    expect("its length", browser.until("the sound", f"{sound}.readyState > 0 && {sound}.duration"), 60 * MINUTES)
    browser.ask(f"""new Promise((found, failed) => {{
        const sound = {sound};
        sound.onseeked = () => found(true);
        sound.onerror = () => failed(new Error(sound.error.message));
        sound.currentTime = {60 * MINUTES - 5};
    }})""")
    browser.until("the sound there", f"{sound}.readyState >= 2 && {sound}.currentTime === {60 * MINUTES - 5}")
    starts = [int(part.split()[1].split("-")[0]) for part in browser.parts if part.endswith(f"/{44 + SOUND_BYTES}")]
    if not any(start > SOUND_BYTES // 2 for start in starts):
        raise Surprise(f"it has looked for the end of the sound without asking for it: {browser.parts}")

    expect("the worker", browser.ask("""
        navigator.serviceWorker.register("/worker.js").then(() => navigator.serviceWorker.ready)
            .then((ready) => ready.active.scriptURL.endsWith("/worker.js"))"""))
    browser.until("a page with its worker", "navigator.serviceWorker.controller !== null")
    # From now on nobody has it but the worker.
    browser.call("Network.setCacheDisabled", cacheDisabled=True)
    (folder / "kept.html").unlink()
    expect("the worker's page", browser.ask("fetch('/kept.html').then((answer) => answer.text())"), FILES["kept.html"])
    browser.call("Page.navigate", url=f"http://127.0.0.1:{port}/kept.html")
    browser.until("the worker's page, shown", "document.title === 'Kept'")
    expect("what the console complained of", browser.complaints, [])


def listing(browser, port, path, folder, name):
    here = f"http://127.0.0.1:{port}{path}"
    browser.open(here, 360, "light")
    expect("wider than a phone", browser.ask("document.documentElement.scrollWidth > innerWidth"), False)
    grounds = []
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        grounds.append(browser.ask("getComputedStyle(document.documentElement).backgroundColor + ' ' + "
                                   "getComputedStyle(document.body).backgroundColor + ' ' + "
                                   "getComputedStyle(document.body).color"))
    expect("another ground in the dark", grounds[0] != grounds[1])
    missing = [one for one in folder.iterdir() if not one.name.startswith(".") and one.is_dir() and not one.is_symlink()
               and not browser.ask(f"document.body.innerText.includes({one.name!r})")]
    expect("folders that are not shown", missing, [])
    expect("scripts that ran", browser.ask("window.alerted === undefined"))
    browser.tab_to(f"a[href$='{name}/']")
    browser.enter()
    browser.until("the folder after Enter", f"location.href === {here + name + '/'!r} && document.readyState === 'complete'")
    expect("violations of the content security policy", browser.ask("violations"), [])
    expect("what the console complained of", [one for one in browser.complaints if "favicon" not in one], [])


def main():
    order, *more = sys.argv[1:]
    if order == "make":
        make(pathlib.Path(more[0]), more[1])
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = None
        try:
            browser = Watcher(profile)
            if order == "page":
                page(browser, more[0], pathlib.Path(more[1]))
            else:
                listing(browser, more[0], more[1], pathlib.Path(more[2]), more[3])
        except (Surprise, OSError) as error:
            sys.exit(str(error))
        finally:
            if browser:
                browser.end()


if __name__ == "__main__":
    main()

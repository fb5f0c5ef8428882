"""Answers with files, looked at closely: parts, conditions, listings, and files that change.

    files.py ranges PORT PATH FILE          every kind of Range, bytes compared with FILE
    files.py conditions PORT PATH           every condition, in the order of RFC 9110 §13.2.2
    files.py listing PORT PATH FOLDER       each name leads to its file, in HTML and in JSON
    files.py huge FILE                      makes a file past 4 GiB, without its blocks
    files.py large PORT PATH FILE           all of it, and parts around 4 GiB
    files.py flip PORT PATH FILE SECONDS    a file that is replaced all the time: old or new, never both
"""

import concurrent.futures
import datetime
import email.parser
import email.utils
import html.parser
import http.client
import json
import os
import pathlib
import re
import socket
import sys
import time
import urllib.parse

SECONDS = 10
# Not zeros, at the start, on both sides of 4 GiB and at the end.
HUGE_BYTES = (1 << 32) + (1 << 26)
MARKS = {at: f"mark at {at:12}!".encode() for at in (0, (1 << 32) - 10, (1 << 32) + 4096, HUGE_BYTES - 21)}
PIECE = 1 << 20
# Parts of a few bytes each, that an answer must not be blown up by.
MANY_PARTS = 1000


class Surprise(Exception):
    pass


def same(what, found, expected):
    if found != expected:
        def brief(value):
            return repr(value if not isinstance(value, bytes) or len(value) < 80 else value[:70] + b"...")
        raise Surprise(f"{what}: found {brief(found)}, expected {brief(expected)}")


class Answer:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    def field(self, name):
        return self.fields.get(name)


def ask(port, path, fields=(), method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request(method, path, headers=dict(fields))
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


# --- Ranges -----------------------------------------------------------------------------------


def ranges(port, path, file):
    whole = pathlib.Path(file).read_bytes()
    size = len(whole)
    first = ask(port, path)
    same("the whole", first.body, whole)
    same("Accept-Ranges", first.field("accept-ranges"), "bytes")
    tag, date = first.field("etag"), first.field("last-modified")

    def part(text, start, end, **more):
        answer = ask(port, path, {"Range": text, **more})
        what = f"Range: {text} {more or ''}"
        same(f"status of {what}", answer.status, 206)
        same(f"Content-Range of {what}", answer.field("content-range"), f"bytes {start}-{end - 1}/{size}")
        same(f"bytes of {what}", answer.body, whole[start:end])
        same(f"tag of {what}", answer.field("etag"), tag)

    def all_of_it(text, method="GET", **more):
        answer = ask(port, path, {"Range": text, **more}, method)
        same(f"status of {method} with Range: {text} {more or ''}", answer.status, 200)
        same(f"bytes of {method} with Range: {text} {more or ''}", answer.body, whole if method == "GET" else b"")

    part("bytes=0-0", 0, 1)
    part("bytes=0-", 0, size)
    part(f"bytes={size // 3}-{size // 2}", size // 3, size // 2 + 1)
    part(f"bytes={size - 1}-", size - 1, size)
    part("bytes=-1", size - 1, size)
    part(f"bytes=-{size // 3}", size - size // 3, size)
    part(f"bytes=-{size + 5}", 0, size)
    part(f"bytes={size - 3}-{size + 99999}", size - 3, size)
    part(f"bytes={size - 3}-{1 << 70}", size - 3, size)
    part("Bytes=1-2", 1, 3)
    part("bytes= 1-2", 1, 3)
    part("bytes=1-2", 1, 3, **{"If-Range": tag})
    part("bytes=1-2", 1, 3, **{"If-Range": date})
    part("bytes=1-2", 1, 3, **{"If-Match": tag})
    all_of_it("bytes=1-2", **{"If-Range": '"another"'})
    all_of_it("bytes=1-2", **{"If-Range": f"W/{tag}"})
    all_of_it("bytes=1-2", **{"If-Range": "Thu, 01 Jan 1998 00:00:00 GMT"})
    all_of_it("bytes=1-2", **{"If-Range": "no date and no tag"})
    all_of_it("bytes=1-2", method="HEAD")
    for text in ("bytes=2-1", "bytes=a-b", "bytes=", "bytes", "bytes=-", "bytes=1", "bytes=1-2-3", "lines=1-2", "bytes=0x1-2",
                 "bytes=+1-2", "bytes=1-2;", "bytes=1-2, a"):
        all_of_it(text)
    for text in (f"bytes={size}-", f"bytes={size}-{size + 9}", f"bytes={1 << 70}-", "bytes=-0", f"bytes={size}-,{size + 1}-"):
        answer = ask(port, path, {"Range": text})
        same(f"status of Range: {text}", answer.status, 416)
        same(f"Content-Range of Range: {text}", answer.field("content-range"), f"bytes */{size}")
    several(port, path, whole, tag)


def several(port, path, whole, tag):
    size = len(whole)
    wanted = [(0, 5), (size // 2, size // 2 + 1000), (size - 7, size)]
    text = f"bytes=0-4, {size // 2}-{size // 2 + 999} ,-7"
    answer = ask(port, path, {"Range": text})
    same(f"status of Range: {text}", answer.status, 206)
    same(f"tag of Range: {text}", answer.field("etag"), tag)
    same("a length that is told", int(answer.field("content-length")), len(answer.body))
    found = parts(answer)
    same("parts", [where for where, _ in found], [f"bytes {start}-{end - 1}/{size}" for start, end in wanted])
    same("their bytes", b"".join(body for _, body in found), b"".join(whole[start:end] for start, end in wanted))
    # One that is not there does not take the others along.
    answer = ask(port, path, {"Range": f"bytes=1-2,{size}-"})
    same("status with one that is not there", (answer.status, answer.body), (206, whole[1:3]))
    # More than is asked for in good faith costs no more than the file.
    for text in (",".join(f"{at}-{at + 1}" for at in range(0, 4 * MANY_PARTS, 4)), ",".join(["0-"] * MANY_PARTS)):
        answer = ask(port, path, {"Range": f"bytes={text}"})
        if answer.status not in (200, 206, 416):
            raise Surprise(f"{MANY_PARTS} ranges: status {answer.status}")
        if len(answer.body) > size + 4096:
            raise Surprise(f"{MANY_PARTS} ranges: {len(answer.body)} bytes of a file of {size}")


def parts(answer):
    """Content-Range and bytes of each part, told apart by the boundary and by nothing else."""
    kind = answer.field("content-type")
    boundary = re.fullmatch(r'multipart/byteranges; *boundary="?([^"]+)"?', kind)
    if not boundary:
        raise Surprise(f"Content-Type of several: {kind}")
    mark = b"--" + boundary[1].encode()
    pieces = (b"\r\n" + answer.body).split(b"\r\n" + mark)
    same("behind the last part", pieces[-1], b"--\r\n")
    found = []
    for piece in pieces[1:-1]:
        head, _, body = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        fields = email.parser.BytesParser().parsebytes(head + b"\r\n\r\n")
        found.append((fields["content-range"], body))
    return found


# --- Conditions -------------------------------------------------------------------------------


def conditions(port, path):
    first = ask(port, path)
    tag, date = first.field("etag"), first.field("last-modified")
    if not re.fullmatch(r'"[0-9a-f]+-[0-9a-f]+"', tag):
        raise Surprise(f"ETag: {tag}")
    when = email.utils.parsedate_to_datetime(date)
    before, after = (email.utils.format_datetime(when + datetime.timedelta(seconds=by), usegmt=True) for by in (-60, 60))
    cases = [
        (304, {"If-None-Match": tag}),
        (304, {"If-None-Match": f"W/{tag}"}),
        (304, {"If-None-Match": f'"other", {tag}'}),
        (304, {"If-None-Match": f'"a,b" , W/"c",{tag}'}),
        (304, {"If-None-Match": "*"}),
        (200, {"If-None-Match": '"other"'}),
        (200, {"If-None-Match": tag.strip('"')}),
        (304, {"If-Modified-Since": date}),
        (304, {"If-Modified-Since": after}),
        (200, {"If-Modified-Since": before}),
        (200, {"If-Modified-Since": "yesterday"}),
        # The tag decides, whatever the date says.
        (200, {"If-None-Match": '"other"', "If-Modified-Since": after}),
        (304, {"If-None-Match": tag, "If-Modified-Since": before}),
        (200, {"If-Match": tag}),
        (200, {"If-Match": f'"other", {tag}'}),
        (200, {"If-Match": "*"}),
        (412, {"If-Match": '"other"'}),
        (412, {"If-Match": f"W/{tag}"}),
        (200, {"If-Unmodified-Since": date}),
        (412, {"If-Unmodified-Since": before}),
        (200, {"If-Unmodified-Since": "yesterday"}),
        (200, {"If-Match": tag, "If-Unmodified-Since": before}),
        (412, {"If-Match": '"other"', "If-Unmodified-Since": after}),
        (412, {"If-Match": '"other"', "If-None-Match": tag}),
        (304, {"If-Match": tag, "If-None-Match": tag}),
        # Conditions before parts (RFC 9110 §14.2).
        (304, {"If-None-Match": tag, "Range": "bytes=0-1"}),
        (412, {"If-Match": '"other"', "Range": "bytes=0-1"}),
        (412, {"If-Match": '"other"', "Range": "bytes=99999999999-"}),
        (206, {"If-None-Match": '"other"', "Range": "bytes=0-1"}),
        (206, {"If-Unmodified-Since": date, "Range": "bytes=0-1"}),
    ]
    for status, fields in cases:
        for method in ("GET", "HEAD"):
            expected = 200 if (method, status) == ("HEAD", 206) else status
            answer = ask(port, path, fields, method)
            same(f"status of {method} with {fields}", answer.status, expected)
            if expected == 304:
                same(f"tag of {method} with {fields}", answer.field("etag"), tag)
                same(f"body of {method} with {fields}", answer.body, b"")
            if expected == 200 and method == "GET":
                same(f"body of {fields}", answer.body, first.body)
    # Nothing is there: no condition makes it otherwise.
    for fields in ({"If-None-Match": "*"}, {"If-None-Match": tag}, {"If-Modified-Since": after}):
        same(f"status of what is not there with {fields}", ask(port, f"{path}.none", fields).status, 404)


# --- Listings ---------------------------------------------------------------------------------


class Links(html.parser.HTMLParser):
    """Targets of a page's links, and whether anything in it runs."""

    def __init__(self):
        super().__init__()
        self.targets, self.harm = [], []

    def handle_starttag(self, tag, attributes):
        if tag in ("script", "img", "iframe", "object", "b"):
            self.harm.append(tag)
        for name, value in attributes:
            if name == "href" and tag == "a":
                self.targets.append(value)
            if name.startswith("on"):
                self.harm.append(f"{tag} {name}")


def listing(port, path, folder):
    # What leads out of the folder is not in it, nor is what leads nowhere, or is no file.
    inside = os.path.realpath(os.fsencode(folder)) + b"/"
    seen = {entry.name: entry for entry in os.scandir(os.fsencode(folder))
            if not entry.name.startswith(b".") and (entry.is_file() or entry.is_dir())
            and os.path.realpath(entry.path).startswith(inside)}
    answer = ask(port, path)
    same("status", answer.status, 200)
    same("type", answer.field("content-type"), "text/html; charset=utf-8")
    links = Links()
    links.feed(answer.body.decode(errors="replace"))
    same("what could run", links.harm, [])
    here = f"http://127.0.0.1:{port}{path}"
    found = {}
    for target in links.targets:
        url = urllib.parse.urlsplit(urllib.parse.urljoin(here, target))
        if url.query or url.fragment or not url.path.startswith(path) or url.path == path:
            continue
        same(f"host of {target}", url.netloc, f"127.0.0.1:{port}")
        found[urllib.parse.unquote_to_bytes(url.path.removeprefix(path).rstrip("/"))] = url.path
    same("names in HTML", sorted(found), sorted(seen))
    for name, at in found.items():
        if seen[name].is_file():
            same(f"bytes of {at}", ask(port, at).body, pathlib.Path(os.fsdecode(seen[name].path)).read_bytes())
        else:
            same(f"status of {at}", ask(port, at).status, 200)
    as_json(port, path, seen)


def as_json(port, path, seen):
    answer = ask(port, path, {"Accept": "application/json"})
    like_json = answer.field("content-type").split(";")[0]
    same("type for programs", like_json, "application/json")
    if "accept" not in (answer.field("vary") or "").lower():
        raise Surprise(f"Vary: {answer.field('vary')}")
    told = json.loads(answer.body)
    here = f"http://127.0.0.1:{port}{path}"
    rows = {urllib.parse.unquote_to_bytes(urllib.parse.urlsplit(urllib.parse.urljoin(here, row["href"])).path
                                          .removeprefix(path).rstrip("/")): row for row in told["entries"]}
    same("names in JSON", sorted(rows), sorted(seen))
    for name, row in rows.items():
        same(f"type of {name}", row["type"], "file" if seen[name].is_file() else "folder")
        if seen[name].is_file():
            same(f"size of {name}", row["size"], seen[name].stat().st_size)

    def sizes(query):
        rows = json.loads(ask(port, f"{path}?{query}", {"Accept": "application/json"}).body)["entries"]
        return [row["size"] for row in rows if row["type"] == "file"]

    same("by size", sizes("sort=size&order=asc"), sorted(sizes("sort=name")))
    same("by size, the largest first", sizes("sort=size&order=desc"), sorted(sizes("sort=name"), reverse=True))
    same("by what it cannot be sorted", len(sizes("sort=colour&order=%00")), len(sizes("sort=name")))


# --- Large files ------------------------------------------------------------------------------


def huge(file):
    with open(file, "wb") as made:
        made.truncate(HUGE_BYTES)
        for at, mark in MARKS.items():
            made.seek(at)
            made.write(mark)


def large(port, path, _file):
    """Its length and its marks, as they come; then parts of it."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n".encode())
        came = b""
        while b"\r\n\r\n" not in came:
            came += client.recv(4096)
        head, _, rest = came.partition(b"\r\n\r\n")
        if f"\r\ncontent-length: {HUGE_BYTES}".encode() not in head.lower() or not head.startswith(b"HTTP/1.1 200 "):
            raise Surprise(f"its head: {head!r}")
        seen = {at: bytearray() for at in MARKS}
        buffer = bytearray(PIECE)
        # What came with the head is the start of what is to come.
        at, count = 0, len(rest)
        buffer[:count] = rest
        while count or (count := client.recv_into(buffer)):
            for mark in MARKS:
                start, end = max(mark, at), min(mark + 21, at + count)
                if start < end:
                    seen[mark] += buffer[start - at:end - at]
            at += count
            count = 0
    same("length", at, HUGE_BYTES)
    same("marks", {mark: bytes(found) for mark, found in seen.items()}, MARKS)
    for mark, text in MARKS.items():
        answer = ask(port, path, {"Range": f"bytes={mark}-{mark + 20}"})
        same(f"part at {mark}", (answer.status, answer.body, answer.field("content-range")),
             (206, text, f"bytes {mark}-{mark + 20}/{HUGE_BYTES}"))
    same("last byte", ask(port, path, {"Range": "bytes=-1"}).body, b"!")
    same("past the end", ask(port, path, {"Range": f"bytes={HUGE_BYTES}-"}).status, 416)
    between = ask(port, path, {"Range": f"bytes={(1 << 32) - 10}-{(1 << 32) + 4116}"})
    same("a part over 4 GiB", between.body,
         MARKS[(1 << 32) - 10] + bytes(4096 - 11) + MARKS[(1 << 32) + 4096])


# --- Files that change ------------------------------------------------------------------------


def flip(port, path, file, seconds):
    """Contents of several lengths, small ones that are kept and large ones that are not."""
    file = pathlib.Path(file)
    contents = [bytes([65 + number]) * size for number, size in enumerate((100, 100, 5_000, 16_384, 16_385, 70_000, 3_000_000, 1))]
    until = time.monotonic() + seconds

    def put(body):
        beside = file.with_suffix(".new")
        beside.write_bytes(body)
        beside.rename(file)

    def write():
        turns = 0
        while time.monotonic() < until:
            put(contents[turns % len(contents)])
            turns += 1
            time.sleep(0.015)
        return turns

    def read():
        tags, count = {}, 0
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        while time.monotonic() < until:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            same("status", answer.status, 200)
            if body not in contents:
                raise Surprise(f"{len(body)} bytes of {sorted(set(body))}")
            same("bytes of one tag", body[:1], tags.setdefault(answer.headers["etag"], body[:1]))
            count += 1
        connection.close()
        return count

    put(contents[0])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        writer = pool.submit(write)
        readers = [pool.submit(read) for _ in range(4)]
        counts = [one.result() for one in readers]
        turns = writer.result()
    put(b"the last")
    end = time.monotonic() + 3
    while (found := ask(port, path).body) != b"the last":
        if time.monotonic() > end:
            raise Surprise(f"3 s after the last change: {found[:20]!r}")
        time.sleep(0.05)
    print(f"{sum(counts)} answers while it was replaced {turns} times")


def main():
    order, *more = sys.argv[1:]
    orders = {
        "ranges": lambda port, path, file: ranges(int(port), path, file),
        "conditions": lambda port, path: conditions(int(port), path),
        "listing": lambda port, path, folder: listing(int(port), path, folder),
        "huge": huge,
        "large": lambda port, path, file: large(int(port), path, file),
        "flip": lambda port, path, file, seconds: flip(int(port), path, file, float(seconds)),
    }
    try:
        orders[order](*more)
    except (Surprise, OSError, http.client.HTTPException) as error:
        sys.exit(f"{error!r}" if not isinstance(error, Surprise) else str(error))


if __name__ == "__main__":
    main()

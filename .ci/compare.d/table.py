"""Runs into medians, ratios to the best peer, and Markdown."""

from statistics import median

from scenarios import SCENARIOS

OURS = "risefall"
# What the engine reaches without a feature: nobody's rival.
BARE = "bare"
# More than this of the proxy's core for others: the figures are theirs as well.
OTHERS_MOST = 0.05
# A client of ours that sends so much too late has not kept its rate.
LATE_MOST_MS = 50


def summary(runs):
    """A row for each scenario and subject, with the ratio and the verdict in risefall's."""
    rows = []
    for scenario in SCENARIOS:
        here = [run for run in runs if run["scenario"] == scenario]
        subjects = list(dict.fromkeys(run["subject"] for run in here))
        measured = [row(scenario, name, [run for run in here if run["subject"] == name])
                    for name in sorted(subjects, key=order)]
        judge(SCENARIOS[scenario], measured)
        rows += measured
    return rows


def order(name):
    return (name == BARE, name.split("+")[0] != OURS, name)


def row(scenario, subject, runs):
    done = [run for run in runs if "figure" in run]
    found = {"scenario": scenario, "subject": subject, "rounds": len(done)}
    failures = [run["failure"] for run in runs if "failure" in run]
    if failures:
        found["failure"] = failures[0]
    if not done:
        return found
    for name in ("figure", "rate", "core_share", "p50_ms", "p99_ms", "max_ms", "peak_bytes"):
        if values := [run[name] for run in done if name in run]:
            found[name] = median(values)
    found["least"], found["greatest"] = (pick(run["figure"] for run in done) for pick in (min, max))
    # What must not happen is not evened out by rounds in which it did not.
    found["max_ms"] = max((run["max_ms"] for run in done if "max_ms" in run), default=None)
    found["requests"] = sum(run["requests"] for run in done)
    found["errors"] = {}
    for run in done:
        for what, count in run["errors"].items():
            found["errors"][what] = found["errors"].get(what, 0) + count
    for name in ("others_share", "late_ms"):
        found[name] = max(run.get(name, 0) for run in done)
    found["cipher"] = next((run["cipher"] for run in done if "cipher" in run), None)
    return found


def judge(scenario, rows):
    """The ratios to the best peer and to the bare engine, and whether what was promised holds."""
    ours, floor = (next((row for row in rows if row["subject"] == name and "figure" in row), None)
                   for name in (OURS, BARE))
    # A peer that fails requests is not the one to reach.
    peers = [row for row in rows if row["subject"] not in (OURS, BARE) and "figure" in row]
    peers = [row for row in peers if not row["errors"]] or peers
    if not ours:
        return
    if peers:
        best = (min if lower(scenario) else max)(peers, key=lambda row: row["figure"])
        ours["best"], ours["ratio"] = best["subject"], ours["figure"] / best["figure"]
    if floor:
        ours["bare_ratio"] = ours["figure"] / floor["figure"]
    told = []
    if scenario.line and "ratio" in ours:
        told.append(ours["ratio"] >= scenario.line)
    for name, limit in (scenario.most or {}).items():
        value = sum(ours["errors"].values()) if name == "errors" else ours[name]
        told.append(value <= limit)
    if told:
        ours["holds"] = all(told)


def lower(scenario):
    return scenario.unit in ("KB each", "p99 ms")


# --- Text -------------------------------------------------------------------------------------


def markdown(report):
    machine = report["machine"]
    versions = ", ".join(f"{name} {found}" for name, found in machine["versions"].items() if found)
    lines = [
        f"{machine['date']}, {machine['cpu']}, {machine['system']}, load {machine['load']:.1f}. {versions}.",
        f"{report['options']['rounds']} rounds of {report['options']['seconds']} s, medians (least..greatest).",
        "",
    ]
    rows = report["summary"]
    lines += work([row for row in rows if not SCENARIOS[row["scenario"]].faults])
    lines += faults([row for row in rows if SCENARIOS[row["scenario"]].faults])
    lines += verdicts([row for row in rows if row["subject"] == OURS and "figure" in row])
    lines += notes(rows)
    return "\n".join(lines)


def grid(head, rows):
    """A table whose first two columns are text; nothing if it has no row."""
    if not rows:
        return []
    marks = ["---", "---"] + ["--:"] * (len(head) - 2)
    return [f"| {' | '.join(cells)} |" for cells in [head, marks, *rows]] + [""]


def work(rows):
    cells = []
    for found in rows:
        scenario = SCENARIOS[found["scenario"]]
        start = [f"{found['scenario']} {scenario.title}", found["subject"]]
        if "figure" not in found:
            cells.append(start + ["-"] * 6)
            continue
        cells.append(start + [
            f"{number(found['figure'])} ({number(found['least'])}..{number(found['greatest'])}) {scenario.unit}",
            number(found.get("rate")), number(found.get("p50_ms"), 2), number(found.get("p99_ms"), 2),
            number(found["peak_bytes"] / 2**20, 1), errors(found)])
    return grid(["scenario", "subject", "figure", "rate/s", "p50 ms", "p99 ms", "peak MiB", "errors"], cells)


def faults(rows):
    cells = []
    for found in rows:
        start = [f"{found['scenario']} {SCENARIOS[found['scenario']].title}", found["subject"]]
        if "figure" not in found:
            cells.append(start + ["-"] * 5)
            continue
        cells.append(start + [
            number(found["requests"]), errors(found),
            *(number(found[name], 1) for name in ("p50_ms", "p99_ms", "max_ms"))])
    return grid(["scenario", "subject", "requests", "errors", "p50 ms", "p99 ms", "max ms"], cells)


def verdicts(rows):
    cells = []
    for found in rows:
        scenario = SCENARIOS[found["scenario"]]
        lines = [f"ratio >= {scenario.line}"] if scenario.line else []
        lines += [f"{name} <= {limit}" for name, limit in (scenario.most or {}).items()]
        ratio, bare_ratio = (
            f"{found[name]:.2f}" if name in found else "-" for name in ("ratio", "bare_ratio"))
        holds = {True: "yes", False: "no", None: "-"}[found.get("holds")]
        cells.append([found["scenario"], found.get("best", "-"), ratio, bare_ratio, ", ".join(lines) or "-", holds])
    return grid(["scenario", "best peer", "risefall / best", "risefall / bare", "line", "holds"], cells)


def notes(rows):
    failures, crowded, ciphers, late = {}, {}, {}, {}
    for found in rows:
        if "failure" in found:
            failures.setdefault((found["subject"], found["failure"]), []).append(found["scenario"])
        if (share := found.get("others_share", 0)) > OTHERS_MOST:
            crowded[found["scenario"]] = max(share, crowded.get(found["scenario"], 0))
        if found.get("cipher"):
            ciphers.setdefault(found["cipher"], set()).add(found["subject"])
        if found.get("late_ms", 0) > LATE_MOST_MS:
            late[found["scenario"]] = max(found["late_ms"], late.get(found["scenario"], 0))
    lines = [f"- {subject} in {', '.join(where)}: " + " / ".join(text.splitlines())
             for (subject, text), where in failures.items()]
    if crowded:
        shares = ", ".join(f"{scenario} {share:.0%}" for scenario, share in crowded.items())
        lines.append(f"- Others had a share of the proxy's core, at most: {shares}. Measure again alone.")
    if late:
        times = ", ".join(f"{scenario} {most:.0f} ms" for scenario, most in late.items())
        lines.append(f"- Our own client was late, at most: {times}. Measure again alone.")
    if len(ciphers) > 1:
        told = "; ".join(f"{', '.join(sorted(who))}: {cipher}" for cipher, who in ciphers.items())
        lines.append(f"- Ciphers differ: {told}.")
    return lines


def errors(found):
    if not found["errors"]:
        return "0"
    return f"{sum(found['errors'].values())} ({', '.join(f'{count} {what}' for what, count in found['errors'].items())})"


def number(value, digits=None):
    if value is None:
        return "-"
    if digits is None:
        digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"

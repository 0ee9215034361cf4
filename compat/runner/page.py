"""docs/compatibility.md: what the clients did, written from the results of runs.

A run replaces the rows of what it ran; the others stay, read back from the page itself.
"""

import re

from .broker import ROOT
from .lists import HERE, clients, scenarios

PAGE = ROOT / "docs" / "compatibility.md"
# Times differ from run to run; the page shall not.
TIMES = re.compile(r"[,;:]? *(?:slowest of \d+: \d+ ms.*|(?:taken over|known) after [\d.]+ m?s|seen \d+ ms .*|did not list \S+)")

HEAD = """# Clients

<!-- Written by compat/run --record; do not edit. -->

Every client here runs the scenarios of compat/scenarios.txt through its own public interface, against a broker that it shares with
nobody. The same scenarios run on Apache Kafka (`compat/run --against kafka`): one that fails there is a wrong scenario.

    compat/run                      the newest of each client, the core scenarios: what CI runs on every change
    compat/run --full --record      every version and every scenario; writes this page

Not here, because the registries have nothing that can be installed: a schema registry that keeps its schemas in a topic
(Apicurio's is on Maven Central as libraries alone, Confluent's and Karapace are on no registry), and librdkafka for Node as
@confluentinc/kafka-javascript (it downloads a library when it is installed; node-rdkafka carries its source).

"""


def _explained():
    """(client, scenario) -> why it fails, from explained.txt: CLIENT[@VERSION] SCENARIO WHY."""
    lines = [line.split(None, 2) for line in (HERE / "explained.txt").read_text().splitlines() if line.strip() and line[0] != "#"]
    return {(client, scenario): why for client, scenario, why in lines}


def _kept():
    """The rows of the page as it is: (client heading) -> scenario -> (version, result, note)."""
    rows, client = {}, None
    for line in PAGE.read_text().splitlines() if PAGE.exists() else []:
        if line.startswith("### "):
            client = line[4:]
        elif client and line.startswith("Skipped: "):
            rows.setdefault(client, {})[""] = ("skipped", line[9:])
        elif client and (cells := re.match(r"\| `([^`]+)` \| ([^|]*) \| ([^|]*) \|$", line)):
            rows.setdefault(client, {})[cells.group(1)] = (cells.group(2), cells.group(3))
    return rows


def write(lines):
    """Puts these lines into the page."""
    rows, reported = _kept(), {}
    pinned = {}
    for client in clients():
        pinned.setdefault(client.name, []).append(client.version)
    for line in lines:
        if line["scenario"] or line["result"] == "skipped":
            note = TIMES.sub("", line["note"]).replace("|", "/").replace("\n", " ").strip()
            reported.setdefault(f"{line['client']} {line['version']}", {})[line["scenario"]] = (line["result"], note)
    # A new version of the same row takes the old one's place.
    for heading in reported:
        name, version = heading.split(" ", 1)
        family = [v for v in pinned.get(name, []) if version.startswith(v)] or [None]
        for old in [h for h in rows if h.split(" ", 1)[0] == name]:
            if old == heading:
                continue
            if family[0] is None or old.split(" ", 1)[1].startswith(family[0]):
                del rows[old]
        rows.setdefault(heading, {}).update(reported[heading])
        if "" not in reported[heading]:
            rows[heading].pop("", None)

    order = {c.name: at for at, c in reversed(list(enumerate(clients())))}
    names = [s.name for s in scenarios()]
    headings = sorted((h for h in rows if h.split(" ", 1)[0] in order), key=lambda h: order[h.split(" ", 1)[0]])
    explained = _explained()
    out = [HEAD, "| client | version | pass | fail | n/a |\n| --- | --- | ---: | ---: | ---: |\n"]
    missed = []
    for heading in headings:
        name, version = heading.split(" ", 1)
        if "" in rows[heading]:
            out.append(f"| {name} | {version} | skipped: {rows[heading][''][1]} | | |\n")
            continue
        results = [result for result, _ in rows[heading].values()]
        counts = " | ".join(str(results.count(kind)) for kind in ("pass", "fail", "n/a"))
        out.append(f"| {name} | {version} | {counts} |\n")
        for scenario in names:
            result, note = rows[heading].get(scenario, ("pass", ""))
            if result != "pass":
                why = explained.get((heading.replace(" ", "@", 1), scenario)) or explained.get((name, scenario)) or note
                missed.append(f"| {name} | {version} | `{scenario}` | {result} | {why} |\n")
    out.append("\n## What did not pass, and why\n\n")
    out.append("| client | version | scenario | result | why |\n| --- | --- | --- | --- | --- |\n" + "".join(missed) if missed else "Everything passed.\n")
    out.append("\n## The scenarios\n\n| scenario | shows |\n| --- | --- |\n")
    out += [f"| `{s.name}` | {s.shows} |\n" for s in scenarios()]
    out.append("\n## Every result\n")
    for heading in headings:
        if "" in rows[heading]:
            out.append(f"\n### {heading}\n\nSkipped: {rows[heading][''][1]}\n")
            continue
        out.append(f"\n### {heading}\n\n| scenario | result | note |\n| --- | --- | --- |\n")
        out += [f"| `{n}` | {rows[heading][n][0]} | {rows[heading][n][1]} |\n" for n in names if n in rows[heading]]
    PAGE.write_text("".join(out))

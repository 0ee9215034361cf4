"""The figures as a table for people, and as JSON for programs."""

import json
import pathlib
import re
import statistics

from .figures import FIGURES, KAFKA
from .plot import bars
from .systems import ROOT, SYSTEMS

PAGE = ROOT / "docs" / "performance.md"
DATA = ROOT / "docs" / "performance.json"
PLOTS = ROOT / "docs" / "performance"
BEGIN, END = "<!-- arena: begin -->", "<!-- arena: end -->"
PINS = {
    "apart": "The broker has one core, the client the other",
    "shared": "Broker and client share all cores",
}


class Results:
    """Values by pin, figure and system, one for each round."""

    def __init__(self, path=None):
        self.about, self.values = {}, {}
        if path and path.exists():
            stored = json.loads(path.read_text())
            self.about, self.values = stored["about"], stored["values"]

    def take(self, other, beside):
        """Takes over what another has: beside what is here, or in its place."""
        for pin, rows in other.values.items():
            for key, systems in rows.items():
                for system, values in systems.items():
                    here = self.values.setdefault(pin, {}).setdefault(key, {})
                    here[system] = here.get(system, []) + values if beside else values

    def add(self, pin, system, figures):
        for key, value in figures.items():
            self.values.setdefault(pin, {}).setdefault(key, {}).setdefault(system, []).append(float(f"{value:.4g}"))

    def median(self, pin, key, system):
        found = self.values.get(pin, {}).get(key, {}).get(system)
        return statistics.median(found) if found else None

    def save(self, path):
        path.write_text(json.dumps({"about": self.about, "values": self.values}, indent=1, sort_keys=True) + "\n")


def number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 or value == 0 else f"{value:.1g}"


def cell(results, pin, figure, system):
    found = results.values[pin].get(figure.key, {}).get(system)
    if not found:
        return ""
    text = number(statistics.median(found))
    if figure.client and (results.median(pin, figure.client, system) or 0) > 0.9:
        text += "\\*"
    if len(found) > 1:
        text += f" ({number(min(found))}–{number(max(found))})"
    return text


def verdicts(results, pin, figure):
    """Ratio to Kafka for each Trestle, what it should be, and whether it is."""
    ratios, aims = [], []
    kafka = results.median(pin, figure.key, KAFKA)
    for system, short in (("trestle", "on"), ("trestle-nofsync", "off"), ("trestle-memory", "memory")):
        value = results.median(pin, figure.key, system)
        if value is None:
            continue
        if kafka:
            ratios.append(f"{number(value / kafka)}")
            if system in figure.ratio:
                aim = figure.ratio[system]
                aims.append((short, "≥" if figure.more else "≤", aim, "", figure.met(value / kafka, aim)))
        if system in figure.limit:
            aim = figure.limit[system]
            aims.append((short, "≤", aim, f" {figure.unit}".rstrip(), figure.met(value, aim)))
    said = "; ".join(f"{short} {sign} {number(aim)}{unit}{'' if met else ' **missed**'}" for short, sign, aim, unit, met in aims)
    return " / ".join(ratios), said


def table(results, pin):
    systems = [kind for kind in SYSTEMS if any(kind.name in row for row in results.values[pin].values())]
    head = ["", *[kind.title for kind in systems], "to Kafka: on / off / memory", "aim"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(systems) + 1) + " --- |"]
    for figure in FIGURES:
        if figure.key not in results.values[pin] or not any(results.values[pin][figure.key].values()):
            continue
        unit = f", {figure.unit}" if figure.unit else ""
        cells = [cell(results, pin, figure, kind.name) for kind in systems]
        lines.append("| " + " | ".join([figure.title + unit, *cells, *verdicts(results, pin, figure)]) + " |")
    return "\n".join(lines)


def text(results):
    about = results.about
    out = [
        f"`{about['command']}`; {about['date']}; {about['machine']}. {about['versions']}.",
        "",
        "Medians, with the lowest and the highest in brackets; a star where the client was busy for more than nine tenths of its time,"
        " so that the broker's CPU says more than the speed.",
    ]
    for pin, title in PINS.items():
        if results.values.get(pin):
            out += ["", f"### {title}", "", table(results, pin)]
            if floor := results.median(pin, "floor", "floor"):
                cpu = results.median(pin, "floor.cpu", "floor")
                out += ["", f"A bare append to a file (16 KiB a write, one fdatasync for 4 MiB) in the same run: {number(floor)} MiB/s, {number(cpu)} s/GiB of CPU."]
    return "\n".join(out)


def record(results):
    """Writes the JSON, the plots, and the part of docs/performance.md between its marks."""
    results.save(DATA)
    PLOTS.mkdir(exist_ok=True)
    shown = []
    for key in ("produce", "requests", "consume", "latency.1000.p99"):
        figure = next(figure for figure in FIGURES if figure.key == key)
        for pin in PINS:
            medians = {kind.title: results.median(pin, key, kind.name) for kind in SYSTEMS}
            medians = {title: value for title, value in medians.items() if value is not None}
            if medians:
                path = PLOTS / f"{key}-{pin}.svg"
                path.write_text(bars(f"{figure.title}, {figure.unit}" + (" (more is better)" if figure.more else " (less is better)"), medians))
                shown.append(f"![{figure.title}](performance/{path.name})")
                break
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{text(results)}\n\n" + "\n".join(shown) + f"\n{END}{after}")

"""What a harness written in Python needs: scenarios as functions, one JSON line each, the control line."""

import json
import os
import pathlib
import secrets
import socket
import time
import traceback

SCENARIOS = pathlib.Path(__file__).resolve().parent.parent / "scenarios.txt"
BOOTSTRAP = os.environ.get("COMPAT_BOOTSTRAP", "")


class NotAvailable(Exception):
    """The client cannot do this at all; the message says why."""


def control(*words):
    """Asks the runner for something (see runner/control.py) and answers what it said."""
    host, port = os.environ["COMPAT_CONTROL"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=120) as s:
        s.sendall((" ".join(map(str, words)) + "\n").encode())
        answer = json.loads(s.makefile().readline())
    if "error" in answer:
        raise RuntimeError(f"{' '.join(map(str, words))}: {answer['error']}")
    return answer["ok"]


def new_topic(partitions=1, **configs):
    """Creates a topic with a fresh name."""
    name = f"compat-{secrets.token_hex(4)}"
    control("create", name, partitions, *(f"{k.replace('_', '.')}={v}" for k, v in configs.items()))
    return name


def expect(what, actual, expected):
    """An assertion that says what differs without printing a megabyte."""
    if actual != expected:
        shown = [str(v) if len(str(v)) <= 300 else str(v)[:300] + "..." for v in (actual, expected)]
        raise AssertionError(f"{what}: got {shown[0]}, wanted {shown[1]}")


class Harness:
    """Collects scenarios by decoration, runs the wanted ones in order, prints a line for each."""

    def __init__(self, client, version):
        self.client, self.version, self.scenarios = client, version, []

    def scenario(self, name, *arguments):
        def add(function):
            self.scenarios.append((name, function, arguments))
            return function

        return add

    def run(self):
        wanted = os.environ.get("COMPAT_SCENARIOS", "").split()
        order = {line.split()[0]: at for at, line in enumerate(SCENARIOS.read_text().splitlines()) if line.strip()}
        for name, function, arguments in sorted(self.scenarios, key=lambda scenario: order[scenario[0]]):
            if wanted and name not in wanted:
                continue
            began = time.monotonic()
            try:
                result, note = "pass", function(*arguments) or ""
            except NotAvailable as e:
                result, note = "n/a", str(e)
            except Exception as e:  # a failed scenario must not stop the others
                where = traceback.extract_tb(e.__traceback__)[-1].lineno
                result, note = "fail", f"{type(e).__name__}: {e} (line {where})"
            ms = round((time.monotonic() - began) * 1000)
            line = {"client": self.client, "version": self.version, "scenario": name, "result": result, "ms": ms, "note": note}
            print(json.dumps(line), flush=True)

"""What a harness written in Python needs: scenarios as functions, one JSON line each, the control line."""

import json
import os
import pathlib
import secrets
import socket
import sys
import threading
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from runner.lists import scenarios  # noqa: E402

BOOTSTRAP = os.environ.get("COMPAT_BOOTSTRAP", "")
# How long scenarios go on that go on for a time, and how long any may take beyond that.
SECONDS = int(os.environ.get("COMPAT_SECONDS", "15"))
# Apache Kafka's restarts take their time.
PATIENCE = 3 if os.environ.get("COMPAT_AGAINST") == "kafka" else 1
LIMIT_S = int(os.environ.get("COMPAT_LIMIT", "120"))


class NotAvailable(Exception):
    """The client cannot do this at all; the message says why."""


def control(*words):
    """Asks the runner for something (see runner/control.py) and answers what it said."""
    host, port = os.environ["COMPAT_CONTROL"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=400) as s:
        s.sendall((" ".join(map(str, words)) + "\n").encode())
        answer = json.loads(s.makefile().readline())
    if "error" in answer:
        raise RuntimeError(f"{' '.join(map(str, words))}: {answer['error']}")
    return answer["ok"]


def fresh_name(kind="compat"):
    """A name that nobody used before, for a topic, a group or a transactional id."""
    return f"{kind}-{secrets.token_hex(4)}"


def new_topic(partitions=1, **configs):
    """Creates a topic with a fresh name."""
    name = fresh_name()
    control("create", name, partitions, *(f"{k.replace('_', '.')}={v}" for k, v in configs.items()))
    return name


def expect(what, actual, expected):
    """An assertion that says what differs without printing a megabyte."""
    if actual != expected:
        shown = [str(v) if len(str(v)) <= 300 else str(v)[:300] + "..." for v in (actual, expected)]
        raise AssertionError(f"{what}: got {shown[0]}, wanted {shown[1]}")


def wait_for(what, condition, seconds=60):
    """Waits until `condition()` is true; answers it."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what() if callable(what) else what}: not within {seconds} s")
        time.sleep(0.01)
    return found


class Harness:
    """Collects scenarios by decoration, runs the wanted ones in order, prints a line for each."""

    def __init__(self, client, version):
        self.client, self.version, self.scenarios = client, version, {}

    def scenario(self, name, *arguments):
        def add(function):
            self.scenarios[name] = (function, arguments)
            return function

        return add

    def absent(self, reason, *names):
        """The client has no such thing."""

        def none():
            raise NotAvailable(reason)

        for name in names:
            self.scenarios[name] = (none, ())

    def _one(self, function, arguments, outcome):
        try:
            answer = function(*arguments) or ""
            # What the client says when something is wrong: see said.py.
            outcome[:] = ["pass", "", answer] if isinstance(answer, dict) else ["pass", answer]
        except NotAvailable as e:
            outcome[:] = ["n/a", str(e)]
        except Exception as e:  # a failed scenario must not stop the others
            if os.environ.get("COMPAT_TRACE"):
                traceback.print_exc()
            where = traceback.extract_tb(e.__traceback__)[-1]
            text = " ".join(str(e).split())[:500]
            outcome[:] = ["fail", f"{type(e).__name__}: {text} ({pathlib.Path(where.filename).name} line {where.lineno})"]

    def run(self):
        wanted = os.environ.get("COMPAT_SCENARIOS", "").split()
        for name in [s.name for s in scenarios() if s.name in self.scenarios and (not wanted or s.name in wanted)]:
            began, outcome = time.monotonic(), ["fail", f"it did not end within {LIMIT_S} s"]
            # A thread of its own: a client that hangs in C must not take the others with it.
            thread = threading.Thread(target=self._one, args=(*self.scenarios[name], outcome), daemon=True)
            thread.start()
            thread.join(LIMIT_S + (2 * SECONDS if name in ("eos.chain", "streams.word-count") else 0))
            result, note, *said = list(outcome)
            ms = round((time.monotonic() - began) * 1000)
            line = {"client": self.client, "version": self.version, "scenario": name, "result": result, "ms": ms, "note": note} | ({"said": said[0]} if said else {})
            print(json.dumps(line), flush=True)
        sys.stdout.flush()
        os._exit(0)

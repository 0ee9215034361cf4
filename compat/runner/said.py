"""What clients say when something is wrong, beside what they say on Apache Kafka.

A harness reports it as "said", an object of case and text: the client's own name for the error, a colon,
and what it adds. said/CLIENT-VERSION.json holds what that client said on Apache Kafka (`compat/run
--against kafka --record`); on Trestle it must say the same. What it adds is mostly what the broker has
sent, and Trestle's texts are its own (docs/differences.md), so they count only where no broker was
reached.
"""

import json
import re

from .lists import HERE

OWN_TEXTS = {"errors.port", "errors.advertised"}
NAMES = re.compile(r"\b(compat-auto|compat|group|reader|txn)-[0-9a-f]{8}\b")
MOMENTS = re.compile(r"\b\d{12,}\b")
TIMES = re.compile(r"\b\d+(\.\d+)? ?(ms|s|seconds?|milliseconds)\b")
ADDRESSES = re.compile(r"\b(127\.0\.0\.1|localhost):[1-9]\d{2,4}\b")


def plain(scenario, text):
    """Without what differs from run to run."""
    text = str(text) if scenario in OWN_TEXTS else str(text).split(": ")[0]
    text = TIMES.sub("TIME", MOMENTS.sub("TIME", NAMES.sub("NAME", ADDRESSES.sub("BROKER", text))))
    return " ".join(text.split())


def _file(client):
    return HERE / "said" / f"{client.name}-{client.version}.json"


def _recorded(client):
    return json.loads(_file(client).read_text()) if _file(client).exists() else {}


def record(client, scenario, said):
    """Keeps it as what the client says on Apache Kafka."""
    all_of_it = _recorded(client) | {scenario: {case: plain(scenario, text) for case, text in said.items()}}
    _file(client).parent.mkdir(exist_ok=True)
    _file(client).write_text(json.dumps(dict(sorted(all_of_it.items())), indent=2, ensure_ascii=False) + "\n")


def recorded(client, scenario):
    """Whether it is known what the client says on Apache Kafka."""
    return scenario in _recorded(client)


def difference(client, scenario, said):
    """What is not as on Apache Kafka, or None."""
    wanted = _recorded(client)[scenario]
    for case in sorted(set(wanted) | set(said)):
        here, there = plain(scenario, said.get(case, "nothing")), plain(scenario, wanted.get(case, "nothing"))
        if here != there:
            return f"{case}: says {here!r}, on Apache Kafka {there!r}"
    return None

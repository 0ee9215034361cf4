"""What drives the brokers: kcat (librdkafka), Kafka's own measuring programs, and this repository's load example."""

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from . import process
from .process import Client, Failed
from .systems import ROOT, TOOLS, built

KAFKA_TOOLS_VERSION = "4.2.0"
JARS = TOOLS / f"kafka-tools-{KAFKA_TOOLS_VERSION}"
MIB = 1 << 20


def install():
    if not shutil.which("kcat"):
        raise Failed("kcat is not installed: apt-get install kcat")
    if not (JARS / "complete").exists():
        shutil.rmtree(JARS, ignore_errors=True)
        pom = ROOT / "compat" / "tools" / "pom.xml"
        command = ["mvn", "-B", "-q", "-f", pom, f"-Dkafka.version={KAFKA_TOOLS_VERSION}", "dependency:copy-dependencies", f"-DoutputDirectory={JARS}"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Failed(f"Maven cannot fetch Kafka's tools: {' '.join(done.stdout.split())[-400:]}")
        (JARS / "complete").touch()


def versions():
    said = subprocess.run(["kcat", "-V"], stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
    kcat = re.search(r"Version (\S+) \(.*librdkafka (\S+?)\)? ", said + " ")
    return f"kcat {kcat.group(1)} (librdkafka {kcat.group(2)}), Apache Kafka's tools {KAFKA_TOOLS_VERSION}" if kcat else said.strip()


class Lines:
    """Files of lines of a size, which kcat sends as records; made once, removed at the end."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="arena-lines-", dir=os.environ.get("ARENA_DIR")))
        self.made = {}

    def of(self, size, total):
        """A file of `total` bytes or a little less, and how many lines it has. The lines do not repeat within 32 MiB."""
        count = max(10, int(total) // size)
        if (size, count) not in self.made:
            path = self.dir / f"{size}-{count}"
            some = [base64.b64encode(os.urandom(size))[:size] for _ in range(min(count, max(1, 32 * MIB // size)))]
            with open(path, "wb") as out:
                for at in range(count):
                    out.write(some[at % len(some)] + b"\n")
            self.made[size, count] = path
        return self.made[size, count], count

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def kcat_produce(address, cores, topic, path, *settings):
    command = ["kcat", "-b", address, "-P", "-t", topic, "-l", path, "-X", "acks=all", "-X", "broker.address.family=v4"]
    for setting in settings:
        command += ["-X", setting]
    return Client(command, cores)


def kcat_consume(address, cores, topic):
    return Client(["kcat", "-b", address, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "", "-X", "broker.address.family=v4"], cores)


def java(main, cores, *arguments):
    return Client(["java", "-Xmx512m", "-cp", f"{JARS}/*", f"org.apache.kafka.tools.{main}", *arguments], cores)


def java_produce(address, cores, topic, size, count, *properties):
    """MiB/s, by Kafka's program, and the client."""
    client = java("ProducerPerformance", cores, "--topic", topic, "--num-records", count, "--record-size", size, "--throughput", -1, "--producer-props", f"bootstrap.servers={address}", "acks=all", *properties)
    return float(re.findall(r"\(([\d.]+) MB/sec\)", client.said)[-1]), client


def java_consume(address, cores, topic, count):
    client = java("ConsumerPerformance", cores, "--bootstrap-server", address, "--topic", topic, "--num-records", count, "--timeout", 60000)
    line = [line for line in client.said.splitlines() if re.match(r"\d{4}-\d\d-\d\d ", line)][-1].split(",")
    # start, end, MB, MB/s, messages, messages/s, rebalance ms, fetch ms, fetch MB/s, fetch messages/s
    return float(line[8]), client


def java_latency(address, cores, topic, count):
    """The mean, which is the one figure that it gives in fractions of a millisecond."""
    client = java("EndToEndLatency", cores, "--bootstrap-server", address, "--topic", topic, "--num-records", count, "--producer-acks", "all", "--record-size", 1024)
    return float(re.search(r"Avg latency: ([\d.]+) ms", client.said).group(1)), client


def load_command(address, driver, **shape):
    binary = built("TRESTLE_LOAD", "release/examples/load", "debug/examples/load")
    return [binary, "--against", address, driver, *[word for name, value in shape.items() for word in (f"--{name.replace('_', '-')}", value)]]


def load(address, cores, driver, on_counting=None, **shape):
    """The figures that the load example prints, by name."""
    client = Client(load_command(address, driver, **shape), cores, marker='"counting"', on_marker=on_counting or (lambda: None))
    return figures(client.said)


def figures(said):
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return {line["what"]: line["value"] for line in lines}


def first_ack(address, cores):
    """A load example that waits for the broker; call it for the Unix time of the first acknowledged record."""
    waiting = process.start(load_command(address, "first-ack", topic="first", partitions=1), cores, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def acknowledged():
        said, _ = waiting.communicate(timeout=180)
        if waiting.returncode != 0:
            raise Failed(f"no first acknowledged record:\n{said}")
        return figures(said)["at"]

    return acknowledged

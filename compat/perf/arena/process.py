"""Processes: on which cores they run, and what the kernel says that they used."""

import os
import pathlib
import re
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
ALL_CORES = sorted(os.sched_getaffinity(0))
# How brokers and clients share the machine. With one core there is nothing to keep apart.
PINS = {"shared": (ALL_CORES, ALL_CORES)}
if len(ALL_CORES) > 1:
    PINS["apart"] = (ALL_CORES[:1], ALL_CORES[1:2])


class Failed(Exception):
    """A program did not do what it was started for; the message says what it said."""


def start(command, cores, **how):
    """A process that may use these cores alone, as may whatever it starts."""
    return subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, cores), **how)


class Client:
    """A program that has run to its end: what it printed, for how long, and how much of a core it kept busy."""

    def __init__(self, command, cores, timeout=600, marker=None, on_marker=None):
        began = time.monotonic()
        process = start(command, cores, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines, watchdog = [], threading.Timer(timeout, process.kill)
        watchdog.start()
        for line in process.stdout:
            if marker and marker in line:
                on_marker()
            lines.append(line)
        watchdog.cancel()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds = time.monotonic() - began
        self.busy = (usage.ru_utime + usage.ru_stime) / self.seconds
        self.said = "".join(lines)
        if process.returncode != 0:
            raise Failed(f"{' '.join(map(str, command))}\nended with {process.returncode}:\n{self.said[-2000:]}")


class Usage:
    """What a running process and its children have used so far."""

    def __init__(self, pid):
        self.path = pathlib.Path(f"/proc/{pid}")

    def _field(self, file, name):
        return int(re.search(rf"^{name}:\s+(\d+)", (self.path / file).read_text(), re.M).group(1))

    def cpu(self):
        fields = (self.path / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def written(self):
        return self._field("io", "write_bytes")

    def resident_mb(self):
        return self._field("status", "VmRSS") * 1024 / 1e6

    def peak_mb(self):
        return self._field("status", "VmHWM") * 1024 / 1e6

    def forget_peak(self):
        try:
            (self.path / "clear_refs").write_text("5")
        except OSError:
            pass  # then the peak is that of the whole life

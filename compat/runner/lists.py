"""The two lists that say what is run: clients.txt and scenarios.txt."""

import collections
import pathlib

HERE = pathlib.Path(__file__).resolve().parent.parent

Scenario = collections.namedtuple("Scenario", "name area set shows")


class Client(collections.namedtuple("Client", "name version folder set areas")):
    """One row of clients.txt; as text NAME@VERSION."""

    def __str__(self):
        return f"{self.name}@{self.version}"


def _rows(file, columns):
    for line in (HERE / file).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.split(None, columns - 1)


def clients():
    """In the order of the file."""
    return [Client(*row[:4], row[4].split()) for row in _rows("clients.txt", 5)]


def scenarios():
    """In the order of the file."""
    return [Scenario(*row) for row in _rows("scenarios.txt", 4)]

"""The two lists that say what is run: clients.txt and scenarios.txt."""

import collections
import pathlib

HERE = pathlib.Path(__file__).resolve().parent.parent

Scenario = collections.namedtuple("Scenario", "name area set shows")


class Client(collections.namedtuple("Client", "name version folder set areas more")):
    """One row of clients.txt; as text NAME@VERSION. `more` are the areas that only --full runs."""

    def __str__(self):
        return f"{self.name}@{self.version}"


def _rows(file, columns):
    for line in (HERE / file).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.split(None, columns - 1)


def clients():
    """In the order of the file."""
    found = []
    for *row, areas in _rows("clients.txt", 5):
        words = areas.split()
        found.append(Client(*row, [w for w in words if w[0] != "+"], [w[1:] for w in words if w[0] == "+"]))
    return found


def scenarios():
    """In the order of the file."""
    return [Scenario(*row) for row in _rows("scenarios.txt", 4)]

"""The line that a harness has to the runner: one request, one JSON line back, over loopback TCP.

Requests are words separated by spaces:

    restart                          stop the broker cleanly and start it again
    crash                            kill -9 and start it again
    settings NAME=VALUE ...          restart with these broker settings; none: the defaults
    create TOPIC PARTITIONS [NAME=VALUE ...]
    grow TOPIC PARTITIONS            give it partitions until it has so many
    batches TOPIC PARTITION          what is stored: base offset, records, codec, producer id
    another                          starts a second broker of the same kind, once, and answers its address
    group GROUP                      a classic group's state and the ids of its members

The answer is {"ok": ...} or {"error": "..."}.
"""

import json
import socketserver
import threading

from . import wire


def _pairs(words):
    return dict(word.split("=", 1) for word in words)


def _answer(broker, verb, *words):
    if verb == "restart":
        broker.restart()
    elif verb == "crash":
        broker.crash()
    elif verb == "settings":
        broker.change(_pairs(words))
    elif verb == "create":
        wire.create_topic(broker.address, words[0], int(words[1]), _pairs(words[2:]))
    elif verb == "grow":
        wire.grow_topic(broker.address, words[0], int(words[1]))
    elif verb == "another":
        return broker.another()
    elif verb == "batches":
        return wire.batches(broker.address, words[0], int(words[1]))
    elif verb == "group":
        return wire.group(broker.address, words[0])
    else:
        raise ValueError(f"unknown request {verb!r}")
    return broker.address


class Control:
    """Serves one broker's harness until closed."""

    def __init__(self, broker):
        lock = threading.Lock()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                words = self.rfile.readline().decode().split()
                try:
                    with lock:
                        answer = {"ok": _answer(broker, *words)}
                except Exception as e:  # whatever went wrong belongs to the harness that asked
                    answer = {"error": f"{type(e).__name__}: {e}"}
                self.wfile.write((json.dumps(answer) + "\n").encode())

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = "127.0.0.1:%d" % self.server.server_address[1]

    def close(self):
        self.server.shutdown()
        self.server.server_close()

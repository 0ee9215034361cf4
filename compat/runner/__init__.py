"""The parts of compat/run: starting brokers, talking to harnesses, looking at stored bytes."""

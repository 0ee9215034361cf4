"""Scenarios of administration, and of what a user reads when something is wrong."""

from model import Refused

from runner.client import BOOTSTRAP, NotAvailable, control, expect, fresh_name, new_topic, wait_for


class Admin:
    def __init__(self, scenarios):
        self.s, self.client, self.admin = scenarios, scenarios.client, scenarios.client.admin

    def need(self, *verbs):
        for verb in verbs:
            if verb in self.admin.unavailable:
                raise NotAvailable(self.admin.unavailable[verb])

    def topics(self):
        topic = fresh_name()
        self.admin.create(topic, partitions=3, configs={"retention.ms": "3600000"})
        wait_for("the topic", lambda: topic in self.admin.topics())
        expect("partitions", len(self.client.metadata(topic)[1][topic]), 3)
        self.s.produce(topic, [b"one"], partition=2)
        self.admin.remove(topic)
        wait_for("its end", lambda: topic not in self.admin.topics())

    def configs(self):
        self.need("configs", "alter")
        topic = new_topic(1, retention_ms=3_600_000)
        expect("as created", self.admin.configs(topic)["retention.ms"], "3600000")
        expect("a default", self.admin.configs(topic)["cleanup.policy"], "delete")
        self.admin.alter(topic, {"retention.ms": "7200000", "max.message.bytes": "2000000"})
        wait_for("the change", lambda: self.admin.configs(topic)["retention.ms"] == "7200000")
        expect("the other", self.admin.configs(topic)["max.message.bytes"], "2000000")

    def partitions(self):
        topic = new_topic(2)
        self.s.produce(topic, [b"one"], partition=1)
        self.admin.grow(topic, 5)
        wait_for("five partitions", lambda: sum(leader >= 0 for leader in self.client.metadata(topic)[1][topic]) == 5)
        self.s.produce(topic, [b"two"], partition=4)
        expect("values", sorted(r.value for r in self.s.read(topic, 5)), [b"one", b"two"])

    def delete_records(self):
        self.need("delete_records")
        topic = new_topic()
        self.s.produce(topic, [b"%d" % i for i in range(10)])
        self.admin.delete_records(topic, {0: 6})
        expect("starts", self.client.starts(topic, 1), [6])
        expect("values", self.s.values(topic), [b"6", b"7", b"8", b"9"])

    def groups(self):
        self.need("groups")
        topic, group, records = new_topic(), fresh_name("group"), []
        self.s.produce(topic, [b"one"])
        member = self.client.member(group, topic, records=records)
        try:
            wait_for(lambda: f"the record {member.failed}", lambda: records)
            expect("listed", group in self.admin.groups(), True)
            wait_for("the commit", lambda: self.client.committed(group, topic, 0)[0] == 1)
            expect("described", self.admin.describe_group(group), ("STABLE", 1))
        finally:
            member.close()
        wait_for("an empty group", lambda: self.admin.describe_group(group) == ("EMPTY", 0))
        if "delete_group" not in self.admin.unavailable:
            self.admin.delete_group(group)
            wait_for("its end", lambda: group not in self.admin.groups())
            return ""
        return self.admin.unavailable["delete_group"]

    def offsets(self):
        topic = new_topic(2)
        self.s.produce(topic, [b"0", b"1", b"2"])
        expect("starts", self.client.starts(topic, 2), [0, 0])
        expect("ends", self.client.ends(topic, 2), [3, 0])

    def cluster(self):
        cluster, controller, brokers = self.admin.cluster()
        expect("brokers", list(brokers.values()), [BOOTSTRAP])
        expect("an id", len(cluster) > 10, True)
        expect("the controller is a broker", controller is None or controller in brokers, True)

    def by_id(self):
        self.need("by_id")
        topic = new_topic(3)
        expect("name and partitions", self.admin.by_id(topic), (topic, 3))

    # --- errors ---

    def said(self, cases):
        """{case: what the client says}."""
        found = {}
        for case, (verb, *arguments) in cases.items():
            if verb in self.admin.unavailable:
                continue
            try:
                getattr(self.admin, verb)(*arguments)
                found[case] = "no error"
            except Refused as e:
                found[case] = str(e)
        return found

    def names(self):
        names = {"a space": "a name", "one dot": ".", "empty": "", "250 letters": "n" * 250, "not ASCII": "größe"}
        return self.said({case: ("create", name) for case, name in names.items()})

    def wrong_topics(self):
        topic = new_topic(2)
        return self.said(
            {
                "create: taken": ("create", topic),
                "create: no partitions": ("create", fresh_name(), 0),
                "delete: unknown": ("remove", "nowhere"),
                "grow: unknown": ("grow", "nowhere", 3),
                "grow: fewer": ("grow", topic, 1),
                "grow: the same": ("grow", topic, 2),
                "configs: unknown": ("configs", "nowhere"),
                "delete group: unknown": ("delete_group", "nobody"),
            }
        )

    def wrong_configs(self):
        topic = new_topic()

        def create(**configs):
            return ("create", fresh_name(), 1, 1, {name.replace("_", "."): value for name, value in configs.items()})

        return self.said(
            {
                "create: unknown": create(no_such="1"),
                "create: not a number": create(retention_ms="long"),
                "create: too small": create(retention_ms="-2"),
                "create: not one of a list": create(cleanup_policy="keep"),
                "alter: unknown": ("alter", topic, {"no.such": "1"}),
                "alter: not a number": ("alter", topic, {"max.message.bytes": "many"}),
                "alter: unknown topic": ("alter", "nowhere", {"retention.ms": "1000"}),
            }
        )

    def port(self):
        return {"nobody listens": self.client.elsewhere("127.0.0.1:1")}

    def advertised(self):
        topic = new_topic()
        control("settings", "advertised.listeners=PLAINTEXT://127.0.0.1:1")
        try:
            return {"produce": self.client.stranded(topic)}
        finally:
            control("settings")


def scenarios(shared):
    a = Admin(shared)
    return [
        ("metadata.by-id", a.by_id),
        ("admin.topics", a.topics),
        ("admin.configs", a.configs),
        ("admin.partitions", a.partitions),
        ("admin.delete-records", a.delete_records),
        ("admin.groups", a.groups),
        ("admin.offsets", a.offsets),
        ("admin.cluster", a.cluster),
        ("errors.names", a.names),
        ("errors.topics", a.wrong_topics),
        ("errors.configs", a.wrong_configs),
        ("errors.port", a.port),
        ("errors.advertised", a.advertised),
    ]

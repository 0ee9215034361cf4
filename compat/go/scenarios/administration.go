package scenarios

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"trestle.compat/model"
)

// administration, and what a user reads when something is wrong.
func (s *shared) administration() []scenario {
	return []scenario{
		{"metadata.by-id", s.byID},
		{"admin.topics", s.adminTopics},
		{"admin.configs", s.adminConfigs},
		{"admin.partitions", s.adminPartitions},
		{"admin.delete-records", s.adminDeleteRecords},
		{"admin.groups", s.adminGroups},
		{"admin.offsets", s.adminOffsets},
		{"admin.cluster", s.adminCluster},
		{"errors.names", s.names},
		{"errors.topics", s.wrongTopics},
		{"errors.configs", s.wrongConfigs},
		{"errors.port", s.port},
		{"errors.advertised", s.advertised},
	}
}

func soon(what string, condition func() bool) {
	waitFor(func() string { return what }, readWithin, condition)
}

func (s *shared) byID() string {
	topic := newTopic(3)
	name, partitions, err := s.client.Admin().ByID(topic)
	must(err)
	expect("name", name, topic)
	expect("partitions", partitions, 3)
	return ""
}

func (s *shared) adminTopics() string {
	topic, admin := freshName("compat"), s.client.Admin()
	must(admin.Create(topic, 3, 1, map[string]string{"retention.ms": "3600000"}))
	soon("the topic", func() bool { return slices.Contains(got(admin.Topics()), topic) })
	_, leaders, err := s.client.Metadata(topic)
	must(err)
	expect("partitions", len(leaders[topic]), 3)
	s.produceTo(topic, 2, []byte("one"))
	must(admin.Remove(topic))
	soon("its end", func() bool { return !slices.Contains(got(admin.Topics()), topic) })
	return ""
}

func (s *shared) adminConfigs() string {
	topic, admin := freshName("compat"), s.client.Admin()
	must(admin.Create(topic, 1, 1, map[string]string{"retention.ms": "3600000"}))
	soon("the topic", func() bool { return slices.Contains(got(admin.Topics()), topic) })
	expect("as created", got(admin.Configs(topic))["retention.ms"], "3600000")
	expect("a default", got(admin.Configs(topic))["cleanup.policy"], "delete")
	must(admin.Alter(topic, map[string]string{"retention.ms": "7200000", "max.message.bytes": "2000000"}))
	soon("the change", func() bool { return got(admin.Configs(topic))["retention.ms"] == "7200000" })
	expect("the other", got(admin.Configs(topic))["max.message.bytes"], "2000000")
	return ""
}

func (s *shared) adminPartitions() string {
	topic := newTopic(2)
	s.produceTo(topic, 1, []byte("one"))
	must(s.client.Admin().Grow(topic, 5))
	soon("five partitions", func() bool {
		_, leaders, err := s.client.Metadata(topic)
		must(err)
		return len(leaders[topic]) == 5 && !slices.Contains(leaders[topic], -1)
	})
	s.produceTo(topic, 4, []byte("two"))
	var values []string
	for _, r := range s.read(topic, 5) {
		values = append(values, string(r.Value))
	}
	sort.Strings(values)
	expect("values", values, []string{"one", "two"})
	return ""
}

func (s *shared) adminDeleteRecords() string {
	topic := newTopic(1)
	s.produceTo(topic, 0, words(10)...)
	must(s.client.Admin().DeleteRecords(topic, 0, 6))
	expect("starts", got(s.client.Starts(topic, 1)), []int64{6})
	expect("values", same(s.values(topic), words(10)[6:]), true)
	return ""
}

func (s *shared) adminGroups() string {
	topic, group, records, admin := newTopic(1), freshName("group"), &model.Records{}, s.client.Admin()
	s.produceTo(topic, 0, []byte("one"))
	m := got(s.client.Member(model.MemberOptions{Group: group, Topic: topic, Session: session, Records: records}))
	soon("the record", func() bool { return len(records.All()) == 1 })
	expect("listed", slices.Contains(got(admin.Groups()), group), true)
	soon("the commit", func() bool {
		offset, _, err := s.client.Committed(group, topic, 0)
		must(err)
		return offset == 1
	})
	described := func() string {
		found := got(admin.DescribeGroup(group))
		return fmt.Sprint(strings.ToUpper(found.State), " ", found.Members)
	}
	expect("described", described(), "STABLE 1")
	m.Close()
	soon("an empty group", func() bool { return described() == "EMPTY 0" })
	must(admin.DeleteGroup(group))
	soon("its end", func() bool { return !slices.Contains(got(admin.Groups()), group) })
	return ""
}

func (s *shared) adminOffsets() string {
	topic := newTopic(2)
	s.produceTo(topic, 0, words(3)...)
	expect("starts", got(s.client.Starts(topic, 2)), []int64{0, 0})
	expect("ends", got(s.client.Ends(topic, 2)), []int64{3, 0})
	return ""
}

func (s *shared) adminCluster() string {
	id, _, brokers, err := s.client.Admin().Cluster()
	must(err)
	expect("brokers", brokers, []string{model.Bootstrap()})
	expect("an id", len(id) > 10 || id == "", true)
	return ""
}

// says notes what the client says.
func (s *shared) says(name string, err error) {
	said[name] = "no error"
	if err != nil {
		said[name] = s.client.Says(err)
	}
}

func (s *shared) names() string {
	admin := s.client.Admin()
	for name, topic := range map[string]string{"a space": "a name", "one dot": ".", "empty": "", "250 letters": strings.Repeat("n", 250), "not ASCII": "größe"} {
		s.says(name, admin.Create(topic, 1, 1, nil))
	}
	return ""
}

func (s *shared) wrongTopics() string {
	topic, admin := newTopic(2), s.client.Admin()
	s.says("create: taken", admin.Create(topic, 1, 1, nil))
	s.says("create: no partitions", admin.Create(freshName("compat"), 0, 1, nil))
	s.says("delete: unknown", admin.Remove("nowhere"))
	s.says("grow: unknown", admin.Grow("nowhere", 3))
	s.says("grow: fewer", admin.Grow(topic, 1))
	s.says("grow: the same", admin.Grow(topic, 2))
	_, err := admin.Configs("nowhere")
	s.says("configs: unknown", err)
	s.says("delete records: after the end", admin.DeleteRecords(topic, 0, 2))
	s.says("delete group: unknown", admin.DeleteGroup("nobody"))
	return ""
}

func (s *shared) wrongConfigs() string {
	topic, admin := newTopic(1), s.client.Admin()
	create := func(name, value string) error {
		return admin.Create(freshName("compat"), 1, 1, map[string]string{name: value})
	}
	s.says("create: unknown", create("no.such", "1"))
	s.says("create: not a number", create("retention.ms", "long"))
	s.says("create: too small", create("retention.ms", "-2"))
	s.says("create: not one of a list", create("cleanup.policy", "keep"))
	s.says("alter: unknown", admin.Alter(topic, map[string]string{"no.such": "1"}))
	s.says("alter: not a number", admin.Alter(topic, map[string]string{"max.message.bytes": "many"}))
	s.says("alter: unknown topic", admin.Alter("nowhere", map[string]string{"retention.ms": "1000"}))
	return ""
}

func (s *shared) port() string {
	s.says("nobody listens", s.client.Elsewhere("127.0.0.1:1"))
	return ""
}

func (s *shared) advertised() string {
	topic := newTopic(1)
	control("settings", "advertised.listeners=PLAINTEXT://127.0.0.1:1")
	defer control("settings")
	s.says("produce", s.client.Stranded(topic))
	return ""
}

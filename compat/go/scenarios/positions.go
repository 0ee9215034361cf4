package scenarios

import (
	"fmt"
	"strings"
	"time"

	"trestle.compat/model"
)

// positions: seeking, pausing, and topics that change under a consumer.
func (s *shared) positions() []scenario {
	return []scenario{
		{"seek.offset", s.seekOffset},
		{"seek.time", s.seekTime},
		{"pause.resume", s.pauseResume},
		{"topic.recreated", s.recreated},
	}
}

func words(count int) [][]byte {
	var values [][]byte
	for i := range count {
		values = append(values, fmt.Append(nil, i))
	}
	return values
}

func (s *shared) produceTo(topic string, partition int32, values ...[]byte) {
	p := got(s.client.Producer(model.ProducerOptions{}))
	defer p.Close()
	for _, value := range values {
		p.Send(model.Record{Topic: topic, Partition: partition, Value: value})
	}
	noErrors(p)
}

// until reads on until all those came, in that order. What was on its way before a seek does not count.
func until(reader model.Reader, left ...string) {
	waitFor(func() string { return fmt.Sprint("the records ", left) }, readWithin, func() bool {
		for _, r := range got(reader.Poll(200 * time.Millisecond)) {
			if len(left) > 0 && string(r.Value) == left[0] {
				left = left[1:]
			}
		}
		return len(left) == 0
	})
}

func (s *shared) seekOffset() string {
	topic := newTopic(1)
	s.produceTo(topic, 0, words(100)...)
	reader := got(s.client.Reader(topic, 1, -1, false))
	defer reader.Close()
	until(reader, "99")
	must(reader.Seek(0, 40))
	until(reader, "40", "99")
	must(reader.Seek(0, model.Beginning))
	until(reader, "0")
	must(reader.Seek(0, model.End))
	for range 3 {
		got(reader.Poll(200 * time.Millisecond))
	}
	s.produceTo(topic, 0, []byte("new"))
	until(reader, "new")
	return ""
}

func (s *shared) seekTime() string {
	topic, p := newTopic(1), got(s.client.Producer(model.ProducerOptions{}))
	for i := range 10 {
		p.Send(model.Record{Topic: topic, Value: fmt.Append(nil, i), Timestamp: origin.Add(time.Duration(i) * time.Second)})
	}
	noErrors(p)
	p.Close()
	reader := got(s.client.Reader(topic, 1, -1, false))
	defer reader.Close()
	until(reader, "9")
	must(reader.Seek(0, got(s.client.OffsetAt(topic, 0, origin.Add(6500*time.Millisecond)))))
	until(reader, "7", "8", "9")
	return ""
}

func (s *shared) pauseResume() string {
	topic := newTopic(2)
	reader := got(s.client.Reader(topic, 2, -1, false))
	defer reader.Close()
	var seen [2][]string
	more := func() {
		for _, r := range got(reader.Poll(200 * time.Millisecond)) {
			seen[r.Partition] = append(seen[r.Partition], string(r.Value))
		}
	}
	wait := func(what string, condition func() bool) {
		waitFor(func() string { return what }, readWithin, func() bool { more(); return condition() })
	}
	for p := range int32(2) {
		s.produceTo(topic, p, []byte("first"))
	}
	wait("the first records", func() bool { return len(seen[0]) > 0 && len(seen[1]) > 0 })
	reader.Pause(0)
	// What a fetch on its way brings is not held against it.
	for range 5 {
		more()
	}
	for p := range int32(2) {
		s.produceTo(topic, p, words(20)...)
	}
	wait("the records of the other partition", func() bool { return len(seen[1]) == 21 })
	expect("of the paused partition", seen[0], []string{"first"})
	reader.Resume(0)
	wait("the records of the resumed partition", func() bool { return len(seen[0]) == 21 })
	wanted := []string{"first"}
	for _, word := range words(20) {
		wanted = append(wanted, string(word))
	}
	expect("each once, in order", seen, [2][]string{wanted, wanted})
	return ""
}

func (s *shared) recreated() string {
	topic, records, admin := newTopic(1), &model.Records{}, s.client.Admin()
	m := got(s.client.Member(model.MemberOptions{Group: freshName("group"), Topic: topic, Session: session, Records: records, Refresh: time.Second}))
	defer m.Close()
	came := func(value string) bool {
		for _, r := range records.All() {
			if string(r.Value) == value {
				return true
			}
		}
		return false
	}
	s.produceTo(topic, 0, []byte("old"))
	waitFor(func() string { return "the old record" }, readWithin, func() bool { return came("old") })
	must(admin.Remove(topic))
	waitFor(func() string { return "its return" }, readWithin, func() bool {
		err := admin.Create(topic, 1, 1, nil)
		// By us, or by the consumer's own question for it.
		return err == nil || strings.Contains(strings.ToLower(err.Error()), "exist")
	})
	waitFor(func() string { return fmt.Sprint("a new record ", m.Log().Failed()) }, 90*time.Second, func() bool {
		p := got(s.client.Producer(model.ProducerOptions{}))
		p.Send(model.Record{Topic: topic, Value: []byte("new")})
		p.Flush()
		p.Close()
		time.Sleep(200 * time.Millisecond)
		return came("new")
	})
	return ""
}

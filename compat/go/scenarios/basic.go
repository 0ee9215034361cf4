package scenarios

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"trestle.compat/model"
)

const readWithin = 60 * time.Second

// origin is the time of the first of the spaced records: an hour ago, which retention leaves alone.
var origin = time.Now().Truncate(time.Millisecond).Add(-time.Hour)

type shared struct{ client model.Client }

func numbered(count, width int) [][]byte {
	var values [][]byte
	for i := range count {
		values = append(values, fmt.Appendf(nil, "record %08d %s", i, bytes.Repeat([]byte("x"), width)))
	}
	return values
}

func valuesOf(records []model.Record) [][]byte {
	var values [][]byte
	for _, r := range records {
		values = append(values, r.Value)
	}
	return values
}

func same(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func noErrors(p model.Producer) {
	if errors := p.Flush(); len(errors) > 0 {
		fail("%d delivery errors, the first: %s", len(errors), errors[0])
	}
}

func (s *shared) produce(topic string, values [][]byte, options model.ProducerOptions) {
	p := got(s.client.Producer(options))
	defer p.Close()
	for _, value := range values {
		p.Send(model.Record{Topic: topic, Value: value})
	}
	noErrors(p)
}

// read is everything from the start to the ends, which all partitions share when ends is nil.
func (s *shared) readTo(topic string, start int64, ends []int64) []model.Record {
	reader := got(s.client.Reader(topic, len(ends), start, false))
	defer reader.Close()
	missing := map[int32]bool{}
	for p, end := range ends {
		if end > max(start, 0) {
			missing[int32(p)] = true
		}
	}
	var found []model.Record
	for deadline := time.Now().Add(readWithin); len(missing) > 0; {
		if time.Now().After(deadline) {
			fail("%d partitions did not end within %v; %d records came", len(missing), readWithin, len(found))
		}
		for _, r := range got(reader.Poll(200 * time.Millisecond)) {
			found = append(found, r)
			if r.Offset >= ends[r.Partition]-1 {
				delete(missing, r.Partition)
			}
		}
	}
	return found
}

func (s *shared) read(topic string, partitions int) []model.Record {
	return s.readTo(topic, -1, got(s.client.Ends(topic, partitions)))
}

func (s *shared) values(topic string) [][]byte { return valuesOf(s.read(topic, 1)) }

// readUntil is everything up to a value that each partition has.
func (s *shared) readUntil(topic string, last []byte, partitions int, committed bool) []model.Record {
	reader := got(s.client.Reader(topic, partitions, -1, committed))
	defer reader.Close()
	missing := map[int32]bool{}
	for p := range partitions {
		missing[int32(p)] = true
	}
	var found []model.Record
	for deadline := time.Now().Add(readWithin); len(missing) > 0; {
		if time.Now().After(deadline) {
			fail("%s did not come in %d partitions within %v; %d records came", last, len(missing), readWithin, len(found))
		}
		for _, r := range got(reader.Poll(200 * time.Millisecond)) {
			if bytes.Equal(r.Value, last) {
				delete(missing, r.Partition)
			} else {
				found = append(found, r)
			}
		}
	}
	return found
}

type batch struct {
	Records    int
	Codec      string
	ProducerID int64 `json:"producer_id"`
}

func stored(topic string) []batch {
	var batches []batch
	must(json.Unmarshal(control("batches", topic, 0), &batches))
	return batches
}

func (s *shared) basic() []scenario {
	all := []scenario{{"metadata.all", s.metadataAll}, {"metadata.by-name", s.metadataByName}}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		all = append(all, scenario{"codec." + codec, func() string { return s.codec(codec) }})
	}
	all = append(all, scenario{"records.shapes", s.shapes}, scenario{"keys.partitions", s.keys})
	for _, acks := range []string{"0", "1", "all"} {
		all = append(all, scenario{"acks." + acks, func() string { return s.acks(acks) }})
	}
	return append(all,
		scenario{"idempotent", s.idempotent},
		scenario{"time.lookup", s.timeLookup},
		scenario{"time.start", s.timeStart},
		scenario{"records.1mb", s.oneMegabyte},
		scenario{"records.too-large", s.tooLarge},
		scenario{"partitions.many", s.manyPartitions},
		scenario{"consume.tail", s.tail},
		scenario{"auto-create.on", s.autoCreateOn},
		scenario{"auto-create.off", s.autoCreateOff},
		scenario{"restart.clean", func() string { return s.restart("restart") }},
		scenario{"restart.crash", func() string { return s.restart("crash") }},
	)
}

func (s *shared) metadataAll() string {
	topic := newTopic(3)
	brokers, leaders, err := s.client.Metadata("")
	must(err)
	expect("brokers", brokers, []string{model.Bootstrap()})
	expect("partitions", len(leaders[topic]), 3)
	return ""
}

func (s *shared) metadataByName() string {
	topic, other := newTopic(3), newTopic(1)
	_, leaders, err := s.client.Metadata(topic)
	must(err)
	expect("topics", len(leaders), 1)
	expect("partitions", len(leaders[topic]), 3)
	return "did not list " + other
}

func (s *shared) codec(name string) string {
	topic, sent := newTopic(1), numbered(10_000, 100)
	s.produce(topic, sent, model.ProducerOptions{Codec: name, Linger: 50 * time.Millisecond})
	expect("values", same(s.values(topic), sent), true)
	batches := stored(topic)
	for _, b := range batches {
		expect("codec stored", b.Codec, name)
	}
	return fmt.Sprintf("%d batches", len(batches))
}

func (s *shared) shapes() string {
	topic, at := newTopic(1), origin
	headers := []model.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "empty", Value: []byte{}}, {Key: "null"}}
	sides := [][]byte{nil, {}, []byte("text")}
	p := got(s.client.Producer(model.ProducerOptions{}))
	defer p.Close()
	var sent []model.Record
	for _, key := range sides {
		for _, value := range sides {
			sent = append(sent, model.Record{Topic: topic, Key: key, Value: value, Headers: headers, Timestamp: at, Offset: int64(len(sent))})
			p.Send(sent[len(sent)-1])
		}
	}
	noErrors(p)
	found := s.read(topic, 1)
	expect("records", len(found), len(sent))
	show := func(b []byte) string { return fmt.Sprintf("%v %q", b == nil, b) }
	for i, r := range found {
		expect("key", show(r.Key), show(sent[i].Key))
		expect("value", show(r.Value), show(sent[i].Value))
		expect("timestamp", r.Timestamp.UnixMilli(), at.UnixMilli())
		expect("headers", len(r.Headers), len(headers))
		for j, h := range r.Headers {
			expect("header", h.Key+show(h.Value), headers[j].Key+show(headers[j].Value))
		}
	}
	return ""
}

func (s *shared) keys() string {
	topic, p := newTopic(8), got(s.client.Producer(model.ProducerOptions{ByKey: true}))
	defer p.Close()
	for i := range 1000 {
		p.Send(model.Record{Topic: topic, Partition: model.Any, Key: fmt.Appendf(nil, "key-%d", i%100), Value: []byte(strconv.Itoa(i))})
	}
	noErrors(p)
	homes, used, numbers := map[string]int32{}, map[int32]bool{}, []int{}
	for _, r := range s.read(topic, 8) {
		if home, ok := homes[string(r.Key)]; ok {
			expect("home of "+string(r.Key), r.Partition, home)
		}
		homes[string(r.Key)] = r.Partition
		used[r.Partition] = true
		numbers = append(numbers, got(strconv.Atoi(string(r.Value))))
	}
	sort.Ints(numbers)
	expect("records", numbers, upTo(1000))
	expect("partitions used", len(used), 8)
	return ""
}

func upTo(n int) []int {
	numbers := []int{}
	for i := range n {
		numbers = append(numbers, i)
	}
	return numbers
}

func (s *shared) acks(level string) string {
	topic, sent := newTopic(1), numbered(1000, 0)
	s.produce(topic, sent, model.ProducerOptions{Acks: level})
	// Nobody told the producer with acks=0 when its records were there.
	waitFor(func() string { return "1000 records" }, readWithin, func() bool { return got(s.client.Ends(topic, 1))[0] >= 1000 })
	expect("values", same(s.values(topic), sent), true)
	return ""
}

func (s *shared) idempotent() string {
	topic, sent := newTopic(1), numbered(5000, 0)
	s.produce(topic, sent, model.ProducerOptions{Idempotent: true, BatchRecords: 100})
	expect("values", same(s.values(topic), sent), true)
	batches := stored(topic)
	for _, b := range batches {
		expect("one producer id", b.ProducerID >= 0 && b.ProducerID == batches[0].ProducerID, true)
	}
	return fmt.Sprintf("%d batches", len(batches))
}

// spaced is a topic of eight records a second apart, in batches of two.
func (s *shared) spaced() string {
	topic := newTopic(1)
	for b := range 4 {
		p := got(s.client.Producer(model.ProducerOptions{Linger: 50 * time.Millisecond}))
		for i := 2 * b; i < 2*b+2; i++ {
			p.Send(model.Record{Topic: topic, Value: fmt.Appendf(nil, "at %d", i), Timestamp: origin.Add(time.Duration(i) * time.Second)})
		}
		noErrors(p)
		p.Close()
	}
	return topic
}

func (s *shared) timeLookup() string {
	topic := s.spaced()
	at := func(ms int) int64 {
		return got(s.client.OffsetAt(topic, 0, origin.Add(time.Duration(ms)*time.Millisecond)))
	}
	for i := range 8 {
		expect("its timestamp", at(1000*i), int64(i))
		expect("just before its timestamp", at(1000*i-1), int64(i))
	}
	expect("after the last", at(7001), int64(-1))
	return ""
}

func (s *shared) timeStart() string {
	topic := s.spaced()
	start := got(s.client.OffsetAt(topic, 0, origin.Add(4500*time.Millisecond)))
	found := s.readTo(topic, start, got(s.client.Ends(topic, 1)))
	expect("records", len(found), 3)
	for i, r := range found {
		expect("offset", r.Offset, int64(5+i))
		expect("timestamp", r.Timestamp.Sub(origin), time.Duration(5+i)*time.Second)
	}
	return ""
}

func (s *shared) oneMegabyte() string {
	topic, sent := newTopic(1), [][]byte{}
	for i := range 5 {
		body := make([]byte, 1_000_000)
		for at := range body {
			body[at] = byte(at*31 ^ i)
		}
		sent = append(sent, body)
	}
	s.produce(topic, sent, model.ProducerOptions{MaxBytes: 1_048_576 - 100})
	expect("bodies", same(s.values(topic), sent), true)
	return ""
}

func (s *shared) tooLarge() string {
	topic, p := newTopic(1), got(s.client.Producer(model.ProducerOptions{Codec: "none", MaxBytes: 4_000_000}))
	defer p.Close()
	p.Send(model.Record{Topic: topic, Value: bytes.Repeat([]byte("x"), 2_000_000)})
	expect("errors", p.Flush(), []string{s.client.TooLarge()})
	p.Send(model.Record{Topic: topic, Value: []byte("small")})
	noErrors(p)
	expect("values", same(s.values(topic), [][]byte{[]byte("small")}), true)
	return s.client.TooLarge()
}

func (s *shared) manyPartitions() string {
	topic, sent, p := newTopic(200), numbered(20_000, 0), got(s.client.Producer(model.ProducerOptions{Idempotent: true}))
	defer p.Close()
	for i, value := range sent {
		p.Send(model.Record{Topic: topic, Partition: int32(i % 200), Value: value})
	}
	noErrors(p)
	ends := make([]int64, 200)
	for i := range ends {
		ends[i] = 100
	}
	found := map[int32]int{}
	for _, r := range s.readTo(topic, -1, ends) {
		expect("value", string(r.Value), string(sent[int(r.Offset)*200+int(r.Partition)]))
		found[r.Partition]++
	}
	for p := range int32(200) {
		expect(fmt.Sprint("records of partition ", p), found[p], 100)
	}
	expect("ends", got(s.client.Ends(topic, 200)), ends)
	_, leaders, err := s.client.Metadata(topic)
	must(err)
	expect("partitions listed", len(leaders[topic]), 200)
	return ""
}

func (s *shared) tail() string {
	topic := newTopic(1)
	reader, p := got(s.client.Reader(topic, 1, -1, false)), got(s.client.Producer(model.ProducerOptions{}))
	defer reader.Close()
	defer p.Close()
	var slowest time.Duration
	for i := range 20 {
		value := fmt.Sprint("record ", i)
		p.Send(model.Record{Topic: topic, Value: []byte(value)})
		noErrors(p)
		acknowledged := time.Now()
		var found []model.Record
		waitFor(func() string { return value }, readWithin, func() bool {
			found = got(reader.Poll(time.Second))
			return len(found) > 0
		})
		expect("value", string(found[0].Value), value)
		// The first one waits for the reader's start.
		if took := time.Since(acknowledged); i > 0 && took > slowest {
			slowest = took
		}
	}
	expect("the slowest within five seconds of its acknowledgement", slowest < 5*time.Second, true)
	return fmt.Sprintf("slowest of 19: %d ms after its acknowledgement", slowest.Milliseconds())
}

func (s *shared) autoCreateOn() string {
	topic := freshName("compat-auto")
	s.produce(topic, [][]byte{[]byte("made by use")}, model.ProducerOptions{})
	expect("values", same(s.values(topic), [][]byte{[]byte("made by use")}), true)
	return ""
}

func (s *shared) autoCreateOff() string {
	control("settings", "auto.create.topics.enable=false")
	defer control("settings")
	topic, p := freshName("compat-auto"), got(s.client.Producer(model.ProducerOptions{}))
	p.Send(model.Record{Topic: topic, Value: []byte("nowhere")})
	errors := p.Flush()
	expect(fmt.Sprint("one error, and of an unknown topic ", errors), len(errors) == 1 && strings.Contains(errors[0], s.client.UnknownTopic()), true)
	p.Close()
	_, leaders, err := s.client.Metadata("")
	must(err)
	expect("the topic was made", len(leaders[topic]) > 0, false)
	return s.client.UnknownTopic()
}

// restart: one long-lived idempotent producer; the broker goes away in the middle of its records.
func (s *shared) restart(how string) string {
	topic, sent := newTopic(1), numbered(20_000, 0)
	p := got(s.client.Producer(model.ProducerOptions{Idempotent: true, BatchRecords: 50}))
	var going []chan error
	back := func() {
		if len(going) > 0 {
			must(<-going[len(going)-1])
		}
	}
	for i, value := range sent {
		if i == 5000 || i == 12_000 {
			back()
			done := make(chan error, 1)
			going = append(going, done)
			go func() {
				_, err := attempt(func() string { control(how); return "" })
				done <- err
			}()
		}
		p.Send(model.Record{Topic: topic, Value: value})
		if i%50 == 0 {
			time.Sleep(2 * time.Millisecond)
		}
	}
	back()
	noErrors(p)
	p.Close()
	found := s.values(topic)
	distinct := map[string]bool{}
	for _, value := range found {
		distinct[string(value)] = true
	}
	expect("lost", len(sent)-len(distinct), 0)
	expect("doubled", len(found)-len(distinct), 0)
	expect("in order", same(found, sent), true)
	return "two restarts"
}

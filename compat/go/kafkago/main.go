// kafka-go: github.com/segmentio/kafka-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/segmentio/kafka-go"

	"trestle.compat/model"
	"trestle.compat/scenarios"
)

const wait = 60 * time.Second

type client struct{}

func (client) Name() string   { return "kafka-go" }
func (client) Module() string { return "github.com/segmentio/kafka-go" }
func (client) Unavailable() map[string]string {
	none := map[string]string{
		"records.shapes":       "this client reads a header's empty value as a null",
		"group.grow":           "the last record of a generation comes again in the next one, also on Apache Kafka",
		"group.static":         "this client has no static members",
		"pause.resume":         "a reader that is not read from is a paused one",
		"metadata.by-id":       "topics are described by name",
		"admin.delete-records": "this client deletes no records",
	}
	for _, name := range []string{"idempotent", "restart.clean", "restart.crash"} {
		none[name] = "this client has no idempotent writer"
	}
	for _, name := range []string{"txn.commit", "txn.abort", "txn.read-committed", "txn.offsets", "txn.fencing", "eos.chain"} {
		none[name] = "this client has the requests of transactions, and no writer that uses them"
	}
	return none
}
func (client) Protocols() []string  { return nil }
func (client) Rejoins() bool        { return true }
func (client) Forgets() bool        { return true }
func (client) TooLarge() string     { return kafka.MessageSizeTooLarge.Title() }
func (client) UnknownTopic() string { return kafka.UnknownTopicOrPartition.Title() }

func context60() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	context.AfterFunc(ctx, cancel)
	return ctx
}

func trace() kafka.Logger {
	if os.Getenv("COMPAT_TRACE") == "" {
		return nil
	}
	return log.New(os.Stderr, "kafka-go ", log.LstdFlags)
}

// asking is a client with connections of its own.
func asking() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(model.Bootstrap()), Timeout: wait, Transport: &kafka.Transport{ClientID: "compat", MetadataTTL: 2 * time.Second}}
}

// name is the client's own name of an error.
func name(err error) string {
	var known kafka.Error
	var large kafka.MessageTooLargeError
	var many kafka.WriteErrors
	switch {
	case errors.As(err, &many):
		for _, one := range many {
			if one != nil {
				return name(one)
			}
		}
	case errors.As(err, &large):
		return kafka.MessageSizeTooLarge.Title()
	case errors.As(err, &known):
		return known.Title()
	}
	return err.Error()
}

func record(m kafka.Message) model.Record {
	found := model.Record{Topic: m.Topic, Partition: int32(m.Partition), Offset: m.Offset, Timestamp: m.Time, Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		found.Headers = append(found.Headers, model.Header{Key: h.Key, Value: h.Value})
	}
	return found
}

func (client) Metadata(topic string) ([]string, map[string][]int32, error) {
	request := &kafka.MetadataRequest{}
	if topic != "" {
		request.Topics = []string{topic}
	}
	seen, err := asking().Metadata(context60(), request)
	if err != nil {
		return nil, nil, err
	}
	brokers, leaders := []string{}, map[string][]int32{}
	for _, b := range seen.Brokers {
		brokers = append(brokers, fmt.Sprintf("%s:%d", b.Host, b.Port))
	}
	for _, t := range seen.Topics {
		for _, p := range t.Partitions {
			leaders[t.Name] = append(leaders[t.Name], int32(p.Leader.ID))
		}
	}
	return brokers, leaders, nil
}

type producer struct {
	writer  *kafka.Writer
	waiting []kafka.Message
}

func (client) Producer(o model.ProducerOptions) (model.Producer, error) {
	w := &kafka.Writer{
		Addr: kafka.TCP(model.Bootstrap()), BatchTimeout: max(o.Linger, 5*time.Millisecond), BatchSize: 1000, MaxAttempts: 30,
		WriteBackoffMin: 50 * time.Millisecond, WriteBackoffMax: 200 * time.Millisecond, AllowAutoTopicCreation: true, Logger: nil, ErrorLogger: trace(),
		Transport: &kafka.Transport{ClientID: "compat", MetadataTTL: 2 * time.Second},
	}
	w.RequiredAcks = map[string]kafka.RequiredAcks{"0": kafka.RequireNone, "1": kafka.RequireOne, "": kafka.RequireAll, "all": kafka.RequireAll}[o.Acks]
	w.Compression = map[string]kafka.Compression{"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}[o.Codec]
	// A message has no partition of its own: the balancer finds it beside the message.
	w.Balancer = kafka.BalancerFunc(func(m kafka.Message, _ ...int) int { return int(m.WriterData.(int32)) })
	if o.ByKey {
		w.Balancer = &kafka.Hash{}
	}
	if o.BatchRecords > 0 {
		w.BatchSize = o.BatchRecords
	}
	if o.MaxBytes > 0 {
		w.BatchBytes = int64(o.MaxBytes)
	}
	return &producer{writer: w}, nil
}

func (p *producer) Send(r model.Record) {
	m := kafka.Message{Topic: r.Topic, Key: r.Key, Value: r.Value, Time: r.Timestamp, WriterData: max(r.Partition, 0)}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
	}
	p.waiting = append(p.waiting, m)
}

func (p *producer) Flush() []string {
	waiting := p.waiting
	p.waiting = nil
	if len(waiting) == 0 {
		return nil
	}
	err := p.writer.WriteMessages(context60(), waiting...)
	var many kafka.WriteErrors
	if !errors.As(err, &many) {
		if err != nil {
			return []string{name(err)}
		}
		return nil
	}
	var found []string
	for _, one := range many {
		if one != nil {
			found = append(found, name(one))
		}
	}
	return found
}

func (p *producer) Begin() error  { return errors.ErrUnsupported }
func (p *producer) Commit() error { return errors.ErrUnsupported }
func (p *producer) Abort() error  { return errors.ErrUnsupported }
func (p *producer) Close()        { p.writer.Close() }

type reader struct {
	readers  []*kafka.Reader
	messages chan kafka.Message
	stop     context.CancelFunc
}

func readerOf(topic string, partition int, committed bool) *kafka.Reader {
	level := kafka.ReadUncommitted
	if committed {
		level = kafka.ReadCommitted
	}
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{model.Bootstrap()}, Topic: topic, Partition: partition, MinBytes: 1, MaxBytes: 64 << 20, MaxWait: 200 * time.Millisecond,
		ReadBackoffMin: 10 * time.Millisecond, ReadBackoffMax: 200 * time.Millisecond, IsolationLevel: level, ErrorLogger: trace(),
	})
}

func (client) Reader(topic string, partitions int, start int64, committed bool) (model.Reader, error) {
	ctx, stop := context.WithCancel(context.Background())
	r := &reader{messages: make(chan kafka.Message, 1000), stop: stop}
	for p := range partitions {
		one := readerOf(topic, p, committed)
		if start >= 0 {
			if err := one.SetOffset(start); err != nil {
				stop()
				return nil, err
			}
		}
		r.readers = append(r.readers, one)
		go func() {
			for ctx.Err() == nil {
				if m, err := one.ReadMessage(ctx); err == nil {
					r.messages <- m
				}
			}
		}()
	}
	return r, nil
}

func (r *reader) Seek(partition int32, offset int64) error {
	at := map[int64]int64{model.Beginning: kafka.FirstOffset, model.End: kafka.LastOffset}
	if special, ok := at[offset]; ok {
		offset = special
	}
	return r.readers[partition].SetOffset(offset)
}

func (r *reader) Pause(int32)  {}
func (r *reader) Resume(int32) {}

func (r *reader) Poll(within time.Duration) ([]model.Record, error) {
	return model.Gather(r.messages, record, within), nil
}

func (r *reader) Close() {
	r.stop()
	go func() {
		for range r.messages {
			continue
		}
	}()
	for _, one := range r.readers {
		one.Close()
	}
}

// offsets asks for one offset of each partition.
func offsets(topic string, partitions int, of func(int) kafka.OffsetRequest) ([]kafka.PartitionOffsets, error) {
	wanted := []kafka.OffsetRequest{}
	for p := range partitions {
		wanted = append(wanted, of(p))
	}
	listed, err := asking().ListOffsets(context60(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: wanted}})
	if err != nil {
		return nil, err
	}
	found := make([]kafka.PartitionOffsets, partitions)
	for _, one := range listed.Topics[topic] {
		if one.Error != nil {
			return nil, one.Error
		}
		if one.Partition < partitions {
			found[one.Partition] = one
		}
	}
	return found, nil
}

func (client) OffsetAt(topic string, partition int32, at time.Time) (int64, error) {
	found, err := offsets(topic, int(partition)+1, func(p int) kafka.OffsetRequest { return kafka.TimeOffsetOf(p, at) })
	if err != nil {
		return 0, err
	}
	for offset := range found[partition].Offsets {
		return offset, nil
	}
	return -1, nil
}

func (client) Ends(topic string, partitions int) ([]int64, error) {
	found, err := offsets(topic, partitions, kafka.LastOffsetOf)
	ends := []int64{}
	for _, one := range found {
		ends = append(ends, one.LastOffset)
	}
	return ends, err
}

func (client) Starts(topic string, partitions int) ([]int64, error) {
	found, err := offsets(topic, partitions, kafka.FirstOffsetOf)
	starts := []int64{}
	for _, one := range found {
		starts = append(starts, one.FirstOffset)
	}
	return starts, err
}

func (client) Committed(group, topic string, partition int32) (int64, string, error) {
	fetched, err := asking().OffsetFetch(context60(), &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {int(partition)}}})
	if err != nil {
		return 0, "", err
	}
	if fetched.Error != nil {
		return 0, "", fetched.Error
	}
	found := fetched.Topics[topic][0]
	return found.CommittedOffset, found.Metadata, found.Error
}

func (client) Commit(group, topic string, partition int32, offset int64, metadata string) error {
	wanted := map[string][]kafka.OffsetCommit{topic: {{Partition: int(partition), Offset: offset, Metadata: metadata}}}
	done, err := asking().OffsetCommit(context60(), &kafka.OffsetCommitRequest{GroupID: group, GenerationID: -1, Topics: wanted})
	if err != nil {
		return err
	}
	return done.Topics[topic][0].Error
}

func (client) Chain(group, topic, transactionalID string) (model.Chain, error) {
	return nil, errors.ErrUnsupported
}

func main() { scenarios.Main(client{}) }

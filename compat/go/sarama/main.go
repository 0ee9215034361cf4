// sarama: github.com/IBM/sarama.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"trestle.compat/model"
	"trestle.compat/scenarios"
)

const wait = 60 * time.Second

type client struct{}

func (client) Name() string   { return "sarama" }
func (client) Module() string { return "github.com/IBM/sarama" }
func (client) Unavailable() map[string]string {
	none := map[string]string{"metadata.by-id": "topics are described by name", "eos.chain": "this client's members fetch offsets without require_stable (KIP-447), so a chain with more than one member cannot be exact"}
	maps.Copy(none, missing)
	return none
}
func (client) Protocols() []string  { return protocols }
func (client) Rejoins() bool        { return true }
func (client) Forgets() bool        { return false }
func (client) TooLarge() string     { return sarama.ErrMessageSizeTooLarge.Error() }
func (client) UnknownTopic() string { return sarama.ErrUnknownTopicOrPartition.Error() }

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.ClientID = "compat"
	c.Metadata.Retry.Max = 600
	c.Metadata.Retry.Backoff = 100 * time.Millisecond
	c.Consumer.Retry.Backoff = 100 * time.Millisecond
	c.Consumer.Return.Errors = false
	c.Producer.Return.Successes = true
	return c
}

func record(m *sarama.ConsumerMessage) model.Record {
	found := model.Record{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Timestamp: m.Timestamp, Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		found.Headers = append(found.Headers, model.Header{Key: string(h.Key), Value: h.Value})
	}
	return found
}

func asked[T any](question func(sarama.Client) (T, error)) (T, error) {
	cl, err := sarama.NewClient([]string{model.Bootstrap()}, config())
	if err != nil {
		var none T
		return none, err
	}
	defer cl.Close()
	return question(cl)
}

func administered[T any](question func(sarama.ClusterAdmin) (T, error)) (T, error) {
	admin, err := sarama.NewClusterAdmin([]string{model.Bootstrap()}, config())
	if err != nil {
		var none T
		return none, err
	}
	defer admin.Close()
	return question(admin)
}

func (client) Metadata(topic string) ([]string, map[string][]int32, error) {
	leaders, brokers := map[string][]int32{}, []string{}
	_, err := administered(func(admin sarama.ClusterAdmin) (bool, error) {
		nodes, _, err := admin.DescribeCluster()
		if err != nil {
			return false, err
		}
		for _, b := range nodes {
			brokers = append(brokers, b.Addr())
		}
		names := []string{topic}
		if topic == "" {
			listed, err := admin.ListTopics()
			if err != nil {
				return false, err
			}
			names = nil
			for name := range listed {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			return true, nil
		}
		topics, err := admin.DescribeTopics(names)
		for _, t := range topics {
			for _, p := range t.Partitions {
				leaders[t.Name] = append(leaders[t.Name], p.Leader)
			}
		}
		return true, err
	})
	return brokers, leaders, err
}

type producer struct {
	async  sarama.AsyncProducer
	sent   sync.WaitGroup
	mu     sync.Mutex
	errors []string
}

func (client) Producer(o model.ProducerOptions) (model.Producer, error) {
	c := config()
	c.Producer.Partitioner = sarama.NewManualPartitioner
	if o.ByKey {
		c.Producer.Partitioner = sarama.NewHashPartitioner
	}
	c.Producer.RequiredAcks = map[string]sarama.RequiredAcks{"0": sarama.NoResponse, "1": sarama.WaitForLocal, "": sarama.WaitForAll, "all": sarama.WaitForAll}[o.Acks]
	codecs := map[string]sarama.CompressionCodec{"gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}
	c.Producer.Compression = codecs[o.Codec]
	c.Producer.Flush.Frequency = o.Linger
	c.Producer.Flush.MaxMessages = o.BatchRecords
	c.Producer.Retry.Max = 1000
	c.Producer.Retry.Backoff = 100 * time.Millisecond
	if o.MaxBytes > 0 {
		c.Producer.MaxMessageBytes = o.MaxBytes
	}
	if o.Idempotent || o.TransactionalID != "" {
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1
	}
	if o.TransactionalID != "" {
		c.Producer.Transaction.ID = o.TransactionalID
		c.Producer.Transaction.Retry.Max = 600
	} else if !o.Idempotent {
		// An unknown topic is asked for again, and must be known to be unknown at some time.
		c.Metadata.Retry.Max = 20
	}
	async, err := sarama.NewAsyncProducer([]string{model.Bootstrap()}, c)
	if err != nil {
		return nil, err
	}
	p := &producer{async: async}
	go func() {
		for range async.Successes() {
			p.sent.Done()
		}
	}()
	go func() {
		for e := range async.Errors() {
			p.mu.Lock()
			p.errors = append(p.errors, e.Err.Error())
			p.mu.Unlock()
			p.sent.Done()
		}
	}()
	return p, nil
}

func (p *producer) Send(r model.Record) {
	message := &sarama.ProducerMessage{Topic: r.Topic, Partition: max(r.Partition, 0), Timestamp: r.Timestamp}
	if r.Key != nil {
		message.Key = sarama.ByteEncoder(r.Key)
	}
	if r.Value != nil {
		message.Value = sarama.ByteEncoder(r.Value)
	}
	for _, h := range r.Headers {
		message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	p.sent.Add(1)
	p.async.Input() <- message
}

func (p *producer) Flush() []string {
	p.sent.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	errors := p.errors
	p.errors = nil
	return errors
}

func fenced(err error) error {
	if err != nil && (errors.Is(err, sarama.ErrProducerFenced) || errors.Is(err, sarama.ErrInvalidProducerEpoch)) {
		return fmt.Errorf("%w: %w", err, model.ErrFenced)
	}
	return err
}

func (p *producer) Begin() error  { return p.async.BeginTxn() }
func (p *producer) Commit() error { return fenced(p.async.CommitTxn()) }
func (p *producer) Abort() error  { return fenced(p.async.AbortTxn()) }
func (p *producer) Close()        { p.async.AsyncClose() }

type reader struct {
	consumer   sarama.Consumer
	topic      string
	messages   chan *sarama.ConsumerMessage
	closing    chan struct{}
	partitions map[int32]sarama.PartitionConsumer
}

func (client) Reader(topic string, partitions int, start int64, committed bool) (model.Reader, error) {
	c := config()
	if committed {
		c.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	consumer, err := sarama.NewConsumer([]string{model.Bootstrap()}, c)
	if err != nil {
		return nil, err
	}
	if start < 0 {
		start = sarama.OffsetOldest
	}
	r := &reader{consumer, topic, make(chan *sarama.ConsumerMessage, 1000), make(chan struct{}), map[int32]sarama.PartitionConsumer{}}
	for p := range partitions {
		if err := r.Seek(int32(p), start); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Seek ends the partition's consumer and makes another one.
func (r *reader) Seek(p int32, offset int64) error {
	if old := r.partitions[p]; old != nil {
		if err := old.Close(); err != nil {
			return err
		}
	}
	partition, err := r.consumer.ConsumePartition(r.topic, p, offset)
	if err != nil {
		return err
	}
	r.partitions[p] = partition
	go func() {
		for {
			select {
			case m, ok := <-partition.Messages():
				if !ok {
					return
				}
				select {
				case r.messages <- m:
				case <-r.closing:
					partition.AsyncClose()
					return
				}
			case <-r.closing:
				partition.AsyncClose()
				return
			}
		}
	}()
	return nil
}

func (r *reader) Pause(p int32)  { r.partitions[p].Pause() }
func (r *reader) Resume(p int32) { r.partitions[p].Resume() }

func (r *reader) Poll(within time.Duration) ([]model.Record, error) {
	return model.Gather(r.messages, record, within), nil
}

func (r *reader) Close() { close(r.closing) }

func (client) OffsetAt(topic string, partition int32, at time.Time) (int64, error) {
	return asked(func(cl sarama.Client) (int64, error) { return cl.GetOffset(topic, partition, at.UnixMilli()) })
}

func (client) Ends(topic string, partitions int) ([]int64, error) {
	return asked(func(cl sarama.Client) ([]int64, error) {
		ends := make([]int64, partitions)
		for p := range ends {
			end, err := cl.GetOffset(topic, int32(p), sarama.OffsetNewest)
			if err != nil {
				return nil, err
			}
			ends[p] = end
		}
		return ends, nil
	})
}

func (client) Committed(group, topic string, partition int32) (int64, string, error) {
	found, err := administered(func(admin sarama.ClusterAdmin) (*sarama.OffsetFetchResponseBlock, error) {
		fetched, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {partition}})
		if err != nil {
			return nil, err
		}
		return fetched.GetBlock(topic, partition), nil
	})
	if err != nil || found == nil {
		return -1, "", err
	}
	if found.Err != sarama.ErrNoError {
		return -1, "", found.Err
	}
	return found.Offset, found.Metadata, nil
}

func (client) Commit(group, topic string, partition int32, offset int64, metadata string) error {
	_, err := asked(func(cl sarama.Client) (bool, error) {
		manager, err := sarama.NewOffsetManagerFromClient(group, cl)
		if err != nil {
			return false, err
		}
		defer manager.Close()
		managed, err := manager.ManagePartition(topic, partition)
		if err != nil {
			return false, err
		}
		// Back is "reset", forth is "mark".
		managed.ResetOffset(offset, metadata)
		managed.MarkOffset(offset, metadata)
		manager.Commit()
		return true, managed.Close()
	})
	return err
}

type member struct {
	log     model.MemberLog
	options model.MemberOptions
	group   sarama.ConsumerGroup
	stop    context.CancelFunc
	ended   chan struct{}
}

func (client) Member(o model.MemberOptions) (model.Member, error) {
	c := config()
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	if o.Latest {
		c.Consumer.Offsets.Initial = sarama.OffsetNewest
	}
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Session.Timeout = o.Session
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	c.Consumer.Group.InstanceId = o.Instance
	if o.Refresh > 0 {
		c.Metadata.RefreshFrequency = o.Refresh
	}
	c.Consumer.Group.Rebalance.Retry.Max = 100
	c.Consumer.Group.Rebalance.Retry.Backoff = 100 * time.Millisecond
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	if o.Protocol == "cooperative" {
		c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{cooperative()}
	}
	group, err := sarama.NewConsumerGroup([]string{model.Bootstrap()}, o.Group, c)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &member{options: o, group: group, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		for ctx.Err() == nil {
			// It ends with every eager rebalance, and while the broker is away.
			if err := group.Consume(ctx, []string{o.Topic}, m); err != nil && ctx.Err() == nil {
				m.log.Fail(err)
				time.Sleep(50 * time.Millisecond)
			}
		}
	}()
	return m, nil
}

func (m *member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	m.log.Assigned([]int32{claim.Partition()})
	defer m.log.Revoked([]int32{claim.Partition()})
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			// All that is there, then one commit.
			for more := true; more; {
				m.options.Records.Add(record(message))
				session.MarkMessage(message, "")
				select {
				case message, more = <-claim.Messages():
				default:
					more = false
				}
			}
			if !m.options.NoCommits {
				session.Commit()
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *member) Log() *model.MemberLog { return &m.log }

func (m *member) Close() {
	m.stop()
	<-m.ended
	m.group.Close()
}

// chain is not a member of the group, only its offsets are the group's.
type chain struct {
	*producer
	c            client
	group, topic string
	from         model.Reader
	next         int64
}

func (c client) Chain(group, topic, transactionalID string) (model.Chain, error) {
	p, err := c.Producer(model.ProducerOptions{TransactionalID: transactionalID})
	if err != nil {
		return nil, err
	}
	made := &chain{producer: p.(*producer), c: c, group: group, topic: topic}
	return made, made.rewind()
}

func (c *chain) rewind() error {
	offset, _, err := c.c.Committed(c.group, c.topic, 0)
	if err == nil {
		if c.from != nil {
			c.from.Close()
		}
		c.from, err = c.c.Reader(c.topic, 1, offset, true)
	}
	return err
}

func (c *chain) Poll(within time.Duration) ([]model.Record, error) {
	found, err := c.from.Poll(within)
	if len(found) > 0 {
		c.next = found[len(found)-1].Offset + 1
	}
	return found, err
}

func (c *chain) End(commit bool) (bool, error) {
	c.Flush()
	if !commit {
		if err := c.Abort(); err != nil {
			return false, err
		}
		return false, c.rewind()
	}
	offsets := map[string][]*sarama.PartitionOffsetMetadata{c.topic: {{Partition: 0, Offset: c.next}}}
	if err := c.async.AddOffsetsToTxn(offsets, c.group); err != nil {
		return false, err
	}
	return true, c.Commit()
}

func (c *chain) Close() {
	c.from.Close()
	c.producer.Close()
}

func main() {
	if trace := os.Getenv("COMPAT_TRACE"); strings.TrimSpace(trace) != "" {
		sarama.Logger = log.New(os.Stderr, "sarama ", log.LstdFlags)
	}
	scenarios.Main(client{})
}

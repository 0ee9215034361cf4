// franz-go: github.com/twmb/franz-go/pkg/kgo.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"trestle.compat/model"
	"trestle.compat/scenarios"
)

const wait = 60 * time.Second

type client struct{}

func (client) Name() string   { return "franz-go" }
func (client) Module() string { return "github.com/twmb/franz-go" }
func (client) Unavailable() map[string]string {
	return map[string]string{"topic.recreated": "a member does not go on with a topic of the same name and another id, also on Apache Kafka"}
}
func (client) Protocols() []string  { return []string{"cooperative", "kip848"} }
func (client) Rejoins() bool        { return true }
func (client) Forgets() bool        { return false }
func (client) TooLarge() string     { return "MESSAGE_TOO_LARGE" }
func (client) UnknownTopic() string { return "UNKNOWN_TOPIC_OR_PARTITION" }

func options(more ...kgo.Opt) []kgo.Opt {
	common := []kgo.Opt{
		kgo.SeedBrokers(model.Bootstrap()),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
		kgo.RetryTimeout(wait),
	}
	if os.Getenv("COMPAT_TRACE") != "" {
		common = append(common, kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelInfo, nil)))
	}
	return append(common, more...)
}

func context60() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// name is the client's own name of an error.
func name(err error) string {
	var known *kerr.Error
	if errors.As(err, &known) {
		return known.Message
	}
	return err.Error()
}

func fenced(err error) error {
	for _, known := range []error{kerr.ProducerFenced, kerr.InvalidProducerEpoch} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", name(err), model.ErrFenced)
		}
	}
	return err
}

func record(r *kgo.Record) model.Record {
	found := model.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		found.Headers = append(found.Headers, model.Header{Key: h.Key, Value: h.Value})
	}
	return found
}

func kgoRecord(r model.Record) *kgo.Record {
	sent := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		sent.Headers = append(sent.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return sent
}

func (client) Metadata(topic string) ([]string, map[string][]int32, error) {
	cl, err := kgo.NewClient(options()...)
	if err != nil {
		return nil, nil, err
	}
	defer cl.Close()
	var names []string
	if topic != "" {
		names = append(names, topic)
	}
	seen, err := kadm.NewClient(cl).Metadata(context60(), names...)
	brokers, leaders := []string{}, map[string][]int32{}
	for _, b := range seen.Brokers {
		brokers = append(brokers, fmt.Sprintf("%s:%d", b.Host, b.Port))
	}
	for _, t := range seen.Topics {
		for _, p := range t.Partitions.Sorted() {
			leaders[t.Topic] = append(leaders[t.Topic], p.Leader)
		}
	}
	return brokers, leaders, err
}

type producer struct {
	cl     *kgo.Client
	mu     sync.Mutex
	errors []string
}

func (client) Producer(o model.ProducerOptions) (model.Producer, error) {
	more := []kgo.Opt{kgo.ProducerLinger(o.Linger), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(2), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	if o.ByKey {
		more = append(more, kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	}
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	if o.Codec != "" {
		more = append(more, kgo.ProducerBatchCompression(codecs[o.Codec]))
	}
	switch o.Acks {
	case "0":
		more = append(more, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	case "1":
		more = append(more, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	}
	if o.BatchRecords > 0 {
		// Batches are limited by bytes only.
		more = append(more, kgo.ProducerBatchMaxBytes(int32(100+o.BatchRecords*25)))
	}
	if o.MaxBytes > 0 {
		more = append(more, kgo.ProducerBatchMaxBytes(int32(o.MaxBytes)))
	}
	if o.TransactionalID != "" {
		more = append(more, kgo.TransactionalID(o.TransactionalID))
	}
	cl, err := kgo.NewClient(options(more...)...)
	if err == nil && o.TransactionalID != "" {
		// Otherwise the id is taken with the first record, and fencing would wait for it.
		_, _, err = cl.ProducerID(context60())
	}
	return &producer{cl: cl}, err
}

func (p *producer) Send(r model.Record) {
	if r.Partition == model.Any {
		r.Partition = 0
	}
	p.cl.Produce(context.Background(), kgoRecord(r), func(_ *kgo.Record, err error) {
		if err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.errors = append(p.errors, name(err))
		}
	})
}

func (p *producer) Flush() []string {
	err := p.cl.Flush(context60())
	p.mu.Lock()
	defer p.mu.Unlock()
	errors := p.errors
	p.errors = nil
	if err != nil {
		errors = append(errors, err.Error())
	}
	return errors
}

func (p *producer) Begin() error  { return p.cl.BeginTransaction() }
func (p *producer) Commit() error { return fenced(p.cl.EndTransaction(context60(), kgo.TryCommit)) }
func (p *producer) Abort() error  { return fenced(p.cl.EndTransaction(context60(), kgo.TryAbort)) }
func (p *producer) Close()        { p.cl.Close() }

type reader struct {
	cl         *kgo.Client
	topic      string
	partitions int
}

func (client) Reader(topic string, partitions int, start int64, committed bool) (model.Reader, error) {
	at := kgo.NewOffset().AtStart()
	if start >= 0 {
		at = kgo.NewOffset().At(start)
	}
	assigned := map[int32]kgo.Offset{}
	for p := range partitions {
		assigned[int32(p)] = at
	}
	level := kgo.ReadUncommitted()
	if committed {
		level = kgo.ReadCommitted()
	}
	cl, err := kgo.NewClient(options(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: assigned}), kgo.FetchIsolationLevel(level))...)
	return &reader{cl, topic, partitions}, err
}

// polled is the records of a poll, and its first error that the client will not get over by itself.
func polled(fetches kgo.Fetches) ([]model.Record, error) {
	var found []model.Record
	fetches.EachRecord(func(r *kgo.Record) { found = append(found, record(r)) })
	for _, e := range fetches.Errors() {
		var network interface{ Timeout() bool }
		if errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled) || kerr.IsRetriable(e.Err) || errors.As(e.Err, &network) {
			continue
		}
		return found, e.Err
	}
	return found, nil
}

func (r *reader) Poll(within time.Duration) ([]model.Record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return polled(r.cl.PollFetches(ctx))
}

func (r *reader) Seek(partition int32, offset int64) error {
	if ask := map[int64]func(client, string, int) ([]int64, error){model.Beginning: client.Starts, model.End: client.Ends}[offset]; ask != nil {
		found, err := ask(client{}, r.topic, r.partitions)
		if err != nil {
			return err
		}
		offset = found[partition]
	}
	r.cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{r.topic: {partition: {Epoch: -1, Offset: offset}}})
	return nil
}

func (r *reader) of(partition int32) map[string][]int32 {
	return map[string][]int32{r.topic: {partition}}
}

func (r *reader) Pause(partition int32)  { r.cl.PauseFetchPartitions(r.of(partition)) }
func (r *reader) Resume(partition int32) { r.cl.ResumeFetchPartitions(r.of(partition)) }
func (r *reader) Close()                 { r.cl.Close() }

// asked puts a question to an administrative client of its own.
func asked[T any](question func(*kadm.Client) (T, error)) (T, error) {
	cl, err := kgo.NewClient(options()...)
	if err != nil {
		var none T
		return none, err
	}
	defer cl.Close()
	return question(kadm.NewClient(cl))
}

func (client) OffsetAt(topic string, partition int32, at time.Time) (int64, error) {
	return asked(func(adm *kadm.Client) (int64, error) {
		listed, err := adm.ListOffsetsAfterMilli(context60(), at.UnixMilli(), topic)
		if err != nil {
			return 0, err
		}
		found, _ := listed.Lookup(topic, partition)
		if found.Timestamp < 0 {
			// The end stands for "none".
			return -1, found.Err
		}
		return found.Offset, found.Err
	})
}

func (client) Ends(topic string, partitions int) ([]int64, error) {
	return asked(func(adm *kadm.Client) ([]int64, error) {
		listed, err := adm.ListEndOffsets(context60(), topic)
		if err == nil {
			err = listed.Error()
		}
		ends := make([]int64, partitions)
		for p := range ends {
			found, _ := listed.Lookup(topic, int32(p))
			ends[p] = found.Offset
		}
		return ends, err
	})
}

func (client) Committed(group, topic string, partition int32) (int64, string, error) {
	found, err := asked(func(adm *kadm.Client) (kadm.OffsetResponse, error) {
		fetched, err := adm.FetchOffsets(context60(), group)
		found, ok := fetched.Lookup(topic, partition)
		if !ok {
			found.At = -1
		}
		return found, err
	})
	if err == nil {
		err = found.Err
	}
	return found.At, found.Metadata, err
}

func (client) Commit(group, topic string, partition int32, offset int64, metadata string) error {
	_, err := asked(func(adm *kadm.Client) (bool, error) {
		wanted := kadm.Offsets{}
		wanted.Add(kadm.Offset{Topic: topic, Partition: partition, At: offset, LeaderEpoch: -1, Metadata: metadata})
		done, err := adm.CommitOffsets(context60(), group, wanted)
		if err == nil {
			err = done.Error()
		}
		return true, err
	})
	return err
}

type member struct {
	log   model.MemberLog
	cl    *kgo.Client
	stop  context.CancelFunc
	ended chan struct{}
}

func (client) Member(o model.MemberOptions) (model.Member, error) {
	m := &member{ended: make(chan struct{})}
	of := func(note func([]int32)) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, all map[string][]int32) {
			if partitions := all[o.Topic]; len(partitions) > 0 {
				note(partitions)
			}
		}
	}
	more := []kgo.Opt{
		kgo.ConsumerGroup(o.Group), kgo.ConsumeTopics(o.Topic), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(of(m.log.Assigned)), kgo.OnPartitionsRevoked(of(m.log.Revoked)), kgo.OnPartitionsLost(of(m.log.Revoked)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}
	switch o.Protocol {
	case "cooperative":
		more = append(more, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	case "kip848":
		more = append(more, kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer())
	default:
		more = append(more, kgo.Balancers(kgo.RangeBalancer()))
	}
	if o.Protocol != "kip848" {
		more = append(more, kgo.SessionTimeout(o.Session), kgo.HeartbeatInterval(500*time.Millisecond))
	}
	if o.Refresh > 0 {
		more = append(more, kgo.MetadataMaxAge(o.Refresh))
	}
	if o.Latest {
		more = append(more, kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	}
	if o.Instance != "" {
		more = append(more, kgo.InstanceID(o.Instance))
	}
	cl, err := kgo.NewClient(options(more...)...)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m.cl, m.stop = cl, stop
	go func() {
		defer close(m.ended)
		for ctx.Err() == nil {
			found, err := polled(cl.PollFetches(ctx))
			if err != nil {
				m.log.Fail(err)
				return
			}
			o.Records.Add(found...)
			if len(found) > 0 && !o.NoCommits {
				// Until the broker is back; what a rebalance overtook is left to the next owner.
				commit := func() error { return cl.CommitUncommittedOffsets(context60()) }
				for err = commit(); err != nil && ctx.Err() == nil && !strings.Contains(err.Error(), "REBALANCE"); err = commit() {
					m.log.Fail(err)
					time.Sleep(50 * time.Millisecond)
				}
			}
			cl.AllowRebalance()
		}
	}()
	return m, nil
}

func (m *member) Log() *model.MemberLog { return &m.log }

func (m *member) Close() {
	m.stop()
	<-m.ended
	m.cl.CloseAllowingRebalance()
}

type chain struct {
	session *kgo.GroupTransactSession
}

func (client) Chain(group, topic, transactionalID string) (model.Chain, error) {
	session, err := kgo.NewGroupTransactSession(options(
		kgo.TransactionalID(transactionalID), kgo.TransactionTimeout(20*time.Second), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RequireStableFetchOffsets(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(500*time.Millisecond),
	)...)
	return &chain{session: session}, err
}

func (c *chain) Poll(within time.Duration) ([]model.Record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return polled(c.session.PollRecords(ctx, 500))
}

func (c *chain) Begin() error { return c.session.Begin() }

func (c *chain) Send(r model.Record) {
	c.session.Produce(context.Background(), kgoRecord(r), nil)
}

func (c *chain) End(commit bool) (bool, error) {
	return c.session.End(context60(), kgo.TransactionEndTry(commit))
}

func (c *chain) Close() { c.session.Close() }

func main() { scenarios.Main(client{}) }

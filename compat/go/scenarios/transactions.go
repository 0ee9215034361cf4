package scenarios

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"trestle.compat/model"
)

const chainPartitions = 3

var last = []byte("the last")

func (s *shared) transactions() []scenario {
	return []scenario{
		{"txn.commit", s.txnCommit},
		{"txn.abort", s.txnAbort},
		{"txn.read-committed", s.txnReadCommitted},
		{"txn.offsets", s.txnOffsets},
		{"txn.fencing", s.txnFencing},
		{"eos.chain", s.chain},
	}
}

func (s *shared) transactional(id string) model.Producer {
	return got(s.client.Producer(model.ProducerOptions{TransactionalID: id}))
}

func (s *shared) mark(topic string, count int) {
	p := got(s.client.Producer(model.ProducerOptions{}))
	defer p.Close()
	for partition := range count {
		p.Send(model.Record{Topic: topic, Partition: int32(partition), Value: last})
	}
	noErrors(p)
}

// marked is the values of a topic up to a mark that is set at its end now.
func (s *shared) marked(topic string, committed bool) []string {
	s.mark(topic, 1)
	values := []string{}
	for _, r := range s.readUntil(topic, last, 1, committed) {
		values = append(values, string(r.Value))
	}
	return values
}

func texts(numbers []int, step int) []string {
	list := []string{}
	for i := 0; i < len(numbers); i += step {
		list = append(list, strconv.Itoa(numbers[i]))
	}
	return list
}

func (s *shared) txnCommit() string {
	topics, p := []string{newTopic(1), newTopic(1)}, s.transactional(freshName("txn"))
	must(p.Begin())
	for i := range 1000 {
		for _, topic := range topics {
			p.Send(model.Record{Topic: topic, Value: []byte(strconv.Itoa(i))})
		}
	}
	noErrors(p)
	must(p.Commit())
	p.Close()
	for _, topic := range topics {
		expect("values", s.marked(topic, true), texts(upTo(1000), 1))
	}
	return ""
}

func (s *shared) txnAbort() string {
	topic, p := newTopic(1), s.transactional(freshName("txn"))
	for i := range 10 {
		must(p.Begin())
		p.Send(model.Record{Topic: topic, Value: []byte(strconv.Itoa(i))})
		noErrors(p)
		if i%2 == 1 {
			must(p.Abort())
		} else {
			must(p.Commit())
		}
	}
	p.Close()
	expect("read_committed", s.marked(topic, true), texts(upTo(10), 2))
	expect("read_uncommitted", s.marked(topic, false), texts(upTo(10), 1))
	return ""
}

func (s *shared) txnReadCommitted() string {
	topic, p := newTopic(1), s.transactional(freshName("txn"))
	defer p.Close()
	s.produce(topic, [][]byte{[]byte("before")}, model.ProducerOptions{})
	must(p.Begin())
	p.Send(model.Record{Topic: topic, Value: []byte("within")})
	noErrors(p)
	s.produce(topic, [][]byte{[]byte("behind")}, model.ProducerOptions{})
	reader := got(s.client.Reader(topic, 1, -1, true))
	defer reader.Close()
	found := []string{}
	more := func(want int) func() bool {
		return func() bool {
			for _, r := range got(reader.Poll(200 * time.Millisecond)) {
				found = append(found, string(r.Value))
			}
			return len(found) >= want
		}
	}
	waitFor(func() string { return "the first record" }, settles, more(1))
	// Long enough for a fetch that would bring more.
	for until := time.Now().Add(1500 * time.Millisecond); time.Now().Before(until); {
		more(0)()
	}
	expect("while the transaction is open", found, []string{"before"})
	must(p.Commit())
	waitFor(func() string { return "the others" }, settles, more(3))
	expect("when it is committed", found, []string{"before", "within", "behind"})
	return ""
}

func (s *shared) txnOffsets() string {
	topic, sink, group := newTopic(1), newTopic(1), freshName("group")
	s.feedOne(topic, 0, 3)
	chain := got(s.client.Chain(group, topic, freshName("txn")))
	defer chain.Close()
	// A transaction over what comes next; answers the offset behind it.
	transaction := func(commit bool) int64 {
		var found []model.Record
		waitFor(func() string { return "a record" }, settles, func() bool {
			found = got(chain.Poll(200 * time.Millisecond))
			return len(found) > 0
		})
		must(chain.Begin())
		for _, r := range found {
			chain.Send(model.Record{Topic: sink, Value: r.Value})
		}
		committed, err := chain.End(commit)
		must(err)
		expect("committed", committed, commit)
		return found[len(found)-1].Offset + 1
	}
	stands := func() int64 {
		offset, _, err := s.client.Committed(group, topic, 0)
		must(err)
		return offset
	}
	behind := transaction(true)
	expect("after a commit", stands(), behind)
	s.feedOne(topic, int(behind), 3)
	transaction(false)
	expect("after an abort", stands(), behind)
	behind = transaction(true)
	expect("after another commit", stands(), behind)
	return ""
}

func (s *shared) feedOne(topic string, first, count int) {
	values := [][]byte{}
	for i := first; i < first+count; i++ {
		values = append(values, []byte(strconv.Itoa(i)))
	}
	s.produce(topic, values, model.ProducerOptions{})
}

func (s *shared) txnFencing() string {
	topic, id := newTopic(1), freshName("txn")
	first := s.transactional(id)
	must(first.Begin())
	first.Send(model.Record{Topic: topic, Value: []byte("first")})
	noErrors(first)
	second := s.transactional(id)
	must(second.Begin())
	second.Send(model.Record{Topic: topic, Value: []byte("second")})
	noErrors(second)
	err := first.Commit()
	expect(fmt.Sprintf("the first producer's commit says that it is fenced (%v)", err), errors.Is(err, model.ErrFenced), true)
	first.Close()
	must(second.Commit())
	second.Close()
	expect("values", s.marked(topic, true), []string{"second"})
	return err.Error()
}

// --- the chain ---

type tally struct {
	mu      sync.Mutex
	counts  map[string]int
	reasons map[string]bool
}

func (t *tally) add(what string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what]++
	if err != nil {
		words := strings.Fields(err.Error())
		t.reasons[strings.Join(words[:min(4, len(words))], " ")] = true
		if os.Getenv("COMPAT_TRACE") != "" {
			fmt.Fprintln(os.Stderr, what, err)
		}
	}
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	parts := []string{}
	for what, n := range t.counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, what))
	}
	sort.Strings(parts)
	reasons := []string{}
	for reason := range t.reasons {
		reasons = append(reasons, reason)
	}
	sort.Strings(reasons)
	return strings.Join(parts, ", ") + " (" + strings.Join(reasons, "; ") + ")"
}

// chainFeed sends numbers into every partition for as long as scenarios last.
func (s *shared) chainFeed(topic string, counts []int64) {
	p := got(s.client.Producer(model.ProducerOptions{Idempotent: true}))
	defer p.Close()
	for until := time.Now().Add(seconds()); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		for partition := range counts {
			p.Send(model.Record{Topic: topic, Partition: int32(partition), Value: []byte(strconv.FormatInt(counts[partition], 10))})
			counts[partition]++
		}
	}
	noErrors(p)
}

// worker consumes, transforms and produces until all is done; what fails is done again.
func (s *shared) worker(id, group, source, sink string, done <-chan struct{}, t *tally) {
	chance := rand.New(rand.NewSource(int64(len(id)) + int64(id[len(id)-1])))
	ended := func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
	for !ended() {
		chain, err := s.client.Chain(group, source, id)
		for err == nil && !ended() {
			err = step(chain, sink, chance, t)
		}
		if err != nil {
			t.add("started anew", err)
		}
		if chain != nil {
			chain.Close()
		}
	}
}

func step(chain model.Chain, sink string, chance *rand.Rand, t *tally) error {
	found, err := chain.Poll(200 * time.Millisecond)
	if err != nil || len(found) == 0 {
		return err
	}
	if err := chain.Begin(); err != nil {
		return err
	}
	for _, r := range found {
		chain.Send(model.Record{Topic: sink, Partition: r.Partition, Key: []byte(strconv.FormatInt(r.Offset, 10)), Value: fmt.Appendf(nil, "<%s>", r.Value)})
	}
	wanted := chance.Float64() >= 0.2
	committed, err := chain.End(wanted)
	switch {
	case err != nil:
		return err
	case committed:
		t.add("committed", nil)
	case wanted:
		t.add("failed", nil)
	default:
		t.add("aborted", nil)
	}
	return nil
}

func (s *shared) chain() string {
	source, sink, group := newTopic(chainPartitions), newTopic(chainPartitions), freshName("group")
	counts, done, fed := make([]int64, chainPartitions), make(chan struct{}), make(chan error, 1)
	t := &tally{counts: map[string]int{}, reasons: map[string]bool{}}
	go func() {
		_, err := attempt(func() string { s.chainFeed(source, counts); return "" })
		fed <- err
	}()
	var workers sync.WaitGroup
	for i := range 2 {
		workers.Add(1)
		go func() {
			defer workers.Done()
			_, err := attempt(func() string { s.worker(fmt.Sprintf("chain-%s-%d", group, i), group, source, sink, done, t); return "" })
			if err != nil {
				t.add("worker ended", err)
			}
		}()
	}
	stop := sync.OnceFunc(func() { close(done); workers.Wait() })
	defer stop()
	for feeding := true; feeding; {
		select {
		case err := <-fed:
			must(err)
			feeding = false
		case <-time.After(3 * time.Second):
		}
		control("crash")
		t.add("broker killed", nil)
	}
	waitFor(func() string { return "the chain's end: " + t.String() }, 90*time.Second, func() bool {
		for p := range counts {
			if offset, _, err := s.client.Committed(group, source, int32(p)); err != nil || offset != counts[p] {
				time.Sleep(200 * time.Millisecond)
				return false
			}
		}
		return true
	})
	stop()
	s.mark(sink, chainPartitions)
	next, total := make([]int64, chainPartitions), int64(0)
	for _, r := range s.readUntil(sink, last, chainPartitions, true) {
		expect(fmt.Sprintf("offset %d of partition %d", r.Offset, r.Partition), string(r.Key), strconv.FormatInt(next[r.Partition], 10))
		expect("transformed", string(r.Value), fmt.Sprintf("<%d>", next[r.Partition]))
		next[r.Partition]++
	}
	expect("records", next, counts)
	for _, n := range counts {
		total += n
	}
	return fmt.Sprintf("%d records; %s", total, t)
}

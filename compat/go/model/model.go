// Package model is what the scenarios ask of a client, so that they are written once.
package model

import (
	"errors"
	"os"
	"sync"
	"time"
)

// Bootstrap is the broker's address.
func Bootstrap() string { return os.Getenv("COMPAT_BOOTSTRAP") }

// Any is the partition of a record that goes where its key says, or anywhere.
const Any = int32(-1)

// ErrFenced is what a producer gets when another one has its transactional id.
var ErrFenced = errors.New("fenced")

// Header is one header of a record; a nil value is a null.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record; nil keys and values are nulls.
type Record struct {
	Topic      string
	Partition  int32
	Offset     int64
	Timestamp  time.Time
	Key, Value []byte
	Headers    []Header
}

// ProducerOptions are of one producer; the zero value is the client's own.
type ProducerOptions struct {
	Codec           string
	Acks            string
	Idempotent      bool
	Linger          time.Duration
	BatchRecords    int
	MaxBytes        int
	ByKey           bool
	TransactionalID string
}

// Producer queues records with Send; Flush waits and answers the client's names of the errors of those
// that were not acknowledged.
type Producer interface {
	Send(Record)
	Flush() []string
	Begin() error
	Commit() error
	Abort() error
	Close()
}

// Reader reads assigned partitions, without a group.
type Reader interface {
	Poll(time.Duration) ([]Record, error)
	// Seek goes to an offset, or to Beginning or End.
	Seek(partition int32, offset int64) error
	Pause(partition int32)
	Resume(partition int32)
	Close()
}

// Gather waits for a message, and takes those that are there with it.
func Gather[M any](messages <-chan M, record func(M) Record, within time.Duration) []Record {
	var found []Record
	timeout := time.After(within)
	for len(found) < 1000 {
		if len(found) > 0 {
			select {
			case m := <-messages:
				found = append(found, record(m))
				continue
			default:
				return found
			}
		}
		select {
		case m := <-messages:
			found = append(found, record(m))
		case <-timeout:
			return found
		}
	}
	return found
}

// Where Seek goes to that is no offset.
const (
	Beginning = int64(-2)
	End       = int64(-1)
)

// Group is what is known of a group.
type Group struct {
	State   string
	Members int
}

// Admin is administration; an error is the client's own.
type Admin interface {
	Create(topic string, partitions int32, replicas int16, configs map[string]string) error
	Remove(topic string) error
	Topics() ([]string, error)
	Configs(topic string) (map[string]string, error)
	Alter(topic string, configs map[string]string) error
	Grow(topic string, partitions int) error
	DeleteRecords(topic string, partition int32, before int64) error
	Groups() ([]string, error)
	DescribeGroup(group string) (Group, error)
	DeleteGroup(group string) error
	// Cluster is its id, its controller and its brokers.
	Cluster() (id string, controller int32, brokers []string, err error)
	// ByID is the name and the partitions of a topic that is looked up by its id.
	ByID(topic string) (string, int, error)
}

// Chain reads as a member of a group and produces in transactions that carry its offsets. A transaction
// that does not commit puts the reader back.
type Chain interface {
	Poll(time.Duration) ([]Record, error)
	Begin() error
	Send(Record)
	End(commit bool) (committed bool, err error)
	Close()
}

// MemberOptions are of one member of a group. With Records set, all that it reads goes there.
type MemberOptions struct {
	Group, Topic string
	Protocol     string // "" is eager; "cooperative", "kip848"
	Instance     string
	Session      time.Duration
	Refresh      time.Duration // how often to look at topics; 0 is the client's own
	Latest       bool
	NoCommits    bool
	Records      *Records
}

// Member reads in the background, and commits what it has read.
type Member interface {
	Log() *MemberLog
	Close()
}

// Client is one client library.
type Client interface {
	Name() string
	Module() string
	Unavailable() map[string]string
	Protocols() []string
	// Rejoins says whether a member joins again, under its own id, when its connection breaks.
	Rejoins() bool
	// Forgets says whether a member that finds no broker may join as a new one.
	Forgets() bool
	TooLarge() string
	UnknownTopic() string
	Metadata(topic string) (brokers []string, leaders map[string][]int32, err error)
	Producer(ProducerOptions) (Producer, error)
	Reader(topic string, partitions int, start int64, committed bool) (Reader, error)
	OffsetAt(topic string, partition int32, at time.Time) (int64, error)
	Ends(topic string, partitions int) ([]int64, error)
	Starts(topic string, partitions int) ([]int64, error)
	Admin() Admin
	// Elsewhere is the error of asking where nobody listens.
	Elsewhere(address string) error
	// Stranded is the error of producing where the broker's address is a wrong one.
	Stranded(topic string) error
	// Says is the client's own name for an error, a colon, and what it adds.
	Says(error) string
	Member(MemberOptions) (Member, error)
	Committed(group, topic string, partition int32) (int64, string, error)
	Commit(group, topic string, partition int32, offset int64, metadata string) error
	Chain(group, topic, transactionalID string) (Chain, error)
}

// Records is a list that members share.
type Records struct {
	mu   sync.Mutex
	list []Record
}

// Add appends.
func (r *Records) Add(records ...Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, records...)
}

// All is a copy.
func (r *Records) All() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Record(nil), r.list...)
}

// Event is partitions that came to a member, or went.
type Event struct {
	Assigned   bool
	Partitions []int32
}

// MemberLog is what happened to a member.
type MemberLog struct {
	mu     sync.Mutex
	owned  map[int32]bool
	events []Event
	failed error
}

func (l *MemberLog) happened(assigned bool, partitions []int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owned == nil {
		l.owned = map[int32]bool{}
	}
	l.events = append(l.events, Event{assigned, append([]int32(nil), partitions...)})
	for _, p := range partitions {
		if assigned {
			l.owned[p] = true
		} else {
			delete(l.owned, p)
		}
	}
}

// Assigned notes partitions that came.
func (l *MemberLog) Assigned(partitions []int32) { l.happened(true, partitions) }

// Revoked notes partitions that went.
func (l *MemberLog) Revoked(partitions []int32) { l.happened(false, partitions) }

// Fail notes the error that ended the member.
func (l *MemberLog) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed = err
	}
}

// Failed is that error, or nil.
func (l *MemberLog) Failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Owned is what the member has now.
func (l *MemberLog) Owned() map[int32]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	owned := map[int32]bool{}
	for p := range l.owned {
		owned[p] = true
	}
	return owned
}

// Events is all that happened so far.
func (l *MemberLog) Events() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Event(nil), l.events...)
}

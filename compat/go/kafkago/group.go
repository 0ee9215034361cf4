package main

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"

	"trestle.compat/model"
)

type member struct {
	log     model.MemberLog
	options model.MemberOptions
	group   *kafka.ConsumerGroup
	stop    context.CancelFunc
	ended   chan struct{}
}

func (client) Member(o model.MemberOptions) (model.Member, error) {
	start := kafka.FirstOffset
	if o.Latest {
		start = kafka.LastOffset
	}
	// A member that finds no broker forgets its id and joins as a new one (segmentio/kafka-go#1215): the group waits so long
	// for the old one, here as on Apache Kafka.
	rebalance := 20 * time.Second
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: o.Group, Brokers: []string{model.Bootstrap()}, Topics: []string{o.Topic}, GroupBalancers: []kafka.GroupBalancer{kafka.RangeGroupBalancer{}},
		HeartbeatInterval: 500 * time.Millisecond, SessionTimeout: o.Session, RebalanceTimeout: rebalance, JoinGroupBackoff: 100 * time.Millisecond,
		StartOffset: start, WatchPartitionChanges: o.Refresh > 0, PartitionWatchInterval: o.Refresh, ErrorLogger: trace(),
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &member{options: o, group: group, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		for ctx.Err() == nil {
			generation, err := group.Next(ctx)
			if errors.Is(err, kafka.ErrGroupClosed) || errors.Is(err, context.Canceled) {
				return
			}
			if err != nil {
				m.log.Fail(err)
				time.Sleep(50 * time.Millisecond)
				continue
			}
			for _, assigned := range generation.Assignments[o.Topic] {
				generation.Start(func(ctx context.Context) { m.read(ctx, generation, assigned) })
			}
		}
	}()
	return m, nil
}

// read is for as long as the generation lasts.
func (m *member) read(ctx context.Context, generation *kafka.Generation, assigned kafka.PartitionAssignment) {
	partition := []int32{int32(assigned.ID)}
	m.log.Assigned(partition)
	defer m.log.Revoked(partition)
	reader := readerOf(m.options.Topic, assigned.ID, false)
	defer reader.Close()
	if err := reader.SetOffset(assigned.Offset); err != nil {
		m.log.Fail(err)
		return
	}
	for {
		message, err := reader.ReadMessage(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			m.log.Fail(err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		m.options.Records.Add(record(message))
		// What a rebalance overtakes is left to the next owner.
		for !m.options.NoCommits && ctx.Err() == nil {
			err := generation.CommitOffsets(map[string]map[int]int64{m.options.Topic: {assigned.ID: message.Offset + 1}})
			if err == nil {
				break
			}
			m.log.Fail(err)
			var known kafka.Error
			if errors.As(err, &known) {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

func (m *member) Log() *model.MemberLog { return &m.log }

func (m *member) Close() {
	m.stop()
	m.group.Close()
	<-m.ended
}

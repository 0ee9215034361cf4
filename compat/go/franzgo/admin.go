package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trestle.compat/model"
)

type admin struct{}

func (client) Admin() model.Admin { return admin{} }

// once asks without trying again.
func once[T any](question func(context.Context, *kadm.Client) (T, error)) (T, error) {
	return asked(func(adm *kadm.Client) (T, error) { return question(context60(), adm) })
}

func (admin) Create(topic string, partitions int32, replicas int16, configs map[string]string) error {
	values := map[string]*string{}
	for name, value := range configs {
		values[name] = &value
	}
	_, err := once(func(ctx context.Context, adm *kadm.Client) (kadm.CreateTopicResponse, error) {
		return adm.CreateTopic(ctx, partitions, replicas, values, topic)
	})
	return err
}

func (admin) Remove(topic string) error {
	_, err := once(func(ctx context.Context, adm *kadm.Client) (kadm.DeleteTopicResponses, error) {
		done, err := adm.DeleteTopics(ctx, topic)
		if err == nil {
			err = done.Error()
		}
		return done, err
	})
	return err
}

func (admin) Topics() ([]string, error) {
	return once(func(ctx context.Context, adm *kadm.Client) ([]string, error) {
		listed, err := adm.ListTopics(ctx)
		return listed.Names(), err
	})
}

func (admin) Configs(topic string) (map[string]string, error) {
	return once(func(ctx context.Context, adm *kadm.Client) (map[string]string, error) {
		described, err := adm.DescribeTopicConfigs(ctx, topic)
		values := map[string]string{}
		for _, resource := range described {
			if err == nil {
				err = resource.Err
			}
			for _, one := range resource.Configs {
				values[one.Key] = one.MaybeValue()
			}
		}
		return values, err
	})
}

func (admin) Alter(topic string, configs map[string]string) error {
	var changes []kadm.AlterConfig
	for name, value := range configs {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	_, err := once(func(ctx context.Context, adm *kadm.Client) (bool, error) {
		done, err := adm.AlterTopicConfigs(ctx, changes, topic)
		for _, one := range done {
			if err == nil {
				err = one.Err
			}
		}
		return true, err
	})
	return err
}

func (admin) Grow(topic string, partitions int) error {
	_, err := once(func(ctx context.Context, adm *kadm.Client) (bool, error) {
		done, err := adm.UpdatePartitions(ctx, partitions, topic)
		if err == nil {
			err = done.Error()
		}
		return true, err
	})
	return err
}

func (admin) DeleteRecords(topic string, partition int32, before int64) error {
	_, err := once(func(ctx context.Context, adm *kadm.Client) (bool, error) {
		wanted := kadm.Offsets{}
		wanted.AddOffset(topic, partition, before, -1)
		done, err := adm.DeleteRecords(ctx, wanted)
		if err == nil {
			err = done.Error()
		}
		return true, err
	})
	return err
}

func (admin) Groups() ([]string, error) {
	return once(func(ctx context.Context, adm *kadm.Client) ([]string, error) {
		listed, err := adm.ListGroups(ctx)
		return listed.Groups(), err
	})
}

func (admin) DescribeGroup(group string) (model.Group, error) {
	return once(func(ctx context.Context, adm *kadm.Client) (model.Group, error) {
		described, err := adm.DescribeGroups(ctx, group)
		found := described[group]
		if err == nil {
			err = found.Err
		}
		return model.Group{State: found.State, Members: len(found.Members)}, err
	})
}

func (admin) DeleteGroup(group string) error {
	_, err := once(func(ctx context.Context, adm *kadm.Client) (bool, error) {
		done, err := adm.DeleteGroup(ctx, group)
		if err == nil {
			err = done.Err
		}
		return true, err
	})
	return err
}

func (admin) Cluster() (id string, controller int32, brokers []string, err error) {
	seen, err := once(func(ctx context.Context, adm *kadm.Client) (kadm.Metadata, error) { return adm.BrokerMetadata(ctx) })
	for _, b := range seen.Brokers {
		brokers = append(brokers, fmt.Sprintf("%s:%d", b.Host, b.Port))
	}
	return seen.Cluster, seen.Controller, brokers, err
}

func (admin) ByID(topic string) (string, int, error) {
	cl, err := kgo.NewClient(options()...)
	if err != nil {
		return "", 0, err
	}
	defer cl.Close()
	listed, err := kadm.NewClient(cl).ListTopics(context60(), topic)
	if err != nil {
		return "", 0, err
	}
	request := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.TopicID = listed[topic].ID
	request.Topics = append(request.Topics, one)
	answer, err := request.RequestWith(context60(), cl)
	if err != nil {
		return "", 0, err
	}
	if len(answer.Topics) != 1 || answer.Topics[0].Topic == nil {
		return "", 0, errors.New("one topic with a name was asked for")
	}
	return *answer.Topics[0].Topic, len(answer.Topics[0].Partitions), nil
}

func (client) Elsewhere(address string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.RetryTimeout(time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	return cl.Ping(context60())
}

func (client) Stranded(topic string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(model.Bootstrap()), kgo.RecordDeliveryTimeout(3*time.Second), kgo.RetryTimeout(3*time.Second), kgo.DisableIdempotentWrite())
	if err != nil {
		return err
	}
	defer cl.Close()
	return cl.ProduceSync(context60(), &kgo.Record{Topic: topic, Value: []byte("nowhere")}).FirstErr()
}

func (client) Says(err error) string { return name(err) + ": " + err.Error() }

func (client) Starts(topic string, partitions int) ([]int64, error) {
	return asked(func(adm *kadm.Client) ([]int64, error) {
		listed, err := adm.ListStartOffsets(context60(), topic)
		starts := make([]int64, partitions)
		for p := range starts {
			found, _ := listed.Lookup(topic, int32(p))
			starts[p] = found.Offset
		}
		return starts, err
	})
}

package main

import (
	"errors"
	"time"

	"github.com/IBM/sarama"

	"trestle.compat/model"
)

type admin struct{}

func (client) Admin() model.Admin { return admin{} }

// done is for what answers an error only.
func done(question func(sarama.ClusterAdmin) error) error {
	_, err := administered(func(a sarama.ClusterAdmin) (bool, error) { return true, question(a) })
	return err
}

func pointers(configs map[string]string) map[string]*string {
	values := map[string]*string{}
	for name, value := range configs {
		values[name] = &value
	}
	return values
}

func (admin) Create(topic string, partitions int32, replicas int16, configs map[string]string) error {
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: replicas, ConfigEntries: pointers(configs)}
	return done(func(a sarama.ClusterAdmin) error { return a.CreateTopic(topic, detail, false) })
}

func (admin) Remove(topic string) error {
	return done(func(a sarama.ClusterAdmin) error { return a.DeleteTopic(topic) })
}

func (admin) Topics() ([]string, error) {
	return administered(func(a sarama.ClusterAdmin) ([]string, error) {
		listed, err := a.ListTopics()
		var names []string
		for name := range listed {
			names = append(names, name)
		}
		return names, err
	})
}

func (admin) Configs(topic string) (map[string]string, error) {
	return administered(func(a sarama.ClusterAdmin) (map[string]string, error) {
		entries, err := a.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
		values := map[string]string{}
		for _, entry := range entries {
			values[entry.Name] = entry.Value
		}
		return values, err
	})
}

func (admin) Alter(topic string, configs map[string]string) error {
	return done(func(a sarama.ClusterAdmin) error {
		return a.AlterConfig(sarama.TopicResource, topic, pointers(configs), false)
	})
}

func (admin) Grow(topic string, partitions int) error {
	return done(func(a sarama.ClusterAdmin) error { return a.CreatePartitions(topic, int32(partitions), nil, false) })
}

func (admin) DeleteRecords(topic string, partition int32, before int64) error {
	return done(func(a sarama.ClusterAdmin) error {
		return a.DeleteRecords(topic, map[int32]int64{partition: before})
	})
}

func (admin) Groups() ([]string, error) {
	return administered(func(a sarama.ClusterAdmin) ([]string, error) {
		listed, err := a.ListConsumerGroups()
		var names []string
		for name := range listed {
			names = append(names, name)
		}
		return names, err
	})
}

func (admin) DescribeGroup(group string) (model.Group, error) {
	return administered(func(a sarama.ClusterAdmin) (model.Group, error) {
		described, err := a.DescribeConsumerGroups([]string{group})
		if err != nil || len(described) != 1 {
			return model.Group{}, err
		}
		return model.Group{State: described[0].State, Members: len(described[0].Members)}, nil
	})
}

func (admin) DeleteGroup(group string) error {
	return done(func(a sarama.ClusterAdmin) error { return a.DeleteConsumerGroup(group) })
}

// Cluster has no id: this client does not show it.
func (admin) Cluster() (id string, controller int32, brokers []string, err error) {
	err = done(func(a sarama.ClusterAdmin) error {
		nodes, of, err := a.DescribeCluster()
		controller = of
		for _, b := range nodes {
			brokers = append(brokers, b.Addr())
		}
		return err
	})
	return id, controller, brokers, err
}

func (admin) ByID(string) (string, int, error) {
	return "", 0, errors.New("this client has no such thing")
}

func (client) Elsewhere(address string) error {
	c := config()
	c.Metadata.Retry.Max = 1
	cl, err := sarama.NewClient([]string{address}, c)
	if err == nil {
		cl.Close()
	}
	return err
}

func (client) Stranded(topic string) error {
	c := config()
	c.Metadata.Retry.Max, c.Producer.Retry.Max = 1, 1
	c.Producer.Return.Errors = true
	c.Net.DialTimeout = 5 * time.Second
	producer, err := sarama.NewSyncProducer([]string{model.Bootstrap()}, c)
	if err != nil {
		return err
	}
	defer producer.Close()
	_, _, err = producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder("nowhere")})
	return err
}

// Says is the text of the client's own error, which may have the broker's wrapped in it.
func (client) Says(err error) string {
	var known sarama.KError
	var topic *sarama.TopicError
	var partition *sarama.TopicPartitionError
	switch {
	case errors.As(err, &topic):
		return topic.Err.Error() + ": " + err.Error()
	case errors.As(err, &partition):
		return partition.Err.Error() + ": " + err.Error()
	case errors.As(err, &known):
		return known.Error() + ": " + err.Error()
	}
	return err.Error()
}

func (client) Starts(topic string, partitions int) ([]int64, error) {
	return asked(func(cl sarama.Client) ([]int64, error) {
		starts := make([]int64, partitions)
		for p := range starts {
			start, err := cl.GetOffset(topic, int32(p), sarama.OffsetOldest)
			if err != nil {
				return nil, err
			}
			starts[p] = start
		}
		return starts, nil
	})
}

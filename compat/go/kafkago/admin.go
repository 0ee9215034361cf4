package main

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"trestle.compat/model"
)

type admin struct{}

func (client) Admin() model.Admin { return admin{} }

// one is the only error of a map.
func one(found map[string]error, err error) error {
	for _, inner := range found {
		if err == nil {
			err = inner
		}
	}
	return err
}

func (admin) Create(topic string, partitions int32, replicas int16, configs map[string]string) error {
	config := kafka.TopicConfig{Topic: topic, NumPartitions: int(partitions), ReplicationFactor: int(replicas)}
	for name, value := range configs {
		config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	done, err := asking().CreateTopics(context60(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	if err != nil {
		return err
	}
	return one(done.Errors, nil)
}

func (admin) Remove(topic string) error {
	done, err := asking().DeleteTopics(context60(), &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return one(done.Errors, nil)
}

func (admin) Topics() ([]string, error) {
	seen, err := asking().Metadata(context60(), &kafka.MetadataRequest{})
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, topic := range seen.Topics {
		names = append(names, topic.Name)
	}
	return names, nil
}

func (admin) Configs(topic string) (map[string]string, error) {
	resource := kafka.DescribeConfigRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}
	described, err := asking().DescribeConfigs(context60(), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{resource}})
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, entry := range described.Resources[0].ConfigEntries {
		values[entry.ConfigName] = entry.ConfigValue
	}
	return values, described.Resources[0].Error
}

func (admin) Alter(topic string, configs map[string]string) error {
	resource := kafka.IncrementalAlterConfigsRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}
	for name, value := range configs {
		resource.Configs = append(resource.Configs, kafka.IncrementalAlterConfigsRequestConfig{Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet})
	}
	done, err := asking().IncrementalAlterConfigs(context60(), &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{resource}})
	if err != nil {
		return err
	}
	return done.Resources[0].Error
}

func (admin) Grow(topic string, partitions int) error {
	config := kafka.TopicPartitionsConfig{Name: topic, Count: int32(partitions)}
	done, err := asking().CreatePartitions(context60(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{config}})
	if err != nil {
		return err
	}
	return one(done.Errors, nil)
}

func (admin) DeleteRecords(string, int32, int64) error { return nil }

func (admin) Groups() ([]string, error) {
	listed, err := asking().ListGroups(context60(), &kafka.ListGroupsRequest{})
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, group := range listed.Groups {
		names = append(names, group.GroupID)
	}
	return names, listed.Error
}

func (admin) DescribeGroup(group string) (model.Group, error) {
	described, err := asking().DescribeGroups(context60(), &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return model.Group{}, err
	}
	found := described.Groups[0]
	return model.Group{State: found.GroupState, Members: len(found.Members)}, found.Error
}

func (admin) DeleteGroup(group string) error {
	done, err := asking().DeleteGroups(context60(), &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return err
	}
	return one(done.Errors, nil)
}

func (admin) Cluster() (id string, controller int32, brokers []string, err error) {
	seen, err := asking().Metadata(context60(), &kafka.MetadataRequest{})
	if err != nil {
		return "", 0, nil, err
	}
	for _, b := range seen.Brokers {
		brokers = append(brokers, fmt.Sprintf("%s:%d", b.Host, b.Port))
	}
	return seen.ClusterID, int32(seen.Controller.ID), brokers, nil
}

func (admin) ByID(string) (string, int, error) { return "", 0, nil }

func (client) Elsewhere(address string) error {
	_, err := (&kafka.Client{Addr: kafka.TCP(address), Timeout: 5 * time.Second, Transport: &kafka.Transport{}}).Metadata(context60(), &kafka.MetadataRequest{})
	return err
}

func (client) Stranded(topic string) error {
	w := &kafka.Writer{Addr: kafka.TCP(model.Bootstrap()), Topic: topic, MaxAttempts: 2, BatchTimeout: time.Millisecond, Transport: &kafka.Transport{}}
	defer w.Close()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	err := w.WriteMessages(ctx, kafka.Message{Value: []byte("nowhere")})
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s", name(err))
}

func (client) Says(err error) string { return name(err) + ": " + err.Error() }

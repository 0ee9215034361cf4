//go:build pinned

// What 1.40 does not have.
package main

import "github.com/IBM/sarama"

const resends = "its idempotent producer puts what it sends again into batches out of sequence, and gives up (IBM/sarama#2619, mended since), also on Apache Kafka"

var missing = map[string]string{
	"errors.topics":  "of what is wrong with configs it shows the broker's text alone",
	"errors.configs": "of what is wrong with configs it shows the broker's text alone",
	"restart.clean":  resends,
	"restart.crash":  resends,
	"group.grow":     "what a member has read comes again after a rebalance, also on Apache Kafka",
}

var protocols []string

func cooperative() sarama.BalanceStrategy { return nil }

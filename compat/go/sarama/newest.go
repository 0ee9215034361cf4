//go:build !pinned

package main

import "github.com/IBM/sarama"

var missing map[string]string

var protocols = []string{"cooperative"}

func cooperative() sarama.BalanceStrategy { return sarama.NewBalanceStrategyCooperativeSticky() }

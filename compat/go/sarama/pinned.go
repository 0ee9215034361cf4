//go:build pinned

// What 1.40 does not have.
package main

import "github.com/IBM/sarama"

var protocols []string

func cooperative() sarama.BalanceStrategy { return nil }

package task_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/task"
)

var offer = task.Task{Attempt: ids.Attempt{Flow: "btc-momentum", Cycle: 12345, UUID: uuid.MustParse("11111111-2222-5333-8444-555555555555"), Node: "signal", N: 1},
	Type: "transform", Pool: "default"}

// BenchmarkEncode is the leader's part of the codec, once a node.
func BenchmarkEncode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		offer.Encode()
	}
}

// BenchmarkDecode is the worker's.
func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	body := offer.Encode()
	for b.Loop() {
		if _, err := task.Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}

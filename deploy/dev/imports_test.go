package dev_test

import (
	"testing"

	"github.com/tradingflow/weather-station/shared/sourcetest"
)

const maxLines = 400

func TestSource(t *testing.T) {
	m := sourcetest.Load(t)
	m.Walls(t, []sourcetest.Wall{
		{Packages: []string{"./deploy/dev/..."}, Direct: true, Forbid: []string{"github.com/rabbitmq/amqp091-go"}, Why: "package rabbit is the only door to RabbitMQ"},
		{Packages: []string{"./deploy/dev/topology", "./deploy/dev/cmd/..."}, Direct: true, Forbid: []string{"github.com/redis/go-redis/..."}, Why: "package ledger is the only door to Redis"},
		{Packages: []string{"./deploy/dev/samples"}, Forbid: []string{"./coordinator/...", "./worker/...", "./shared/..."}, Why: "samples are data"},
		{Packages: []string{"./deploy/dev/topology", "./deploy/dev/cmd/..."}, Direct: true, Why: "programs use no test library but the embedded Redis",
			Forbid: []string{"testing", "github.com/google/go-cmp/...", "pgregory.net/rapid/...", "go.uber.org/goleak/..."}},
	})
	m.Lengths(t, maxLines)
}

package worker_test

import (
	"testing"

	"github.com/tradingflow/weather-station/shared/sourcetest"
)

const maxLines = 400

func TestSource(t *testing.T) {
	m := sourcetest.Load(t)
	m.Walls(t, []sourcetest.Wall{
		{Packages: []string{"./worker/..."}, Forbid: []string{"go.etcd.io/..."}, Why: "a worker needs RabbitMQ and Redis only"},
		{Packages: []string{"./worker/..."}, Forbid: []string{"./coordinator/...", "./deploy/..."}, Why: "the two programs meet in shared alone"},
		{Packages: []string{"./worker/..."}, Direct: true, Forbid: []string{"github.com/rabbitmq/amqp091-go"}, Why: "package rabbit is the only door to RabbitMQ"},
		{Packages: []string{"./worker/..."}, Direct: true, Forbid: []string{"github.com/redis/go-redis/..."}, Why: "package ledger is the only door to Redis"},
		{Packages: []string{"./worker/node"}, Forbid: []string{"net/http", "github.com/redis/...", "github.com/rabbitmq/...", "./shared/ledger", "./shared/taskqueue/..."},
			Why: "authors of node types import little"},
		{Packages: []string{"./worker/builtin"}, Forbid: []string{"./worker/internal/...", "./shared/ledger", "./shared/taskqueue/..."},
			Why: "built-in types are written against package node alone, as those of users are"},
		{Packages: []string{"./worker", "./worker/cmd/..."}, Forbid: append([]string{"./shared/taskqueue/inproc", "./shared/ledger/memory/..."}, sourcetest.TestOnly...), Why: "programs link no test library"},
	})
	m.Lengths(t, maxLines)
}

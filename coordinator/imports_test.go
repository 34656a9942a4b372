package coordinator_test

import (
	"testing"

	"github.com/tradingflow/weather-station/shared/sourcetest"
)

const maxLines = 400

func TestSource(t *testing.T) {
	pure := []string{"./coordinator/internal/progress", "./coordinator/internal/schedule", "./coordinator/internal/flow"}
	m := sourcetest.Load(t)
	m.Walls(t, []sourcetest.Wall{
		{Packages: []string{"./coordinator/..."}, Forbid: []string{"./worker/...", "./deploy/..."}, Why: "the two programs meet in shared alone"},
		// The floor of a benchmark measures the servers themselves, without what the doors add.
		{Packages: []string{"./coordinator/..."}, Except: []string{"./coordinator/bench/floor"}, Direct: true, Forbid: []string{"github.com/rabbitmq/amqp091-go"}, Why: "package rabbit is the only door to RabbitMQ"},
		{Packages: []string{"./coordinator/..."}, Except: []string{"./coordinator/bench/floor"}, Direct: true, Forbid: []string{"github.com/redis/go-redis/..."}, Why: "package ledger is the only door to Redis"},
		{Packages: []string{"./coordinator/bench/floor"}, Forbid: []string{"./shared/ledger/...", "./shared/taskqueue/...", "./coordinator/internal/..."}, Why: "the floor shares nothing with what is held against it"},
		// Package coordinator names the client in Run's parameters and passes it on.
		{Packages: []string{"./coordinator/..."}, Except: []string{"./coordinator", "./coordinator/internal/election", "./coordinator/internal/catalog", "./coordinator/internal/once"}, Direct: true,
			Forbid: []string{"go.etcd.io/..."}, Why: "etcd elects, keeps the flows and the once-keys, nothing else"},
		{Packages: []string{"./coordinator/client", "./coordinator/api", "./coordinator/bench"}, Forbid: []string{"go.etcd.io/...", "github.com/redis/...", "github.com/rabbitmq/...", "./coordinator/internal/leader"},
			Why: "clients know the API alone"},
		// It is also the program of the floor's two processes.
		{Packages: []string{"./coordinator/cmd/stationctl"}, Forbid: []string{"go.etcd.io/...", "./shared/ledger/...", "./shared/taskqueue/...", "./coordinator/internal/..."},
			Why: "clients know the API alone"},
		{Packages: pure, Forbid: []string{"net/http", "github.com/redis/...", "github.com/rabbitmq/...", "go.etcd.io/..."}, Why: "decisions are pure"},
		{Packages: pure, Direct: true, Forbid: []string{"os", "net", "context", "github.com/hashicorp/go-hclog"}, Why: "decisions are pure"},
		{Packages: []string{"./coordinator", "./coordinator/cmd/..."}, Forbid: append([]string{"./shared/taskqueue/inproc", "./shared/ledger/memory/...", "./coordinator/internal/sim", "./coordinator/internal/httpapi/httpapitest"}, sourcetest.TestOnly...),
			Why: "programs link no test library"},
	})
	m.Lengths(t, maxLines)
	m.Stories(t, 20, "./coordinator/internal/election", "./coordinator/internal/once", "./coordinator/internal/progress", "./coordinator/internal/schedule")
}

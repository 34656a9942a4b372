package shared_test

import (
	"testing"

	"github.com/tradingflow/weather-station/shared/sourcetest"
)

const maxLines = 400

func TestSource(t *testing.T) {
	m := sourcetest.Load(t)
	m.Walls(t, []sourcetest.Wall{
		{Packages: []string{"./shared/..."}, Forbid: []string{"./coordinator/...", "./worker/...", "./deploy/..."},
			Why: "shared is below both programs and knows neither"},
		{Packages: []string{"./shared/..."}, Forbid: []string{"go.etcd.io/..."}, Why: "workers link shared and stay free of etcd"},
		{Packages: []string{"./shared/..."}, Except: []string{"./shared/taskqueue/rabbit"}, Direct: true, Forbid: []string{"github.com/rabbitmq/amqp091-go"},
			Why: "package rabbit is the only door to RabbitMQ"},
		{Packages: []string{"./shared/..."}, Except: []string{"./shared/ledger", "./shared/ledger/ledgertest"}, Direct: true, Forbid: []string{"github.com/redis/go-redis/..."},
			Why: "package ledger is the only door to Redis"},
		{Packages: []string{"./shared/ids", "./shared/partition", "./shared/plan", "./shared/task", "./shared/nodetype"},
			Forbid: []string{"net/http", "github.com/redis/...", "github.com/rabbitmq/...", "github.com/hashicorp/go-hclog"}, Why: "words and plans are pure"},
		{Packages: []string{"./shared/ids", "./shared/partition", "./shared/plan", "./shared/task", "./shared/nodetype"}, Forbid: []string{"os", "net"}, Direct: true,
			Why: "words and plans are pure"},
		{Packages: []string{"./shared/..."}, Forbid: sourcetest.TestOnly,
			Except: []string{"./shared/ledger/ledgertest", "./shared/taskqueue/taskqueuetest", "./shared/sourcetest"}, Why: "programs link no test library"},
		{Packages: []string{"./shared/..."}, Except: []string{"./shared/taskqueue/taskqueuetest", "./shared/taskqueue/inproc", "./shared/ledger/memory/..."},
			Forbid: []string{"./shared/taskqueue/inproc", "./shared/taskqueue/taskqueuetest", "./shared/ledger/ledgertest", "./shared/ledger/memory/..."},
			Why:    "suites, the in-process queue and the ledger in memory are for tests and the embedded topology"},
		{Packages: []string{"./shared/..."}, Except: []string{"./shared/relay"}, Forbid: []string{"./shared/relay"}, Why: "a relay is for tests and trials"},
	})
	m.Lengths(t, maxLines)
	m.Stories(t, 20, "./shared/ledger", "./shared/ledger/memory", "./shared/taskqueue")
}

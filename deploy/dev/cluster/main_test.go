package cluster

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/tradingflow/weather-station/deploy/dev/servers"
)

// system is the real etcd, Redis and RabbitMQ of this package, with the binaries
// under test. Nil when the cluster tests are not asked for.
var system *servers.Set

func TestMain(m *testing.M) {
	flag.Parse()
	code := 1
	defer func() { os.Exit(code) }()
	if wanted() {
		s, err := startServers()
		if err != nil {
			fmt.Fprintln(os.Stderr, "cluster tests:", err)
			return
		}
		defer func() {
			if err := s.Close(); err != nil {
				fmt.Fprintln(os.Stderr, "cluster tests:", err)
			}
		}()
		system = s
	}
	code = m.Run()
}

func startServers() (*servers.Set, error) {
	root, err := servers.FindRoot()
	if err != nil {
		return nil, err
	}
	return servers.Start(servers.Config{Root: root, Build: []string{"./coordinator/cmd/coordinator", "./coordinator/cmd/stationctl", "./worker/cmd/worker", "./worker/examples/spread"}})
}

func wanted() bool {
	if os.Getenv("STATION_TEST_CLUSTER") == "1" || os.Getenv("STATION_TEST_REQUIRE") == "1" {
		return true
	}
	for _, name := range []string{"STATION_TEST_ETCD_ENDPOINTS", "STATION_TEST_REDIS_URL", "STATION_TEST_RABBITMQ_URL"} {
		if os.Getenv(name) == "" {
			return false
		}
	}
	return !testing.Short()
}

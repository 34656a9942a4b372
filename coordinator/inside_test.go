package coordinator

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/process"
)

// A port for profiles that others could reach is refused before anything is asked of
// the servers.
func TestProfilesStayHere(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "7009"} {
		s := Settings{HTTPAddr: "127.0.0.1:0", Lease: time.Second, EtcdEndpoints: []string{"127.0.0.1:1"}, RedisURL: "redis://127.0.0.1:1/0", Pprof: address, QueueType: "auto"}
		err := serve(t.Context(), s, hclog.NewNullLogger())
		if process.ExitCode(err) != process.ExitUsage || !strings.Contains(err.Error(), "pprof") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

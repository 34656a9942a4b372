package leader

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/tradingflow/weather-station/coordinator/internal/presence"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// WorkerGone proves that a worker's process is gone: nothing listens at the
// health address it announced, or another worker answers there. Anything else,
// a time-out above all, proves nothing, and a loopback address proves nothing
// about a worker of another machine.
func WorkerGone(ctx context.Context, w ledger.Worker) bool {
	if w.Health == "" || !reachable(w) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	dialer := net.Dialer{}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.Health+"/worker", nil)
	if err != nil {
		return false
	}
	var resp *http.Response
	for {
		if resp, err = client.Do(req); err == nil {
			break
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return true
		}
		// A process that is dying may still accept, and then break off.
		t := time.NewTimer(20 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false
		}
	}
	defer func() { _ = resp.Body.Close() }() // nothing is left to read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil || resp.StatusCode != http.StatusOK {
		return false
	}
	name, err := ids.ParseWorkerID(strings.TrimSpace(string(body)))
	return err == nil && name != w.ID
}

// HoldWorker connects to a worker for as long as it lives; nil when its address means
// nothing here.
func HoldWorker(w ledger.Worker) presence.Hold {
	if w.Health == "" || !reachable(w) {
		return nil
	}
	return presence.HTTP("http://"+w.Health+"/worker/presence", string(w.ID))
}

// reachable reports whether the announced address means the worker's machine
// here too.
func reachable(w ledger.Worker) bool {
	host, _, err := net.SplitHostPort(w.Health)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	if host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return true
	}
	own, err := os.Hostname()
	return err == nil && own == w.Host
}

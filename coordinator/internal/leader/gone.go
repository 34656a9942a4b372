package leader

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/tradingflow/weather-station/shared/ledger"
)

// WorkerGone proves that a worker's process is gone: nothing listens at the
// health address it announced, or another worker answers there. Anything else,
// a time-out above all, proves nothing.
func WorkerGone(ctx context.Context, w ledger.Worker) bool {
	if w.Health == "" {
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
	resp, err := client.Do(req)
	if err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	defer func() { _ = resp.Body.Close() }() // nothing is left to read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil || resp.StatusCode != http.StatusOK {
		return false
	}
	name := strings.TrimSpace(string(body))
	return name != "" && name != string(w.ID)
}

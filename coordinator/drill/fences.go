package drill

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Fences tells how many leaderships of a coordinator ended because a write of
// theirs was refused.
type Fences interface {
	Refused(ctx context.Context, address string) (int64, error)
}

// Scrape is Fences by the metrics that coordinators serve.
type Scrape struct{ HTTP *http.Client }

// Refused reads station_fenced_total of the coordinator at a base URL.
func (s Scrape) Refused(ctx context.Context, address string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(address, "/")+"/metrics", http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 8<<20))
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "station_fenced_total "); ok {
			n, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return 0, fmt.Errorf("read metrics: %w", err)
			}
			return int64(n), nil
		}
	}
	return 0, fmt.Errorf("read metrics: %s serves no station_fenced_total", address)
}

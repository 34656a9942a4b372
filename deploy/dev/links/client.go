package links

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/shared/relay"
)

// Client speaks to the control port of station-links.
type Client struct {
	base string
	http http.Client
}

// NewClient returns a client of the control port at an address: host:port or URL.
func NewClient(addr string) *Client {
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	return &Client{base: strings.TrimRight(addr, "/"), http: http.Client{Timeout: 10 * time.Second}}
}

// List returns the links that match; "" matches all.
func (c *Client) List(ctx context.Context, pattern string) ([]State, error) {
	return c.call(ctx, http.MethodGet, "/links", pattern, nil)
}

// Add starts one more link.
func (c *Client) Add(ctx context.Context, l Link) error {
	_, err := c.call(ctx, http.MethodPost, "/links", "", l)
	return err
}

// Fault replaces the faults of the links that match, and returns these.
func (c *Client) Fault(ctx context.Context, pattern string, f relay.Faults) ([]State, error) {
	return c.call(ctx, http.MethodPut, "/links/faults", pattern, f)
}

// Clear takes the faults away from the links that match, and returns these.
func (c *Client) Clear(ctx context.Context, pattern string) ([]State, error) {
	return c.call(ctx, http.MethodDelete, "/links/faults", pattern, nil)
}

// Reset resets the open connections of the links that match, once.
func (c *Client) Reset(ctx context.Context, pattern string) ([]State, error) {
	return c.call(ctx, http.MethodPost, "/links/reset", pattern, nil)
}

func (c *Client) call(ctx context.Context, method, path, pattern string, body any) ([]State, error) {
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return nil, fmt.Errorf("links: write request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path+"?"+url.Values{"match": {pattern}}.Encode(), &b)
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if resp.StatusCode != http.StatusOK {
		var f failure
		if err := json.NewDecoder(resp.Body).Decode(&f); err != nil {
			return nil, fmt.Errorf("links: answer %s: %w", resp.Status, err)
		}
		return nil, fmt.Errorf("links: %s", f.Error)
	}
	var out []State
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil, fmt.Errorf("links: read answer: %w", err)
	}
	return out, nil
}

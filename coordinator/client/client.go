package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 64 << 20

// Options change how a Client works. The zero value is good.
type Options struct {
	HTTPClient *http.Client  // nil = one of its own, with timeouts for connecting and for the answer to begin
	Timeout    time.Duration // of one call at one coordinator, without HTTPClient; 0 = only what the context says
	UserAgent  string        // "" = "weather-station-client"
}

// Client calls the API. Make one with New.
type Client struct {
	bases     []string
	http      *http.Client
	userAgent string
	preferred atomic.Int32 // index into bases of the one that answered last
}

// New returns a client of the coordinators at the base URLs, separated by
// commas, as "http://10.0.0.1:7002,http://10.0.0.2:7002".
func New(baseURLs string, opts Options) (*Client, error) {
	c := &Client{http: opts.HTTPClient, userAgent: opts.UserAgent}
	for s := range strings.SplitSeq(baseURLs, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		u, err := url.Parse(s)
		if err != nil {
			return nil, fmt.Errorf("server URL: %w", err)
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("server URL %q: want http://host:port or https://host:port", s)
		}
		c.bases = append(c.bases, strings.TrimRight(s, "/"))
	}
	if len(c.bases) == 0 {
		return nil, errors.New("server URL: none is given; want http://host:port")
	}
	if c.userAgent == "" {
		c.userAgent = "weather-station-client"
	}
	if c.http == nil {
		dialer := &net.Dialer{Timeout: 3 * time.Second}
		c.http = &http.Client{
			Timeout: opts.Timeout,
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
				TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: time.Minute,
				MaxIdleConnsPerHost: 32, IdleConnTimeout: 30 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return c, nil
}

// Close closes idle connections. The client may be used again.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call is one request of the API.
type call struct {
	method string
	path   string // escaped, from the root
	query  url.Values
	header http.Header
	body   []byte
	once   bool // doing it twice does not equal doing it once
}

// do makes the call and decodes its answer into out, unless out is nil.
func (c *Client) do(ctx context.Context, k call, out any) error {
	first := int(c.preferred.Load())
	var tried []string
	var failed error
	for i := range c.bases {
		n := (first + i) % len(c.bases)
		err := c.ask(ctx, c.bases[n], k, out)
		var problem *Problem
		switch {
		case err == nil, errors.As(err, &problem) && problem.Status != http.StatusServiceUnavailable:
			c.preferred.Store(int32(n))
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("%s %s: %w", k.method, k.path, context.Cause(ctx))
		}
		tried, failed = append(tried, c.bases[n]), err
		if k.once && !neverSent(err) {
			break
		}
	}
	var problem *Problem
	if errors.As(failed, &problem) {
		return problem
	}
	return &Unreachable{Tried: tried, Cause: failed}
}

// neverSent reports whether the call failed before the coordinator could see
// anything of it.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// ask makes the call at one coordinator. Errors are *Problem or those of the
// connection.
func (c *Client) ask(ctx context.Context, base string, k call, out any) error {
	target := base + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, k.method, target, bytes.NewReader(k.body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	for name, values := range k.header {
		req.Header[name] = values
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("read answer: %w", err)
	case len(b) > maxAnswer:
		return &Problem{Status: resp.StatusCode, Detail: "the answer is larger than " + strconv.Itoa(maxAnswer>>20) + " MiB"}
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return problemOf(resp, b)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return &Problem{Status: resp.StatusCode, Detail: "the answer is not what the API gives: " + err.Error()}
	}
	return nil
}

// problemOf reads an error answer, of the API or of something before it.
func problemOf(resp *http.Response, b []byte) *Problem {
	p := &Problem{Status: resp.StatusCode}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		p.RetryAfter = time.Duration(s) * time.Second
	}
	var a api.Problem
	if err := json.Unmarshal(b, &a); err == nil && a.Code != "" {
		p.Code, p.Detail, p.Errors = a.Code, a.Detail, a.Errors
		return p
	}
	const show = 200
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(b[:min(len(b), show)]), "?")), " ")
	if text == "" {
		text = http.StatusText(resp.StatusCode)
	}
	p.Detail = text
	return p
}

package builtin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tradingflow/weather-station/worker/node"
)

const (
	defaultMaxBytes  = 128 << 10
	maxResponseBytes = 16 << 20
	maxRedirects     = 5
	idempotencyKey   = "Idempotency-Key"
)

// httpNode makes one request. Parameters: url; method (default GET, or POST
// with a body); headers; query; body (any JSON); timeout; max_bytes of the
// decoded answer (default 128 KiB); fail_status (a status from this one on
// fails the node, default 400; 0 = none does). Edges into url, headers, query
// and body win over the parameters.
//
// A request that may change something carries the execution's intent id as
// Idempotency-Key, so a server that knows the header acts once over retries.
//
// Outputs: status, headers (lower-case names), body (decoded if it is JSON,
// else text). Statuses 429 and 5xx are left to the retry policy, a Retry-After
// is honoured; any other failing status is permanent.
type httpNode struct {
	client *http.Client
	now    func() time.Time
}

func newHTTP(allowPrivate bool) *httpNode {
	return &httpNode{client: newClient(allowPrivate), now: time.Now}
}

type httpParameters struct {
	common
	Method     string             `json:"method"`
	URL        string             `json:"url"`
	Headers    map[string]string  `json:"headers"`
	Query      map[string]scalars `json:"query"`
	Body       json.RawMessage    `json:"body"`
	Timeout    span               `json:"timeout"`
	MaxBytes   *int64             `json:"max_bytes"`
	FailStatus *int               `json:"fail_status"`
}

// scalars are the values of one query parameter: a scalar or a list of them.
type scalars []string

func (s *scalars) UnmarshalJSON(raw []byte) error {
	items := []json.RawMessage{raw}
	if len(raw) > 0 && raw[0] == '[' {
		if err := json.Unmarshal(raw, &items); err != nil {
			return err
		}
	}
	for _, item := range items {
		if len(item) > 0 && (item[0] == '{' || item[0] == '[') {
			return fmt.Errorf("query value %s must be a scalar", item)
		}
		*s = append(*s, cellText(item))
	}
	return nil
}

func (h *httpNode) Run(ctx context.Context, in *node.Input) (node.Result, error) {
	p, err := httpBind(in)
	if err != nil {
		return node.Result{}, node.Permanent(fmt.Errorf("http: %w", err))
	}
	if p.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(p.Timeout))
		defer cancel()
	}
	req, err := p.request(ctx, in)
	if err != nil {
		return node.Result{}, node.Permanent(fmt.Errorf("http: %w", err))
	}
	resp, err := h.client.Do(req)
	if err != nil {
		err = fmt.Errorf("http: %w", err)
		if be := new(BlockedAddressError); errors.As(err, &be) {
			err = node.Permanent(err)
		}
		return node.Result{}, err
	}
	defer resp.Body.Close()
	body, err := readBounded(resp.Body, *p.MaxBytes)
	if err != nil {
		return node.Result{}, fmt.Errorf("http: %s %s: %w", req.Method, req.URL.Redacted(), err)
	}
	if *p.FailStatus > 0 && resp.StatusCode >= *p.FailStatus {
		return node.Result{}, h.failure(req, resp, body)
	}
	headers := map[string]string{}
	for name, values := range resp.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return node.Outputs(map[string]any{"status": resp.StatusCode, "headers": headers, "body": decodeBody(body)}), nil
}

func httpBind(in *node.Input) (*httpParameters, error) {
	var p httpParameters
	if err := in.Bind(&p); err != nil {
		return nil, err
	}
	var faults []error
	for handle, v := range map[string]any{"url": &p.URL, "headers": &p.Headers, "query": &p.Query, "body": &p.Body} {
		if _, ok := in.Values[handle]; ok {
			if _, err := in.Value(handle, v); err != nil {
				faults = append(faults, err)
			}
		}
	}
	if u, err := url.Parse(p.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		faults = append(faults, fmt.Errorf("url %q must be like https://host/path", clipText(p.URL, 200)))
	}
	if p.MaxBytes == nil {
		p.MaxBytes = new(int64(defaultMaxBytes))
	}
	if *p.MaxBytes < 1 || *p.MaxBytes > maxResponseBytes {
		faults = append(faults, fmt.Errorf("max_bytes is %d; it must be 1 to %d", *p.MaxBytes, maxResponseBytes))
	}
	if p.FailStatus == nil {
		p.FailStatus = new(http.StatusBadRequest)
	}
	if *p.FailStatus < 0 {
		faults = append(faults, fmt.Errorf("fail_status is %d; it must be 0 or more", *p.FailStatus))
	}
	p.Method = strings.ToUpper(p.Method)
	switch {
	case p.Method == "" && len(p.Body) > 0:
		p.Method = http.MethodPost
	case p.Method == "":
		p.Method = http.MethodGet
	}
	return &p, errors.Join(faults...)
}

func (p *httpParameters) request(ctx context.Context, in *node.Input) (*http.Request, error) {
	var body io.Reader
	if len(p.Body) > 0 {
		body = bytes.NewReader(p.Body)
	}
	req, err := http.NewRequestWithContext(ctx, p.Method, p.URL, body)
	if err != nil {
		return nil, err
	}
	if len(p.Query) > 0 {
		q := req.URL.Query()
		for name, values := range p.Query {
			q[name] = values
		}
		req.URL.RawQuery = q.Encode()
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, p.Method) {
		req.Header.Set(idempotencyKey, in.IntentID.String())
	}
	for name, v := range p.Headers {
		if strings.EqualFold(name, "Host") {
			req.Host = v
			continue
		}
		req.Header.Set(name, v)
	}
	return req, nil
}

func (h *httpNode) failure(req *http.Request, resp *http.Response, body []byte) error {
	err := fmt.Errorf("http: %s %s: status %d: %s", req.Method, req.URL.Redacted(), resp.StatusCode,
		clipText(strings.TrimSpace(string(body)), 300))
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < 500 {
		return node.Permanent(err)
	}
	if d := h.retryAfter(resp.Header.Get("Retry-After")); d > 0 {
		return node.RetryAfter(err, d)
	}
	return err
}

// retryAfter reads the header's two forms: seconds and a date.
func (h *httpNode) retryAfter(v string) time.Duration {
	if n, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(n, 0), 24*60*60)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(h.now()), 0), 24*time.Hour)
	}
	return 0
}

// readBounded reads a body that has already been decompressed, so the bound
// holds for what a small answer may unfold to.
func readBounded(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if int64(len(body)) > limit {
		return nil, permanentf("the body is longer than max_bytes = %d", limit)
	}
	return body, nil
}

func decodeBody(body []byte) any {
	if json.Valid(body) {
		return json.RawMessage(body)
	}
	return strings.ToValidUTF8(string(body), "\ufffd")
}

func clipText(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// Package alert tells people that something went wrong: a line in the log, and
// a webhook when one is set. Sending never holds up the work: alerts wait in a
// bounded queue, and what does not fit is counted and logged.
package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Alert is what is told.
type Alert struct {
	Kind    string    `json:"kind"` // node_failed | cycle_failed
	Flow    string    `json:"flow_id"`
	Cycle   int64     `json:"cycle"`
	Node    string    `json:"node_id,omitempty"`
	Attempt int       `json:"attempt,omitempty"`
	Class   string    `json:"error_class,omitempty"`
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

// Config of an Alerter.
type Config struct {
	Webhook string // URL that gets each alert as a JSON POST; "" = log only
	Log     hclog.Logger
	Client  *http.Client // nil = one with a time-out of 5 s
}

const (
	queued = 1024
	tries  = 3
)

// Alerter sends alerts.
type Alerter struct {
	cfg   Config
	queue chan Alert
}

// New checks the webhook's URL.
func New(cfg Config) (*Alerter, error) {
	if cfg.Webhook != "" {
		u, err := url.Parse(cfg.Webhook)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return nil, fmt.Errorf("alert webhook is not a http or https URL")
		}
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: 5 * time.Second}
	}
	return &Alerter{cfg: cfg, queue: make(chan Alert, queued)}, nil
}

// Raise logs an alert and queues it for the webhook.
func (a *Alerter) Raise(x Alert) {
	a.cfg.Log.Error("alert", "kind", x.Kind, "flow", x.Flow, "cycle", x.Cycle, "node", x.Node, "attempt", x.Attempt, "class", x.Class, "message", x.Message)
	if a.cfg.Webhook == "" {
		return
	}
	select {
	case a.queue <- x:
	default:
		a.cfg.Log.Error("alert queue is full; the webhook misses one", "kind", x.Kind, "flow", x.Flow)
	}
}

// Run posts queued alerts until ctx ends; what is queued or on its way by then
// has 5 seconds in all.
func (a *Alerter) Run(ctx context.Context) error {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(farewell, cancel) })
	defer stop()
	for {
		select {
		case x := <-a.queue:
			a.send(last, x)
		case <-ctx.Done():
			for {
				select {
				case x := <-a.queue:
					a.send(last, x)
				default:
					return nil
				}
			}
		}
	}
}

// farewell is how long alerts are sent after the end.
const farewell = 5 * time.Second

func (a *Alerter) send(ctx context.Context, x Alert) {
	body, err := json.Marshal(x)
	if err != nil {
		a.cfg.Log.Error("alert can't be encoded", "error", err)
		return
	}
	for try := 1; ; try++ {
		err := a.post(ctx, body)
		if err == nil {
			return
		}
		if try == tries || ctx.Err() != nil {
			a.cfg.Log.Error("alert webhook failed", "tries", try, "error", err)
			return
		}
		t := time.NewTimer(time.Duration(try) * 500 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

func (a *Alerter) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.cfg.Webhook, bytes.NewReader(body))
	if err != nil {
		return errors.New("the webhook's address can't be used")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.cfg.Client.Do(req)
	if err != nil {
		var whole *url.Error // its text holds the address, and with it what lets one in
		if errors.As(err, &whole) {
			err = whole.Err
		}
		return fmt.Errorf("post: %w", err)
	}
	if err := resp.Body.Close(); err != nil {
		return fmt.Errorf("close answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("webhook answered %s", resp.Status)
	}
	return nil
}

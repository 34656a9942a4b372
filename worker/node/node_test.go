package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/worker/node"
)

func TestValue(t *testing.T) {
	in := &node.Input{
		Parameters: json.RawMessage(`{"bid": 1, "limit": 5}`),
		Values:     map[string]json.RawMessage{"bid": json.RawMessage("0"), "text": json.RawMessage(`"x"`)},
	}
	for handle, want := range map[string]float64{"bid": 0, "limit": 5} {
		got := -1.0
		if err := in.Need(handle, &got); err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", handle, got, err, want)
		}
	}
	var v float64
	if ok, err := in.Value("gone", &v); ok || err != nil {
		t.Errorf("gone: %v, %v", ok, err)
	}
	if err := in.Need("gone", &v); err == nil || !strings.Contains(err.Error(), `"gone" is missing`) {
		t.Errorf("gone: %v", err)
	}
	if ok, err := in.Value("text", &v); !ok || err == nil || !strings.Contains(err.Error(), `input "text"`) {
		t.Errorf("text: %v, %v", ok, err)
	}
	for _, parameters := range []string{"", "null", "[1]"} {
		if ok, err := (&node.Input{Parameters: json.RawMessage(parameters)}).Value("a", &v); ok || err != nil {
			t.Errorf("parameters %q: %v, %v", parameters, ok, err)
		}
	}
}

func TestBind(t *testing.T) {
	var p struct{ Limit int }
	if err := (&node.Input{}).Bind(&p); err != nil {
		t.Error(err)
	}
	if err := (&node.Input{Parameters: json.RawMessage(`{"limit": 5}`)}).Bind(&p); err != nil || p.Limit != 5 {
		t.Errorf("limit is %d: %v", p.Limit, err)
	}
	if err := (&node.Input{Parameters: json.RawMessage(`{"limti": 5}`)}).Bind(&p); err == nil || !strings.Contains(err.Error(), "limti") {
		t.Errorf("a misspelt parameter gives %v", err)
	}
}

type rude struct{}

func (rude) UnmarshalJSON([]byte) error { panic("no JSON today") }

// TestBindAfterBind: what one node's parameters were like is nothing to the next.
func TestBindAfterBind(t *testing.T) {
	long := `{"limit": 5, "text": "` + strings.Repeat("x", 10<<10) + `"}`
	for i, parameters := range []string{`{"limit": 1}`, `{"limit": 1} {"limit": 2}`, `{"limit": 1} `, `{"limit": 1}x`, `{"limit"`, `{`, ` `, `[]`, `7`, `nul`, `null`,
		`{"limti": 1}`, `{"limit": "x", "text": 7}`, long} {
		var p struct {
			Limit int
			Text  string
		}
		for _, in := range []string{parameters, parameters, `{"limit": 7}`, `{"limit": 8, "text": "y"}`} {
			p.Limit, p.Text = 0, ""
			err := (&node.Input{Parameters: json.RawMessage(in)}).Bind(&p)
			if in[:1] == "{" && len(in) > 11 && in[10] > '6' && (err != nil || p.Limit != int(in[10]-'0')) {
				t.Errorf("after %d, %.40s: %s gives %d, %v", i, parameters, in, p.Limit, err)
			}
		}
		func() {
			defer func() { _ = recover() }()
			var p struct{ Limit rude }
			_ = (&node.Input{Parameters: json.RawMessage(`{"limit": 1}`)}).Bind(&p)
			t.Error("no panic")
		}()
	}
}

func TestErrors(t *testing.T) {
	if node.Permanent(nil) != nil || node.RetryAfter(nil, time.Second) != nil {
		t.Error("no error became one")
	}
	err := fmt.Errorf("send: %w", node.Permanent(node.RetryAfter(io.EOF, time.Minute)))
	if !node.IsPermanent(err) || node.AskedRetryAfter(err) != time.Minute || !errors.Is(err, io.EOF) || err.Error() != "send: EOF" {
		t.Errorf("%v: permanent %v, after %s", err, node.IsPermanent(err), node.AskedRetryAfter(err))
	}
	if node.IsPermanent(io.EOF) || node.AskedRetryAfter(io.EOF) != 0 || node.IsPermanent(nil) {
		t.Error("a plain error is marked")
	}
}

func TestRegistry(t *testing.T) {
	h := node.HandlerFunc(func(context.Context, *node.Input) (node.Result, error) { return node.Stop("x"), nil })
	reg := node.NewRegistry()
	reg.Handle("b", h)
	reg.Handle("a", h)
	if got := reg.Types(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("types are %v", got)
	}
	if reg.Lookup("a") == nil || reg.Lookup("c") != nil {
		t.Error("lookup is wrong")
	}
	for name, wrong := range map[string]func(){
		"twice":    func() { reg.Handle("a", h) },
		"no type":  func() { reg.Handle("", h) },
		"nil":      func() { reg.Handle("c", nil) },
		"nil func": func() { reg.Handle("d", node.HandlerFunc(nil)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was accepted", name)
				}
			}()
			wrong()
		}()
	}
}

package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"pgregory.net/rapid"
)

func TestRedact(t *testing.T) {
	tests := map[string]string{
		"redis://user:hunter2@host:6379/0":                "redis://user:xxxxx@host:6379/0",
		"redis://:hunter2@host":                           "redis://:xxxxx@host",
		"amqp://u:p/w?x#y:z@h1,amqp://u:q@h2/v":           "amqp://u:xxxxx@h2/v",
		`dial "amqp://u:s3cr@t@h": refused, u@x`:          `dial "amqp://u:xxxxx@h": refused, u@x`,
		"redis://h?password=abc&db=1&sentinel_password=d": "redis://h?password=xxxxx&db=1&sentinel_password=xxxxx",
		"http://host:80/path?q=1":                         "http://host:80/path?q=1",
		"a: b@c":                                          "a: b@c",
		"http://user@host/":                               "http://user@host/",
	}
	for in, want := range tests {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
		if again := Redact(want); again != want {
			t.Errorf("Redact(%q) = %q: not stable", want, again)
		}
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger("worker", "info", "json", &out)
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("hidden")
	log.Info("connect", "url", "redis://u:hunter2@h")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	if line["url"] != "redis://u:xxxxx@h" || line["@message"] != "connect" || line["@module"] != "worker" {
		t.Errorf("line is %v", line)
	}
	out.Reset()
	log, err = NewLogger("worker", "debug", "text", &out)
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("shown", "err", errors.New("dial amqp://u:hunter2@h: refused"))
	if !strings.Contains(out.String(), "shown") || strings.Contains(out.String(), "hunter2") {
		t.Errorf("line is %q", out.String())
	}
	if _, err := NewLogger("x", "loud", "text", &out); err == nil {
		t.Error("unknown level accepted")
	}
	if _, err := NewLogger("x", "info", "xml", &out); err == nil {
		t.Error("unknown format accepted")
	}
}

func TestSignals(t *testing.T) {
	c := make(chan os.Signal)
	code := make(chan int, 1)
	ctx, stop := onSignals(context.Background(), hclog.NewNullLogger(), c, func(n int) { code <- n })
	defer stop()
	if ctx.Err() != nil {
		t.Fatal("context ends before any signal")
	}
	c <- syscall.SIGTERM
	receive(t, ctx.Done(), "the first signal ends the context")
	var asked *SignalError
	if !errors.As(context.Cause(ctx), &asked) || asked.Signal != syscall.SIGTERM {
		t.Errorf("cause is %v", context.Cause(ctx))
	}
	select {
	case n := <-code:
		t.Fatalf("exit %d at the first signal", n)
	default:
	}
	c <- syscall.SIGINT
	if n := receive(t, code, "the second signal exits"); n != 130 {
		t.Errorf("exit code %d, want 130", n)
	}
	stop()
	stop() // may be called again
}

func TestSignalsOfTheSystem(t *testing.T) {
	ctx, stop := Signals(context.Background(), hclog.NewNullLogger())
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	receive(t, ctx.Done(), "the signal ends the context")
	if code := ExitCode(context.Cause(ctx)); code != ExitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestExitCode(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {errors.New("x"), 1}, {fmt.Errorf("w: %w", &UsageError{errors.New("x")}), 2},
		{&SignalError{syscall.SIGINT}, 0}, {context.Canceled, 0},
	} {
		if got := ExitCode(tt.err); got != tt.want {
			t.Errorf("ExitCode(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestDescribeVersion(t *testing.T) {
	info := func(v string, kv ...string) *debug.BuildInfo {
		b := &debug.BuildInfo{Main: debug.Module{Version: v}}
		for i := 0; i < len(kv); i += 2 {
			b.Settings = append(b.Settings, debug.BuildSetting{Key: kv[i], Value: kv[i+1]})
		}
		return b
	}
	for _, tt := range []struct {
		linked string
		info   *debug.BuildInfo
		want   string
	}{
		{"", info(""), "(devel)"},
		{"v1.2.3", info("(devel)"), "v1.2.3"},
		{"", info("v1.0.0", "vcs.revision", "0123456789abcdef"), "v1.0.0 (0123456789ab)"},
		{"v2", info("", "vcs.revision", "abc", "vcs.modified", "true"), "v2 (abc, modified)"},
	} {
		if got := describe(tt.linked, tt.info); got != tt.want {
			t.Errorf("version %q, want %q", got, tt.want)
		}
	}
}

// TestWhatIsNotSearchedHidesNothing: a line that is written as it is, is one that Redact
// leaves alone.
func TestWhatIsNotSearchedHidesNothing(t *testing.T) {
	piece := rapid.SampledFrom([]string{"://", ":", "@", "/", "?", "&", ";", "=", "#", " ", `"`, "u", "token", "password", "api_key", "amqp"})
	rapid.Check(t, func(t *rapid.T) {
		line := strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), "")
		if !mayHide([]byte(line)) && Redact(line) != line {
			t.Fatalf("%q is not searched, and Redact makes it %q", line, Redact(line))
		}
	})
	if mayHide([]byte(`cycle ended: flow=f cycle=7 trigger=manual broker=amqp://127.0.0.1:5672/`)) {
		t.Error("an ordinary line is searched")
	}
}

package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type testSettings struct {
	Base
	RedisURL  string            `name:"redis-url" default:"redis://default" help:"Redis."`
	Grace     time.Duration     `default:"1s"`
	Slots     int               `default:"1"`
	Pools     []string          `help:"Pools."`
	Labels    map[string]string `help:"Labels."`
	Strict    bool
	Threshold float64
}

func (s *testSettings) Validate() error {
	if s.Slots > 100 {
		return fmt.Errorf("slots is %d; at most 100 are allowed", s.Slots)
	}
	return nil
}

func parse(t *testing.T, env map[string]string, args ...string) (testSettings, error) {
	t.Helper()
	var s testSettings
	_, err := Parse(Spec{
		Name: "test", Args: args,
		LookupEnv: func(k string) (string, bool) { v, ok := env[k]; return v, ok },
		Exit:      func(code int) { t.Errorf("exit %d", code) },
	}, &s)
	return s, err
}

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	conf := file(t, "c.yaml", "redis_url: redis://file\ngrace: 2s\nslots: 2\n")
	secret := file(t, "secret", "redis://secret\n")
	tests := []struct {
		name string
		env  map[string]string
		args []string
		url  string
		rest [2]any // grace, slots
	}{
		{"defaults", nil, nil, "redis://default", [2]any{time.Second, 1}},
		{"file by flag", nil, []string{"--config", conf}, "redis://file", [2]any{2 * time.Second, 2}},
		{"file by flag with =", nil, []string{"--config=" + conf}, "redis://file", [2]any{2 * time.Second, 2}},
		{"file by environment", map[string]string{"STATION_CONFIG": conf}, nil, "redis://file", [2]any{2 * time.Second, 2}},
		{"environment beats file", map[string]string{"STATION_REDIS_URL": "redis://env", "STATION_GRACE": "3s"}, []string{"--config", conf}, "redis://env", [2]any{3 * time.Second, 2}},
		{"secret file beats config file", map[string]string{"STATION_REDIS_URL_FILE": secret}, []string{"--config", conf}, "redis://secret", [2]any{2 * time.Second, 2}},
		{"flag beats all", map[string]string{"STATION_REDIS_URL": "redis://env", "STATION_SLOTS": "3"}, []string{"--config", conf, "--redis-url=redis://flag", "--slots=4"}, "redis://flag", [2]any{2 * time.Second, 4}},
		{"flag beats bad environment", map[string]string{"STATION_SLOTS": "many"}, []string{"--slots=4"}, "redis://default", [2]any{time.Second, 4}},
		{"empty environment is unset", map[string]string{"STATION_REDIS_URL": "", "STATION_SLOTS": ""}, []string{"--config", conf}, "redis://file", [2]any{2 * time.Second, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := parse(t, tt.env, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]any{tt.url, tt.rest[0], tt.rest[1]}, []any{s.RedisURL, s.Grace, s.Slots}); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigFileForms(t *testing.T) {
	forms := map[string]string{
		"flat.yaml":   "redis-url: redis://x\npools: [a, 'b,c']\nlabels: {zone: eu, n: 1}\nstrict: true\nthreshold: 1e6\nlog_level: debug\ngrace: null\n",
		"nested.yaml": "redis:\n  url: redis://x\nlog:\n  level: debug\npools:\n  - a\n  - b,c\nlabels:\n  zone: eu\n  n: 1\nstrict: true\nthreshold: 1000000\n",
		"file.json":   `{"redis_url": "redis://x", "pools": ["a", "b,c"], "labels": {"zone": "eu", "n": 1}, "strict": true, "threshold": 1e6, "log": {"level": "debug"}}`,
	}
	for name, text := range forms {
		s, err := parse(t, nil, "--config", file(t, name, text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := testSettings{
			RedisURL: "redis://x", Grace: time.Second, Slots: 1, Pools: []string{"a", "b,c"},
			Labels: map[string]string{"zone": "eu", "n": "1"}, Strict: true, Threshold: 1e6,
		}
		want.Base = s.Base
		if diff := cmp.Diff(want, s); diff != "" || s.LogLevel != "debug" {
			t.Errorf("%s: level %q, (-want +got):\n%s", name, s.LogLevel, diff)
		}
	}
	for _, text := range []string{"", "# nothing\n", "---\n"} {
		if _, err := parse(t, nil, "--config", file(t, "empty.yaml", text)); err != nil {
			t.Errorf("empty file %q: %v", text, err)
		}
	}
}

func TestFaultsAreAllListed(t *testing.T) {
	conf := file(t, "c.yaml", "redisurl: x\ngrace: soon\nslots: [1]\nlog_format: xml\nredis:\n  url: a\n  host: b\nredis_url: again\npools: {a: b}\nconfig: other\n")
	env := map[string]string{
		"STATION_THRESHOLD": "high", "STATION_REDIS_URL_FILE": "/nonexistent/secret",
		"STATION_LABELS": "x=1", "STATION_LABELS_FILE": "also",
	}
	_, err := parse(t, env, "--config", conf)
	var usage *UsageError
	if !errors.As(err, &usage) {
		t.Fatalf("error is %v", err)
	}
	for _, want := range []string{
		`c.yaml:1: unknown setting "redisurl"; did you mean redis_url?`,
		"c.yaml:2 grace", "c.yaml:3: slots: takes one value, not a list", "c.yaml:4 log_format: must be one of text, json",
		`c.yaml:7: unknown setting "redis-host"`, `c.yaml:8: setting "redis_url" is given again`,
		"c.yaml:9: pools: takes one value, not a mapping", `c.yaml:10: unknown setting "config"`,
		"STATION_THRESHOLD", "STATION_REDIS_URL_FILE", "STATION_LABELS and STATION_LABELS_FILE are both set",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not listed: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("error: %v", err)
	}
}

func TestSingleFaults(t *testing.T) {
	tests := []struct {
		name, want string
		env        map[string]string
		args       []string
	}{
		{"unknown flag", "--nonsense", nil, []string{"--nonsense"}},
		{"no such file", "no such file", nil, []string{"--config", "/nonexistent/c.yaml"}},
		{"not a mapping", "must be a mapping", nil, []string{"--config", file(t, "l.yaml", "- a\n")}},
		{"two documents", "2 documents", nil, []string{"--config", file(t, "d.yaml", "slots: 1\n---\nslots: 2\n")}},
		{"broken yaml", "b.yaml", nil, []string{"--config", file(t, "b.yaml", "a: [\n")}},
		{"alias", "not supported", nil, []string{"--config", file(t, "a.yaml", "redis_url: *x\n")}},
		{"validate", "at most 100", map[string]string{"STATION_SLOTS": "101"}, nil},
		{"bad enum in environment", "STATION_LOG_LEVEL: must be one of", map[string]string{"STATION_LOG_LEVEL": "loud"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(t, tt.env, tt.args...)
			if ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for flag, want := range map[string]string{"--help": "STATION_REDIS_URL", "--version": "test " + Version()} {
		var out bytes.Buffer
		code := -1
		var s testSettings
		_, _ = Parse(Spec{Name: "test", Args: []string{flag}, Stdout: &out, Exit: func(c int) { code = c }}, &s)
		if code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit %d, output %q", flag, code, out.String())
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("a: 1\nb: [x, {y: z}]\n")
	f.Add(`{"a": {"b": null}}`)
	f.Add("&a a: *a\n? [k]\n: v\n<<: {a: 1}\n")
	f.Fuzz(func(t *testing.T, text string) {
		values, _ := parseConfig("f", []byte(text), nil)
		if len(values) != 0 {
			t.Errorf("values of unknown settings: %v", values)
		}
	})
}

package dev_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	span   = regexp.MustCompile("`([^`]+)`")
	flag   = regexp.MustCompile(`(?:^|\s)(--[a-z][a-z-]*)`)
	metric = regexp.MustCompile(`\bstation_[a-z_]+\b`)
	named  = regexp.MustCompile(`Name: "(station_[a-z_]+)"`)
	verbs  = regexp.MustCompile(`stationctl (?:-o \w+ )?([a-z]+)(?: ([a-z]+))?`)
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPages holds that what the guarantees, the runbooks and the alert rules
// name exists: commands, settings, targets, scripts, metrics.
func TestPages(t *testing.T) {
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", bin, "../../coordinator/cmd/...", "../../worker/cmd/...")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	help := func(program string, args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), filepath.Join(bin, program), append(args, "--help")...).CombinedOutput() //nolint:gosec // built above
		return string(out), err
	}
	settings := ""
	for _, p := range []string{"coordinator", "worker"} {
		out, err := help(p)
		if err != nil {
			t.Fatalf("%s --help: %v", p, err)
		}
		settings += out
	}
	served := map[string]bool{}
	for _, m := range named.FindAllStringSubmatch(read(t, "../../coordinator/metrics.go")+read(t, "../../worker/metrics.go"), -1) {
		served[m[1]] = true
	}
	makefile := read(t, "../../Makefile")
	metrics, commands, flags := 0, 0, 0
	check := func(page, code string) {
		for _, m := range metric.FindAllString(code, -1) {
			metrics++
			if !served[regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m, "")] {
				t.Errorf("%s: metric %s is not served", page, m)
			}
		}
		where := settings
		if m := verbs.FindStringSubmatch(code); m != nil {
			commands++
			args := m[1:]
			if args[1] == "" {
				args = args[:1]
			}
			out, err := help("stationctl", args...)
			if err != nil {
				t.Errorf("%s: `%s`: %v\n%s", page, code, err, out)
			}
			where = out
		}
		if strings.HasPrefix(code, "redis-") || strings.HasPrefix(code, "etcdctl") {
			return
		}
		for _, m := range flag.FindAllStringSubmatch(code, -1) {
			flags++
			if !regexp.MustCompile(regexp.QuoteMeta(m[1]) + `\b`).MatchString(where) {
				t.Errorf("%s: there is no %s in `%s`", page, m[1], code)
			}
		}
		if target, ok := strings.CutPrefix(code, "make "); ok && !strings.Contains(makefile, "\n"+strings.Fields(target)[0]+":") {
			t.Errorf("%s: there is no target in `%s`", page, code)
		}
		if strings.HasPrefix(code, "scripts/") {
			if _, err := os.Stat("../../" + strings.Fields(code)[0]); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
	runbooks := read(t, "../RUNBOOKS.md")
	for page, text := range map[string]string{"GUARANTEES.md": read(t, "../GUARANTEES.md"), "RUNBOOKS.md": runbooks, "SCALE.md": read(t, "../SCALE.md")} {
		for _, m := range span.FindAllStringSubmatch(text, -1) {
			check(page, m[1])
		}
	}
	rules := read(t, "../prometheus/alerts.yml")
	for _, m := range regexp.MustCompile(`(?m)^\s+expr: (.*)$`).FindAllStringSubmatch(rules, -1) {
		check("alerts.yml", m[1])
	}
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(rules, -1) {
		if !strings.Contains(runbooks, "\n## "+m[1]+"\n") {
			t.Errorf("RUNBOOKS.md has no section %s", m[1])
		}
	}
	if metrics < 10 || commands < 10 || flags < 10 {
		t.Errorf("only %d metrics, %d commands and %d flags were found: the pages are not read as they are written", metrics, commands, flags)
	}
}

//go:build failpoint

package failpoint

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain makes the test program its own victim.
func TestMain(m *testing.M) {
	if os.Getenv(variable) != "" {
		for range 3 {
			Before("step")
			After("step")
			_, _ = os.Stdout.WriteString("passed\n")
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestActions(t *testing.T) {
	for spec, want := range map[string]struct {
		code   int
		passes int
		says   string
	}{
		"before-step":              {exitCode, 0, "exit at before-step"},
		"after-step:2":             {exitCode, 1, "exit at after-step"},
		"before-step:3:panic":      {2, 2, "panic: failpoint: before-step"},
		"before-step:1:sleep=1ms":  {0, 3, ""},
		"before-step:4":            {0, 3, ""},
		"before-other,after-step":  {exitCode, 0, "exit at after-step"},
		"step":                     {2, 0, "want before-STEP or after-STEP"},
		"before-step:0":            {2, 0, "want a number from 1 on"},
		"before-step:1:fly":        {2, 0, "want exit, panic or sleep"},
		"before-step:1:sleep=long": {2, 0, "invalid duration"},
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), variable+"="+spec)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, _ := cmd.Output() // the exit code says it
		if got := cmd.ProcessState.ExitCode(); got != want.code || strings.Count(string(out), "passed") != want.passes || !strings.Contains(errs.String(), want.says) {
			t.Errorf("%s: exit code %d, %d passes, %q; want %+v", spec, got, strings.Count(string(out), "passed"), errs.String(), want)
		}
	}
}

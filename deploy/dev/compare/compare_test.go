package compare

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

const compare = "../../../scripts/bench-compare"

// compareHere returns a run of the script with a folder for what is temporary, or
// skips the test where git does not know the source.
func compareHere(t *testing.T, args ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "git", "rev-parse", "HEAD").CombinedOutput(); err != nil {
		t.Skipf("the source is no repository that git reads: %s", out)
	}
	tmp = t.TempDir()
	cmd = exec.CommandContext(t.Context(), compare, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	return cmd, tmp
}

func worktrees(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "worktree", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// left fails the test when the script has left something behind.
func left(t *testing.T, tmp string) {
	t.Helper()
	if all, err := os.ReadDir(tmp); err != nil || len(all) > 0 {
		t.Errorf("left behind: %v, %v", all, err)
	}
	if list := worktrees(t); strings.Contains(list, tmp) {
		t.Errorf("worktrees are left behind:\n%s", list)
	}
}

// tiny is a comparison of a commit with itself by one short benchmark.
var tiny = []string{"--committed", "--benchtime", "1x", "--packages", "shared/hop", "--bench", "Pass/off"}

func TestBenchCompare(t *testing.T) {
	cmd, tmp := compareHere(t, append(tiny, "--count", "2", "HEAD", "HEAD")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"old: ", "new: ", "pkg: shared/hop", "Pass/off", "vs base", "allocs/op"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not told:\n%s", want, out)
		}
	}
	left(t, tmp)
}

func TestBenchCompareRefuses(t *testing.T) {
	for _, tt := range []struct {
		args []string
		says string
	}{
		{nil, "give two commits"},
		{[]string{"HEAD"}, "give two commits"},
		{[]string{"HEAD", "HEAD", "HEAD"}, "give two commits"},
		{[]string{"--committed", "HEAD", "no-such-commit"}, "no-such-commit is no commit"},
		{[]string{"--committed", "HEAD:Makefile", "HEAD"}, "HEAD:Makefile is no commit"},
		{[]string{"--count", "0", "HEAD", "HEAD"}, "--count is 0"},
		{[]string{"--count"}, "--count needs a value"},
		{[]string{"--fast", "HEAD", "HEAD"}, "no option --fast"},
		{[]string{"--committed", "--packages", "shared/none", "HEAD", "HEAD"}, "shared/none has no benchmarks"},
		{[]string{"--committed", "--packages", "shared/hop", "--bench", "Nothing", "HEAD", "HEAD"}, "no benchmark is called like Nothing"},
	} {
		cmd, tmp := compareHere(t, tt.args...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), tt.says) {
			t.Errorf("%v: %v, want exit code 2 and %q:\n%s", tt.args, err, tt.says, out)
		}
		left(t, tmp)
	}
}

// A tree with changes is refused: what is measured would not be what is seen.
func TestBenchCompareWantsACleanTree(t *testing.T) {
	cmd, tmp := compareHere(t, "HEAD", "HEAD")
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"}, args...)...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	text, err := os.ReadFile(compare)
	if err != nil {
		t.Fatal(err)
	}
	git("init", "-q")
	if err := errors.Join(os.Mkdir(dir+"/scripts", 0o755), os.WriteFile(dir+"/scripts/bench-compare", text, 0o755)); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	git("add", "-A")
	git("commit", "-q", "-m", "one")
	cmd.Path, cmd.Dir = dir+"/scripts/bench-compare", dir
	clean, _ := cmd.CombinedOutput() // it has no benchmarks
	if !strings.Contains(string(clean), "no package has benchmarks") {
		t.Errorf("a clean tree gives %s", clean)
	}
	if err := os.WriteFile(dir+"/more", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := exec.CommandContext(t.Context(), cmd.Path, "HEAD", "HEAD")
	again.Dir, again.Env = dir, cmd.Env
	if out, err := again.CombinedOutput(); err == nil || !strings.Contains(string(out), "the working tree has changes") {
		t.Errorf("a tree with changes gives %v: %s", err, out)
	}
	left(t, tmp)
}

func TestBenchCompareIsInterrupted(t *testing.T) {
	cmd, tmp := compareHere(t, append(tiny, "--count", "1000", "HEAD", "HEAD")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a terminal's foreground
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told := bufio.NewScanner(errs)
	running := false
	for told.Scan() {
		if !running && strings.HasPrefix(told.Text(), "run 2 of") {
			running = true
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	if ctx := t.Context(); errors.Is(ctx.Err(), context.Canceled) {
		t.Fatal(ctx.Err())
	}
	if !running || cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("it was running: %v; it ends with %v, want exit code 130", running, err)
	}
	left(t, tmp)
}

package process_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/process"
)

// asProgram has TestSlackenedProgram be the program that TestSlacken starts.
const asProgram = "SLACKEN_AS_PROGRAM"

// TestSlacken: the program goes on in the process that was started, with what it was
// given, and its threads have the slack.
func TestSlacken(t *testing.T) {
	if s := timerSlack(); s != 50_000 {
		t.Skipf("these tests were started with a timer slack of %d ns, which is left alone", s)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestSlackenedProgram$", "-test.v")
	cmd.Env = append(os.Environ(), asProgram+"=given")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := fmt.Sprintf("pid %d given, slack 500000 500000, marked false\n", cmd.Process.Pid); !strings.Contains(string(out), want) {
		t.Errorf("the program says %q, want %q", out, want)
	}
}

func TestSlackenedProgram(t *testing.T) {
	if os.Getenv(asProgram) == "" {
		t.Skip("it is for TestSlacken")
	}
	process.Slacken(500 * time.Microsecond)
	own, others := make(chan uintptr), make(chan uintptr)
	go func() {
		runtime.LockOSThread()
		go func() { // on another thread
			runtime.LockOSThread()
			others <- timerSlack()
		}()
		other := <-others
		own <- timerSlack()
		own <- other
	}()
	_, marked := os.LookupEnv("WEATHER_STATION_SLACKENED")
	fmt.Printf("pid %d %s, slack %d %d, marked %t\n", os.Getpid(), os.Getenv(asProgram), <-own, <-own, marked)
}

func timerSlack() uintptr {
	ns, _, _ := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_GET_TIMERSLACK, 0, 0)
	return ns
}

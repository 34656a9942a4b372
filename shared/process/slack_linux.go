package process

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// usualSlack is what Linux gives a process.
const usualSlack = 50 * time.Microsecond

// slackened says, to the program that begins anew, that it did.
const slackened = "WEATHER_STATION_SLACKENED"

// Slacken lets the kernel wake this process so late where it sleeps for a time. Go's monitor
// sleeps for 20 µs at a time while goroutines come and go, which makes ten thousand wake-ups
// a second: a seventh of the CPU that a busy coordinator or worker takes. What comes from a
// socket is not later by it.
//
// The slack is a thread's, and the monitor's thread is there before any code of ours; only
// a program that begins takes it over for all threads. So the program is executed once more,
// in the same process; call this first. Whatever refuses that, the program goes on as it
// is. A slack that whoever started the program chose is left alone, so under a debugger give
// it one. Programs that this one starts have the same slack.
func Slacken(slack time.Duration) {
	if _, again := os.LookupEnv(slackened); again {
		_ = os.Unsetenv(slackened) // the name is not ill-formed
		return
	}
	self, err := os.Executable()
	if err != nil {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if s, e := prctl(syscall.PR_GET_TIMERSLACK, 0); e != 0 || time.Duration(s) != usualSlack {
		return
	}
	if _, e := prctl(syscall.PR_SET_TIMERSLACK, uintptr(slack)); e != 0 {
		return
	}
	_ = syscall.Exec(self, os.Args, append(os.Environ(), slackened+"=1"))
	_, _ = prctl(syscall.PR_SET_TIMERSLACK, uintptr(usualSlack))
}

func prctl(what, value uintptr) (uintptr, syscall.Errno) {
	got, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, what, value, 0)
	return got, e
}

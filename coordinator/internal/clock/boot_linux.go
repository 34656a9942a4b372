package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

var started = time.Now()

// sinceBoot is the time since the machine was booted, suspension included. Where
// the kernel does not tell it, it is a monotonic clock that stands still then.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Since(started)
	}
	return time.Duration(t.Nano())
}

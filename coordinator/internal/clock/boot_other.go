//go:build !linux

package clock

import "time"

var started = time.Now()

// sinceBoot is a monotonic clock.
func sinceBoot() time.Duration { return time.Since(started) }

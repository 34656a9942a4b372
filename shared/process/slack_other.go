//go:build !linux

package process

import "time"

// Slacken does nothing where it has no need.
func Slacken(time.Duration) {}

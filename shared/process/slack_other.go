//go:build !linux

package process

// Slacken does nothing where it has no need.
func Slacken() {}

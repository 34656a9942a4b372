// Package compare tests scripts/bench-compare: what it prints, what it refuses, and
// that it leaves nothing behind.
package compare

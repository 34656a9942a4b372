package topology

import (
	"io"
	"log"

	"github.com/hashicorp/go-hclog"
)

// muted is the log of a life: the dead say nothing.
type muted struct {
	hclog.Logger
	dying <-chan struct{}
}

func (m muted) alive() bool {
	select {
	case <-m.dying:
		return false
	default:
		return true
	}
}

// Log logs at a level.
func (m muted) Log(level hclog.Level, msg string, args ...any) {
	if m.alive() {
		m.Logger.Log(level, msg, args...)
	}
}

// Trace logs at that level.
func (m muted) Trace(msg string, args ...any) { m.Log(hclog.Trace, msg, args...) }

// Debug logs at that level.
func (m muted) Debug(msg string, args ...any) { m.Log(hclog.Debug, msg, args...) }

// Info logs at that level.
func (m muted) Info(msg string, args ...any) { m.Log(hclog.Info, msg, args...) }

// Warn logs at that level.
func (m muted) Warn(msg string, args ...any) { m.Log(hclog.Warn, msg, args...) }

// Error logs at that level.
func (m muted) Error(msg string, args ...any) { m.Log(hclog.Error, msg, args...) }

// With returns a log with more pairs.
func (m muted) With(args ...any) hclog.Logger { return muted{m.Logger.With(args...), m.dying} }

// Named returns a log with a longer name.
func (m muted) Named(name string) hclog.Logger { return muted{m.Logger.Named(name), m.dying} }

// ResetNamed returns a log of that name.
func (m muted) ResetNamed(name string) hclog.Logger {
	return muted{m.Logger.ResetNamed(name), m.dying}
}

// StandardLogger returns a log of the standard library.
func (m muted) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(m.StandardWriter(o), "", 0)
}

// StandardWriter returns what logs each line that is written.
func (m muted) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	return mutedWriter{m.Logger.StandardWriter(o), m}
}

type mutedWriter struct {
	to io.Writer
	m  muted
}

// Write logs a line.
func (w mutedWriter) Write(p []byte) (int, error) {
	if !w.m.alive() {
		return len(p), nil
	}
	return w.to.Write(p)
}

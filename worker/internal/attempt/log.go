package attempt

import (
	"io"
	"log"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/shared/ids"
)

// logger is a handler's: it names the attempt. Most handlers log nothing, and to make it
// costs more than all else that is made for one, so it is made when it is used.
type logger struct {
	hclog.Logger // of the worker, for what names nothing
	of           ids.Attempt
	once         sync.Once
	full         hclog.Logger
}

func (l *logger) made() hclog.Logger {
	l.once.Do(func() {
		l.full = l.Logger.With("flow", l.of.Flow, "cycle", l.of.Cycle, "node", l.of.Node, "attempt", l.of.N)
	})
	return l.full
}

func (l *logger) Log(level hclog.Level, msg string, args ...any) { l.made().Log(level, msg, args...) }
func (l *logger) Trace(msg string, args ...any)                  { l.made().Trace(msg, args...) }
func (l *logger) Debug(msg string, args ...any)                  { l.made().Debug(msg, args...) }
func (l *logger) Info(msg string, args ...any)                   { l.made().Info(msg, args...) }
func (l *logger) Warn(msg string, args ...any)                   { l.made().Warn(msg, args...) }
func (l *logger) Error(msg string, args ...any)                  { l.made().Error(msg, args...) }
func (l *logger) ImpliedArgs() []any                             { return l.made().ImpliedArgs() }
func (l *logger) With(args ...any) hclog.Logger                  { return l.made().With(args...) }
func (l *logger) Named(name string) hclog.Logger                 { return l.made().Named(name) }
func (l *logger) ResetNamed(name string) hclog.Logger            { return l.made().ResetNamed(name) }
func (l *logger) SetLevel(level hclog.Level)                     { l.made().SetLevel(level) }
func (l *logger) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return l.made().StandardLogger(o)
}
func (l *logger) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	return l.made().StandardWriter(o)
}

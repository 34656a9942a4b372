package process

import (
	"bytes"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"
)

// NewLogger makes the root logger of a binary. Level is trace, debug, info,
// warn or error; format is text or json. Every line passes through Redact.
func NewLogger(name, level, format string, out io.Writer) (hclog.Logger, error) {
	l := hclog.LevelFromString(level)
	if l == hclog.NoLevel {
		return nil, fmt.Errorf("log level %q is unknown; use trace, debug, info, warn or error", level)
	}
	if format != "text" && format != "json" {
		return nil, fmt.Errorf("log format %q is unknown; use text or json", format)
	}
	return hclog.New(&hclog.LoggerOptions{
		Name:       name,
		Level:      l,
		Output:     redactor{out},
		JSONFormat: format == "json",
		TimeFormat: "2006-01-02T15:04:05.000000Z07:00",
	}), nil
}

// redactor hides passwords in what is written through it. hclog writes one line
// at a time.
type redactor struct{ out io.Writer }

func (r redactor) Write(p []byte) (int, error) {
	q := p
	if mayHide(p) {
		q = []byte(Redact(string(p)))
	}
	if _, err := r.out.Write(q); err != nil {
		return 0, err
	}
	return len(p), nil
}

// mayHide reports whether Redact may find something in a line. In most it does not, and
// to search one costs more than to write it.
func mayHide(line []byte) bool {
	url := bytes.Index(line, []byte("://"))
	return url >= 0 && bytes.IndexByte(line[url:], '@') >= 0 || bytes.ContainsAny(line, "?&;")
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/tradingflow/weather-station/coordinator/api"
)

// print writes a result in the format asked for; asTable writes it as a table.
func (a *app) print(v any, asTable func()) error {
	if a.format == "table" {
		asTable()
		return nil
	}
	var doc bytes.Buffer
	enc := json.NewEncoder(&doc)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	b := doc.Bytes()
	if a.format == "yaml" {
		var err error
		if b, err = yamlOf(b); err != nil {
			return fmt.Errorf("print result: %w", err)
		}
	}
	if _, err := a.out.Write(b); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// table writes rows under a header, in columns, no wider than the terminal.
func (a *app) table(header []string, rows [][]string) {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.Options{}
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Box.UnfinishedRow = "…"
	style.Size.WidthMax = a.width
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	t.AppendHeader(row(header))
	for _, r := range rows {
		t.AppendRow(row(r))
	}
	fmt.Fprintln(a.out, t.Render())
}

// fields writes names and values, one pair a line. Pairs without a value are
// left out.
func (a *app) fields(pairs ...string) {
	widest := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			widest = max(widest, len(pairs[i]))
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(a.out, "%-*s  %s\n", widest, pairs[i], pairs[i+1])
		}
	}
}

func row(cells []string) table.Row {
	r := make(table.Row, len(cells))
	for i, c := range cells {
		r[i] = c
	}
	return r
}

// clean makes a text from elsewhere fit for a terminal: one line, without
// control characters.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.Join(strings.Fields(s), " ")
}

// paint colours a status, if the terminal has colours.
func (a *app) paint(status string) string {
	if !a.colours {
		return clean(status)
	}
	code := ""
	switch status {
	case "succeeded", api.CycleCompleted, api.FlowActive, "ok":
		code = "32"
	case api.CycleFailed, api.CycleTimeout, "unknown", "down":
		code = "31"
	case api.CycleCancelled, api.CycleCancelling, "skipped", "stopped", "retrying", api.FlowPaused:
		code = "33"
	case api.CycleRunning, "ready", "dispatched":
		code = "36"
	default:
		return clean(status)
	}
	return "\x1b[" + code + "m" + clean(status) + "\x1b[0m"
}

// dash stands for a value that is not there.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return clean(s)
}

// seconds returns a duration for people.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// groups returns lists of ids as "{a, b} {c}", cut where a person stops
// reading. JSON and YAML hold them whole.
func groups(lists [][]string) string {
	const enough = 120
	var b strings.Builder
	for i, l := range lists {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("{" + idList(l) + "}")
		if b.Len() > enough && i < len(lists)-1 {
			fmt.Fprintf(&b, " … %d in all", len(lists))
			break
		}
	}
	return clean(b.String())
}

// idList returns a list of ids as "a, b", cut as groups is.
func idList(list []string) string {
	const enough = 120
	var b strings.Builder
	for i, id := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		if b.Len() > enough {
			fmt.Fprintf(&b, "… %d in all", len(list))
			break
		}
		b.WriteString(id)
	}
	return clean(b.String())
}

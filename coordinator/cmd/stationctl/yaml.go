package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// yamlOf rewrites JSON as YAML in block style. It keeps the order of fields and
// the digits of numbers, and quotes every text that YAML could take for
// something else.
func yamlOf(doc []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	y := yamlWriter{plain: regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)}
	if err := y.value(d, 0, false); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("write YAML: text after the value")
	}
	return y.out.Bytes(), nil
}

type yamlWriter struct {
	out   bytes.Buffer
	plain *regexp.Regexp
}

// value writes the next value and ends its line. After a key, within says,
// a value of several lines begins on a line of its own.
func (y *yamlWriter) value(d *json.Decoder, depth int, within bool) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case json.Delim:
		return y.block(d, t, depth, within)
	case string:
		return y.line(within, y.text(t))
	case nil:
		return y.line(within, "null")
	default:
		return y.line(within, fmt.Sprint(t))
	}
}

func (y *yamlWriter) line(within bool, s string) error {
	if within {
		y.out.WriteByte(' ')
	}
	y.out.WriteString(s)
	y.out.WriteByte('\n')
	return nil
}

// block writes an object or a list whose opening token has been read.
func (y *yamlWriter) block(d *json.Decoder, open json.Delim, depth int, within bool) error {
	if !d.More() {
		empty := "{}"
		if open == '[' {
			empty = "[]"
		}
		if _, err := d.Token(); err != nil {
			return err
		}
		return y.line(within, empty)
	}
	if within {
		y.out.WriteByte('\n')
	}
	for first := true; d.More(); first = false {
		if !first || within {
			y.out.WriteString(strings.Repeat("  ", depth))
		}
		if open == '[' {
			y.out.WriteString("- ")
			if err := y.value(d, depth+1, false); err != nil {
				return err
			}
			continue
		}
		key, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := key.(string)
		if !ok {
			return fmt.Errorf("the key %v is no text", key)
		}
		y.out.WriteString(y.text(name) + ":")
		if err := y.value(d, depth+1, true); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// text returns a text as YAML. JSON's quoting is YAML's, but for characters
// that YAML wants escaped.
func (y *yamlWriter) text(s string) string {
	reserved := []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"}
	if y.plain.MatchString(s) && !slices.Contains(reserved, strings.ToLower(s)) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

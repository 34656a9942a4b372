package builtin

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
)

// encode returns the lines of recs and, for CSV, the header they follow: the
// file's own, else columns, else what the first record has. Errors are
// permanent: no retry changes the records.
func encode(format string, header, columns []string, recs []record, intent uuid.UUID) ([]byte, []string, error) {
	var out []byte
	var err error
	if format == formatCSV {
		if header, err = csvHeader(header, columns, recs); err != nil {
			return nil, nil, err
		}
	}
	for i, r := range recs {
		var line []byte
		if format == formatCSV {
			line, err = csvRecord(header, len(columns) > 0, r, intent)
		} else {
			line, err = jsonRecord(columns, r, intent)
		}
		if err == nil && len(line) > maxRecord {
			err = fmt.Errorf("it has %d bytes; at most %d are allowed", len(line), maxRecord)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("record %d: %w", i, err)
		}
		out = append(out, line...)
	}
	return out, header, nil
}

// jsonRecord writes the fields in the order of columns, else sorted, and the
// intent last.
func jsonRecord(columns []string, r record, intent uuid.UUID) ([]byte, error) {
	if len(columns) == 0 {
		all := maps.Clone(r.added)
		maps.Copy(all, r.fields)
		columns = slices.Sorted(maps.Keys(all))
	}
	b := bytes.NewBufferString("{")
	for _, c := range columns {
		v, ok := r.get(c)
		if c == intentColumn || !ok {
			continue
		}
		name, err := json.Marshal(c)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		if err := json.Compact(b, v); err != nil { // no line break may stay
			return nil, fmt.Errorf("field %q: %w", c, err)
		}
		b.WriteByte(',')
	}
	fmt.Fprintf(b, "%q:%q}\n", intentColumn, intent)
	return b.Bytes(), nil
}

func csvHeader(header, columns []string, recs []record) ([]string, error) {
	want := append(slices.Clone(columns), intentColumn)
	switch {
	case header == nil && len(columns) > 0:
		return want, nil
	case header == nil:
		names := slices.Sorted(maps.Keys(recs[0].fields))
		for _, c := range ownColumns {
			if !slices.Contains(names, c) {
				names = append(names, c)
			}
		}
		names = slices.DeleteFunc(names, func(c string) bool { return c == intentColumn })
		return append(names, intentColumn), nil
	case header[len(header)-1] != intentColumn:
		return nil, fmt.Errorf("the file's last column is %q, not %q: write to a file of its own", header[len(header)-1], intentColumn)
	case len(columns) > 0 && !slices.Equal(header, want):
		return nil, fmt.Errorf("the file has the columns %q, the node writes %q", header, want)
	}
	return header, nil
}

func csvRecord(header []string, chosen bool, r record, intent uuid.UUID) ([]byte, error) {
	cells := make([]string, len(header))
	for i, c := range header[:len(header)-1] {
		if v, ok := r.get(c); ok {
			cells[i] = cellText(v)
		}
	}
	cells[len(cells)-1] = intent.String()
	if !chosen {
		for _, name := range slices.Sorted(maps.Keys(r.fields)) {
			if !slices.Contains(header, name) {
				return nil, fmt.Errorf("field %q is no column of the file: name the fields to write in %q", name, "columns")
			}
		}
	}
	return csvLine(cells), nil
}

// cellText is a JSON value as a cell: a string's text, nothing for null, and
// the JSON text of everything else.
func cellText(raw json.RawMessage) string {
	var s *string
	if json.Unmarshal(raw, &s) == nil {
		if s == nil {
			return ""
		}
		return *s
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

func csvLine(cells []string) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(cells) // a buffer takes everything
	w.Flush()
	return b.Bytes()
}

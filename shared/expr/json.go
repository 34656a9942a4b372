package expr

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Decode turns one JSON value into what expressions work on: nil, bool,
// string, int64, float64, []any and map[string]any. A number written without
// fraction and exponent that fits is an int64.
func Decode(raw json.RawMessage) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("decode JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decode JSON: more than one value")
	}
	return numbers(v)
}

// DecodeMap decodes each value of m.
func DecodeMap(m map[string]json.RawMessage) (map[string]any, error) {
	out := make(map[string]any, len(m))
	for k, raw := range m {
		v, err := Decode(raw)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", k, err)
		}
		out[k] = v
	}
	return out, nil
}

func numbers(v any) (any, error) {
	var err error
	switch x := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(x.String(), 10, 64); err == nil {
			return i, nil
		}
		f, err := strconv.ParseFloat(x.String(), 64)
		if err != nil {
			return nil, fmt.Errorf("decode JSON: number %s does not fit a double", clip(x.String()))
		}
		return f, nil
	case []any:
		for i := range x {
			if x[i], err = numbers(x[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range x {
			if x[k], err = numbers(x[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// encode writes v as JSON of at most maxResult bytes.
func encode(v ref.Val) ([]byte, error) {
	b, err := appendJSON(nil, v)
	if err == nil && len(b) > maxResult {
		return nil, errTooLong()
	}
	return b, err
}

func errTooLong() error { return fmt.Errorf("the result is longer than %d bytes", maxResult) }

// appendJSON writes v with sorted keys, integers as integers and doubles in
// the shortest form that reads back as the same double.
//
// The size is checked at every step: values share parts, so a small value can
// have an astronomically long text.
func appendJSON(b []byte, v ref.Val) ([]byte, error) {
	if len(b) > maxResult {
		return nil, errTooLong()
	}
	switch x := v.(type) {
	case types.Null:
		return append(b, "null"...), nil
	case types.Bool:
		return strconv.AppendBool(b, bool(x)), nil
	case types.Int:
		return strconv.AppendInt(b, int64(x), 10), nil
	case types.Uint:
		return strconv.AppendUint(b, uint64(x), 10), nil
	case types.Double:
		if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("the result holds %v, which JSON cannot", f)
		}
		return appendValue(b, float64(x))
	case types.String:
		return appendValue(b, string(x))
	case types.Bytes:
		return appendValue(b, base64.StdEncoding.EncodeToString(x))
	case types.Timestamp:
		return appendValue(b, x.UTC().Format(time.RFC3339Nano))
	case types.Duration:
		return appendValue(b, x.Duration.String())
	case *types.Optional:
		return nil, errors.New("the result holds an optional; end it with orValue(…)")
	case traits.Lister:
		return appendList(b, x)
	case traits.Mapper:
		return appendMap(b, x)
	}
	return nil, fmt.Errorf("the result holds a %s, which JSON cannot", v.Type().TypeName())
}

func appendList(b []byte, l traits.Lister) ([]byte, error) {
	b = append(b, '[')
	var err error
	for i := range length(l) {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendJSON(b, l.Get(types.Int(i))); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendMap(b []byte, m traits.Mapper) ([]byte, error) {
	type field struct {
		name string
		key  ref.Val
	}
	fields := make([]field, 0, length(m))
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.ConvertToType(types.StringType).(types.String)
		if !ok {
			return nil, fmt.Errorf("the result holds a map with a key of type %s", key.Type().TypeName())
		}
		fields = append(fields, field{string(name), key})
	}
	slices.SortFunc(fields, func(a, b field) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	b = append(b, '{')
	for i, f := range fields {
		if i > 0 {
			if fields[i-1].name == f.name {
				return nil, fmt.Errorf("the result holds a map with two keys that read %q", clip(f.name))
			}
			b = append(b, ',')
		}
		var err error
		if b, err = appendValue(b, f.name); err != nil {
			return nil, err
		}
		if b, err = appendJSON(append(b, ':'), m.Get(f.key)); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendValue(b []byte, v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	return append(b, raw...), err
}

package flow

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader reads JSON strictly: one value, no extensions, bounded depth. It
// exists because the standard decoder hides duplicate keys and gives no line.
type jsonReader struct {
	body   []byte
	at     int
	depth  int
	faults *faultList
	failed bool
	seen   map[string]string // short texts, so that each is kept once
}

// Keys, ids and handles recur: texts up to maxInterned bytes are kept once.
const maxInterned = 64

func (r *jsonReader) text(b []byte) string {
	if len(b) > maxInterned {
		return string(b)
	}
	if s, ok := r.seen[string(b)]; ok {
		return s
	}
	s := string(b)
	r.seen[s] = s
	return s
}

func decodeJSON(body []byte, faults *faultList) (value, bool) {
	r := &jsonReader{body: body, faults: faults, seen: map[string]string{}}
	v := r.value()
	if !r.failed {
		r.space()
		if r.at < len(body) {
			r.fail("%s follows the end of the document", r.found())
		}
	}
	return v, !r.failed
}

// fail records the fault that ends reading, at the present position.
func (r *jsonReader) fail(format string, args ...any) {
	if r.failed {
		return
	}
	r.failed = true
	column := r.at - bytes.LastIndexByte(r.body[:min(r.at, len(r.body))], '\n')
	r.faults.add(CodeBadJSON, linePlace(r.body, r.at), "%s, at column %d (byte %d)",
		fmt.Sprintf(format, args...), column, r.at)
}

// found describes what stands at the present position.
func (r *jsonReader) found() string {
	if r.at >= len(r.body) {
		return "the end of the document"
	}
	c, _ := utf8.DecodeRune(r.body[r.at:])
	return strconv.QuoteRune(c)
}

func (r *jsonReader) space() {
	for r.at < len(r.body) {
		switch r.body[r.at] {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return
		}
	}
}

func (r *jsonReader) peek() byte {
	if r.at < len(r.body) {
		return r.body[r.at]
	}
	return 0
}

func (r *jsonReader) value() value {
	r.space()
	switch c := r.peek(); {
	case c == '{' || c == '[':
		return r.container(c)
	case c == '"':
		return value{kind: text, str: r.string()}
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	case r.word("true"):
		return value{kind: boolean, str: "true"}
	case r.word("false"):
		return value{kind: boolean, str: "false"}
	case r.word("null"):
		return value{}
	}
	r.fail("a value is expected, found %s", r.found())
	return value{}
}

func (r *jsonReader) word(w string) bool {
	if !bytes.HasPrefix(r.body[r.at:], []byte(w)) {
		return false
	}
	r.at += len(w)
	return true
}

func (r *jsonReader) number() value {
	n := scanNumber(r.body[r.at:])
	if n == 0 {
		r.fail("a number is malformed")
		return value{}
	}
	s := r.text(r.body[r.at : r.at+n])
	if !fitsFloat(s) {
		r.faults.add(CodeBadField, linePlace(r.body, r.at), "the number %s is out of range", clip(s))
	}
	r.at += n
	return value{kind: number, str: s}
}

// container reads an object or a list, whose opening byte is next.
func (r *jsonReader) container(open byte) value {
	if r.depth++; r.depth > MaxDepth {
		if !r.failed {
			r.failed = true
			r.faults.add(CodeTooLarge, linePlace(r.body, r.at), "objects and lists are nested more than %d deep", MaxDepth)
		}
		return value{}
	}
	from := r.at
	v, end := value{kind: object}, byte('}')
	if open == '[' {
		v.kind, end = list, ']'
	}
	r.at++
	r.space()
	if r.peek() != end {
		for !r.failed {
			v.kids = append(v.kids, r.member(v.kind))
			r.space()
			if r.failed || r.peek() == end {
				break
			}
			if r.peek() != ',' {
				r.fail("a comma or %q is expected, found %s", end, r.found())
				break
			}
			r.at++
		}
	}
	r.at++
	r.depth--
	if v.kind == object && !r.failed {
		for _, key := range duplicates(v.kids) {
			r.faults.add(CodeDuplicateKey, linePlace(r.body, from), "the object that begins here has the key %q more than once", clip(key))
		}
	}
	return v
}

func (r *jsonReader) member(in kind) member {
	if in == list {
		return member{val: r.value()}
	}
	r.space()
	if r.peek() != '"' {
		r.fail("a key in double quotes is expected, found %s", r.found())
		return member{}
	}
	m := member{key: r.string()}
	r.space()
	if r.peek() != ':' {
		r.fail("a colon is expected after the key %q, found %s", clip(m.key), r.found())
		return m
	}
	r.at++
	m.val = r.value()
	return m
}

// string reads a string, whose opening quote is next.
func (r *jsonReader) string() string {
	r.at++
	from := r.at
	for r.at < len(r.body) {
		switch c := r.body[r.at]; {
		case c == '"':
			s := r.text(r.body[from:r.at])
			r.at++
			return s
		case c == '\\':
			return r.escaped(from)
		case c < ' ':
			r.fail("a control character stands unescaped in a string")
			return ""
		}
		r.at++
	}
	r.fail("a string is not closed")
	return ""
}

// escaped reads on a string that began at from and has an escape next.
func (r *jsonReader) escaped(from int) string {
	out := append([]byte(nil), r.body[from:r.at]...)
	for r.at < len(r.body) {
		switch c := r.body[r.at]; {
		case c == '"':
			r.at++
			return string(out)
		case c == '\\':
			c, ok := r.escape()
			if !ok {
				return ""
			}
			out = utf8.AppendRune(out, c)
		case c < ' ':
			r.fail("a control character stands unescaped in a string")
			return ""
		default:
			out = append(out, c)
			r.at++
		}
	}
	r.fail("a string is not closed")
	return ""
}

func (r *jsonReader) escape() (rune, bool) {
	if r.at+1 >= len(r.body) {
		r.at = len(r.body)
		r.fail("a string is not closed")
		return 0, false
	}
	const plain, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	c := r.body[r.at+1]
	if i := bytes.IndexByte([]byte(plain), c); i >= 0 {
		r.at += 2
		return rune(meant[i]), true
	}
	if c != 'u' {
		r.fail("the escape \\%c is not known", c)
		return 0, false
	}
	first, ok := r.hex(r.at)
	if !ok {
		r.fail("\\u needs four hexadecimal digits")
		return 0, false
	}
	if !utf16.IsSurrogate(first) {
		r.at += 6
		return first, true
	}
	second, _ := r.hex(r.at + 6)
	both := utf16.DecodeRune(first, second)
	if both == utf8.RuneError {
		r.fail("half of a surrogate pair stands alone")
		return 0, false
	}
	r.at += 12
	return both, true
}

// hex reads the \uXXXX at position i.
func (r *jsonReader) hex(i int) (rune, bool) {
	if i+6 > len(r.body) || r.body[i] != '\\' || r.body[i+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(r.body[i+2:i+6]), 16, 16)
	return rune(n), err == nil
}

package flow

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// kind is the type of a value.
type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	list
	object
)

func (k kind) String() string {
	return [...]string{"null", "true or false", "a number", "a string", "a list", "an object"}[k]
}

// value is one decoded value. Numbers keep their exact text, objects their
// order.
type value struct {
	kind kind
	str  string   // text, the number as written, or "true" | "false"
	kids []member // of a list (without keys) or an object
}

// member is an entry of an object or a list.
type member struct {
	key string
	val value
}

// get returns the member of that key, or nil.
func (v *value) get(key string) *value {
	if v.kind != object {
		return nil
	}
	for i := range v.kids {
		if v.kids[i].key == key {
			return &v.kids[i].val
		}
	}
	return nil
}

// decode reads a document. Faults that leave a readable document behind, such
// as duplicate keys, are added to faults and reading goes on; it returns false
// when there is nothing to check further.
func decode(body []byte, faults *faultList) (value, bool) {
	var none value
	if len(body) > MaxBody {
		faults.add(CodeTooLarge, "", "the document has %d bytes; at most %d are allowed", len(body), MaxBody)
		return none, false
	}
	if at := invalidUTF8(body); at >= 0 {
		faults.add(CodeBadJSON, linePlace(body, at), "byte %d is not valid UTF-8", at)
		return none, false
	}
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	start := bytes.TrimLeft(body, " \t\r\n")
	if len(start) == 0 {
		faults.add(CodeBadJSON, "", "the document is empty")
		return none, false
	}
	var root value
	var ok bool
	if looksLikeJSON(start) {
		root, ok = decodeJSON(body, faults)
	} else {
		root, ok = decodeYAML(body, faults)
	}
	if ok && root.kind != object {
		faults.add(CodeBadShape, "", "the document is %s; an object is expected", root.kind)
		return none, false
	}
	return root, ok
}

// looksLikeJSON tells JSON from YAML by the first character. YAML's flow
// style, which also begins with a brace, is read as JSON: a broken JSON document
// must be reported as such and not as odd YAML.
func looksLikeJSON(start []byte) bool {
	switch c := start[0]; c {
	case '{', '[':
		return true
	default:
		// A body that is one JSON scalar; YAML keys follow a scalar by a colon.
		word := string(bytes.TrimRight(start, " \t\r\n"))
		if word == "null" || word == "true" || word == "false" || isNumber(word) {
			return true
		}
		return c == '"' && len(word) > 1 && word[len(word)-1] == '"' && bytes.Count(start, []byte{'"'}) == 2
	}
}

func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

func linePlace(body []byte, at int) string {
	return fmt.Sprintf("line %d", 1+bytes.Count(body[:min(at, len(body))], []byte{'\n'}))
}

// isNumber tells whether s is a number by the grammar of JSON.
func isNumber(s string) bool { return s != "" && scanNumber(s) == len(s) }

// scanNumber returns the length of the JSON number that s begins with, 0 when
// there is none.
func scanNumber[T string | []byte](s T) int {
	i := 0
	digits := func() bool {
		from := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		i++
		if !digits() {
			return 0
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return 0
		}
	}
	return i
}

// fitsFloat tells whether a number can be held by every reader of JSON, which
// 1e400 cannot.
func fitsFloat(s string) bool {
	if len(s) < 16 && !bytes.ContainsAny([]byte(s), "eE") {
		return true
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// duplicates returns the keys that stand more than once in an object.
func duplicates(kids []member) []string {
	if len(kids) < 2 {
		return nil
	}
	if len(kids) <= 8 {
		var out []string
		for i := 1; i < len(kids); i++ {
			for j := range i {
				if kids[i].key == kids[j].key {
					out = append(out, kids[i].key)
					break
				}
			}
		}
		return out
	}
	seen := make(map[string]bool, len(kids))
	var out []string
	for i := range kids {
		if seen[kids[i].key] {
			out = append(out, kids[i].key)
		}
		seen[kids[i].key] = true
	}
	return out
}

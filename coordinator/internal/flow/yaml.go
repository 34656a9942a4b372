package flow

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// errStop ends the reading of a YAML document whose fault is recorded.
var errStop = errors.New("document refused")

// yamlReader turns a YAML tree into values.
type yamlReader struct {
	faults  *faultList
	anchors map[string]*ast.AnchorNode
	open    map[string]bool // anchors being expanded
	values  int
	depth   int
}

// decodeYAML reads a document in YAML. The parser recurses once per nested
// collection and once per key of a block mapping, and takes time with the square
// of the latter, hence the limits that are checked on tokens beforehand.
func decodeYAML(body []byte, faults *faultList) (value, bool) {
	if len(body) > MaxYAML {
		faults.add(CodeTooLarge, "", "the YAML document has %d bytes; at most %d are allowed, and %d in JSON", len(body), MaxYAML, MaxBody)
		return value{}, false
	}
	root, err := parseYAML(body, faults)
	if err != nil {
		return value{}, false
	}
	r := &yamlReader{faults: faults, anchors: map[string]*ast.AnchorNode{}, open: map[string]bool{}}
	v, err := r.value(root)
	if err != nil {
		return value{}, false
	}
	if v.kind != object && v.kind != list {
		faults.add(CodeBadJSON, "line 1", "the document is neither a JSON object nor a YAML mapping")
		return value{}, false
	}
	return v, true
}

// parseYAML returns the tree of the only document in body.
func parseYAML(body []byte, faults *faultList) (root ast.Node, err error) {
	defer func() {
		// The parser is not ours; no input may end the process.
		if p := recover(); p != nil {
			faults.add(CodeBadJSON, "", "the document cannot be read as YAML: %v", p)
			root, err = nil, errStop
		}
	}()
	tokens := lexer.Tokenize(string(body))
	if err := checkTokens(tokens, faults); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		place, message := "", err.Error()
		var at yaml.Error
		if errors.As(err, &at) {
			place, message = tokenPlace(at.GetToken()), at.GetMessage()
		}
		faults.add(CodeBadJSON, place, "the document cannot be read as YAML: %s", clip(message))
		return nil, errStop
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			faults.add(CodeBadJSON, tokenPlace(doc.Body.GetToken()), "a second YAML document begins here; one is expected")
			return nil, errStop
		}
		root = doc.Body
	}
	if root == nil {
		faults.add(CodeBadJSON, "", "the document is empty")
		return nil, errStop
	}
	return root, nil
}

// column is where block keys or dashes of one collection stand.
type column struct{ at, keys int }

// checkTokens refuses, before anything recurses, what is nested too deep, and
// the parts of YAML that have no meaning in a flow.
func checkTokens(tokens token.Tokens, faults *faultList) error {
	var columns []column // of the block keys and dashes that are open
	flow, colons, sinceAnchor := 0, 0, 2
	refuse := func(code string, tk *token.Token, format string, args ...any) error {
		faults.add(code, tokenPlace(tk), format, args...)
		return errStop
	}
	for _, tk := range tokens {
		sinceAnchor++
		switch tk.Type {
		case token.TagType:
			return refuse(CodeBadJSON, tk, "YAML tags such as %q are not supported", clip(tk.Value))
		case token.DirectiveType:
			return refuse(CodeBadJSON, tk, "YAML directives are not supported")
		case token.MergeKeyType:
			return refuse(CodeBadJSON, tk, "the YAML merge key << is not supported; write the fields out")
		case token.AnchorType:
			if sinceAnchor <= 2 {
				return refuse(CodeBadJSON, tk, "a YAML anchor follows an anchor")
			}
			sinceAnchor = 0
		case token.MappingStartType, token.SequenceStartType:
			flow++
			colons = 0
		case token.MappingEndType, token.SequenceEndType:
			flow--
			colons = 0
		case token.CollectEntryType:
			colons = 0
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			if flow > 0 {
				colons++
				break
			}
			at := tk.Position.Column
			if p := tk.Prev; tk.Type == token.MappingValueType && p != nil && p.Position.Line == tk.Position.Line {
				at = p.Position.Column
			}
			for len(columns) > 0 && columns[len(columns)-1].at > at {
				columns = columns[:len(columns)-1]
			}
			if len(columns) == 0 || columns[len(columns)-1].at < at {
				columns = append(columns, column{at: at})
			}
			if tk.Type == token.SequenceEntryType {
				break
			}
			if top := &columns[len(columns)-1]; top.keys < MaxYAMLKeys {
				top.keys++
				break
			}
			return refuse(CodeTooLarge, tk, "a YAML mapping has more than %d keys; write it as JSON", MaxYAMLKeys)
		}
		if flow+colons+len(columns) > MaxDepth {
			return refuse(CodeTooLarge, tk, "objects and lists are nested more than %d deep", MaxDepth)
		}
	}
	return nil
}

func tokenPlace(tk *token.Token) string {
	if tk == nil || tk.Position == nil {
		return ""
	}
	return fmt.Sprintf("line %d", tk.Position.Line)
}

func (r *yamlReader) refuse(n ast.Node, code, format string, args ...any) error {
	r.faults.add(code, tokenPlace(n.GetToken()), format, args...)
	return errStop
}

func (r *yamlReader) value(n ast.Node) (value, error) {
	if r.values++; r.values > MaxValues {
		return value{}, r.refuse(n, CodeTooLarge, "the document has more than %d values with its aliases expanded", MaxValues)
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return r.mapping(n, n.Values)
	case *ast.MappingValueNode:
		return r.mapping(n, []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		return r.sequence(n)
	case *ast.AnchorNode:
		return r.anchor(n)
	case *ast.AliasNode:
		return r.alias(n)
	case *ast.NullNode:
		return value{}, nil
	case *ast.BoolNode:
		return value{kind: boolean, str: strconv.FormatBool(n.Value)}, nil
	case *ast.LiteralNode:
		return value{kind: text, str: n.Value.Value}, nil
	case *ast.StringNode:
		if n.Token.Type == token.StringType {
			return r.plain(n, n.Value), nil
		}
		return value{kind: text, str: n.Value}, nil
	case *ast.IntegerNode:
		return r.plain(n, n.Token.Value), nil
	case *ast.FloatNode:
		return r.plain(n, n.Token.Value), nil
	case *ast.InfinityNode, *ast.NanNode:
		r.faults.add(CodeBadField, tokenPlace(n.GetToken()), "%s is not a number that JSON can hold", clip(n.GetToken().Value))
		return value{}, nil
	}
	return value{}, r.refuse(n, CodeBadJSON, "%s is not supported here", n.Type())
}

// plain reads an unquoted scalar: a number when JSON would read it as one, or
// when it is a number in a notation of YAML's own (0x1F, 0o17, 0b1, +5, .5,
// 5.), else a string. A number with leading zeros is a string: 000001 names
// something.
func (r *yamlReader) plain(n ast.Node, s string) value {
	num := s
	if !isNumber(s) {
		num = fromYAML(s)
	}
	if num == "" {
		return value{kind: text, str: s}
	}
	if !fitsFloat(num) {
		r.faults.add(CodeBadField, tokenPlace(n.GetToken()), "the number %s is out of range", clip(s))
	}
	return value{kind: number, str: num}
}

func fromYAML(s string) string {
	body, sign := strings.TrimPrefix(s, "+"), ""
	if strings.HasPrefix(body, "-") && body == s {
		body, sign = body[1:], "-"
	}
	if len(body) > 2 && body[0] == '0' && strings.ContainsRune("xob", rune(body[1])) && len(body) <= 300 {
		base := map[byte]int{'x': 16, 'o': 8, 'b': 2}[body[1]]
		if n, ok := new(big.Int).SetString(body[2:], base); ok && n.Sign() >= 0 && body[2] != '+' && body[2] != '-' {
			return sign + n.String()
		}
		return ""
	}
	if strings.HasPrefix(body, ".") {
		body = "0" + body
	}
	if mantissa, ok := strings.CutSuffix(body, "."); ok {
		body = mantissa
	}
	if !isNumber(body) || strings.HasPrefix(body, "-") {
		return ""
	}
	return sign + body
}

func (r *yamlReader) enter(n ast.Node) error {
	if r.depth++; r.depth > MaxDepth {
		return r.refuse(n, CodeTooLarge, "objects and lists are nested more than %d deep", MaxDepth)
	}
	return nil
}

func (r *yamlReader) mapping(n ast.Node, entries []*ast.MappingValueNode) (value, error) {
	if err := r.enter(n); err != nil {
		return value{}, err
	}
	v := value{kind: object, kids: make([]member, 0, len(entries))}
	for _, e := range entries {
		key, err := r.key(e)
		if err != nil {
			return value{}, err
		}
		val, err := r.value(e.Value)
		if err != nil {
			return value{}, err
		}
		v.kids = append(v.kids, member{key: key, val: val})
	}
	for _, key := range duplicates(v.kids) {
		r.faults.add(CodeDuplicateKey, tokenPlace(n.GetToken()), "the mapping that begins here has the key %q more than once", clip(key))
	}
	r.depth--
	return v, nil
}

func (r *yamlReader) key(e *ast.MappingValueNode) (string, error) {
	switch k := e.Key.(type) {
	case *ast.StringNode:
		return k.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return k.GetToken().Value, nil
	}
	return "", r.refuse(e, CodeBadJSON, "a key must be a plain or quoted string")
}

func (r *yamlReader) sequence(n *ast.SequenceNode) (value, error) {
	if err := r.enter(n); err != nil {
		return value{}, err
	}
	v := value{kind: list, kids: make([]member, 0, len(n.Values))}
	for _, item := range n.Values {
		val, err := r.value(item)
		if err != nil {
			return value{}, err
		}
		v.kids = append(v.kids, member{val: val})
	}
	r.depth--
	return v, nil
}

func (r *yamlReader) anchor(n *ast.AnchorNode) (value, error) {
	name := n.Name.GetToken().Value
	r.anchors[name] = n
	r.open[name] = true
	defer delete(r.open, name)
	return r.value(n.Value)
}

func (r *yamlReader) alias(n *ast.AliasNode) (value, error) {
	name := n.Value.GetToken().Value
	target := r.anchors[name]
	switch {
	case target == nil:
		return value{}, r.refuse(n, CodeBadJSON, "the alias *%s has no anchor before it", clip(name))
	case r.open[name]:
		return value{}, r.refuse(n, CodeBadJSON, "the alias *%s stands within its own anchor", clip(name))
	}
	return r.value(target.Value)
}

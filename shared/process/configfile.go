package process

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxConfig bounds a config file, in bytes.
const maxConfig = 1 << 20

// readConfig reads a YAML or JSON file into values by flag name. Keys are flag
// names, with _ or -; a mapping prefixes the keys in it. All faults are listed.
func readConfig(path string, known map[string]*kong.Flag) (map[string]found, []error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, []error{fmt.Errorf("config file: %w", err)}
	}
	if info.Size() > maxConfig {
		return nil, []error{fmt.Errorf("config file %s has %d bytes; at most %d are allowed", path, info.Size(), maxConfig)}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, []error{fmt.Errorf("config file: %w", err)}
	}
	return parseConfig(path, data, known)
}

func parseConfig(path string, data []byte, known map[string]*kong.Flag) (map[string]found, []error) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, []error{fmt.Errorf("config file %s: %w", path, err)}
	}
	r := configReader{path: path, known: known, values: make(map[string]found)}
	switch {
	case len(file.Docs) > 1:
		r.faults = append(r.faults, fmt.Errorf("config file %s: holds %d documents; one is allowed", path, len(file.Docs)))
	case len(file.Docs) == 1 && file.Docs[0].Body != nil:
		r.document(file.Docs[0].Body)
	}
	return r.values, r.faults
}

type configReader struct {
	path   string
	known  map[string]*kong.Flag
	values map[string]found
	faults []error
}

func (r *configReader) fault(n ast.Node, format string, a ...any) {
	r.faults = append(r.faults, fmt.Errorf("%s: %s", r.place(n), fmt.Sprintf(format, a...)))
}

func (r *configReader) place(n ast.Node) string {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return fmt.Sprintf("%s:%d", r.path, t.Position.Line)
	}
	return r.path
}

func (r *configReader) document(body ast.Node) {
	switch body.(type) {
	case *ast.NullNode, *ast.CommentGroupNode:
		return
	}
	pairs, ok := mapping(body)
	if !ok {
		r.fault(body, "must be a mapping of settings")
		return
	}
	r.mapping("", pairs)
}

// mapping returns the pairs of a mapping: a single pair has a node type of its
// own in some forms.
func mapping(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	return nil, false
}

func (r *configReader) mapping(prefix string, pairs []*ast.MappingValueNode) {
	for _, p := range pairs {
		key, ok := p.Key.(ast.ScalarNode)
		if !ok {
			r.fault(p.Key, "this kind of key is not supported; write the setting's name")
			continue
		}
		spelled := prefix + fmt.Sprint(key.GetValue())
		name := strings.ReplaceAll(spelled, "_", "-")
		flag := r.known[name]
		if flag == nil {
			if inner, ok := mapping(p.Value); ok && r.isPrefix(name+"-") {
				r.mapping(spelled+"-", inner)
				continue
			}
			r.fault(p.Key, "unknown setting %q%s", spelled, r.hint(name))
			continue
		}
		if before, ok := r.values[name]; ok {
			r.fault(p.Key, "setting %q is given again; first at %s", spelled, before.place)
			continue
		}
		text, set, err := valueOf(flag, p.Value)
		if err != nil {
			r.fault(p.Value, "%s: %v", spelled, err)
			continue
		}
		if set {
			r.values[name] = found{text, r.place(p.Key) + " " + spelled}
		}
	}
}

func (r *configReader) isPrefix(prefix string) bool {
	for name := range r.known {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// hint names the known settings that resemble a name.
func (r *configReader) hint(name string) string {
	flat := strings.ReplaceAll(name, "-", "")
	var near []string
	for k := range r.known {
		f := strings.ReplaceAll(k, "-", "")
		if f == flat || strings.Contains(f, flat) || strings.Contains(flat, f) {
			near = append(near, strings.ReplaceAll(k, "-", "_"))
		}
	}
	if len(near) == 0 {
		return ""
	}
	slices.Sort(near)
	return "; did you mean " + strings.Join(near, " or ") + "?"
}

// valueOf writes a node as the text that the flag would have on the command
// line. A null is no value.
func valueOf(f *kong.Flag, n ast.Node) (text string, set bool, err error) {
	switch v := n.(type) {
	case *ast.NullNode:
		return "", false, nil
	case *ast.SequenceNode:
		if !f.IsSlice() {
			return "", false, errors.New("takes one value, not a list")
		}
		var items []string
		for _, item := range v.Values {
			s, err := scalar(item)
			if err != nil {
				return "", false, err
			}
			items = append(items, s)
		}
		return kong.JoinEscaped(items, f.Tag.Sep), len(items) > 0, nil
	}
	if pairs, ok := mapping(n); ok {
		if !f.IsMap() {
			return "", false, errors.New("takes one value, not a mapping")
		}
		var items []string
		for _, p := range pairs {
			k, err := scalar(p.Key)
			if err != nil {
				return "", false, err
			}
			s, err := scalar(p.Value)
			if err != nil {
				return "", false, err
			}
			items = append(items, k+"="+s)
		}
		return kong.JoinEscaped(items, f.Tag.MapSep), len(items) > 0, nil
	}
	text, err = scalar(n)
	return text, err == nil, err
}

func scalar(n ast.Node) (string, error) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, nil
	case *ast.LiteralNode:
		return v.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil // as it is spelled
	}
	return "", fmt.Errorf("a %s is not supported here; write a plain value", strings.ToLower(n.Type().String()))
}

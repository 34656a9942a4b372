// Package sourcetest checks a module's source by tests: which packages may
// import what, how long files are, and that packages tell how they fail. Only
// tests import it.
package sourcetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Root begins the path of every module of the product.
const Root = "github.com/tradingflow/weather-station/"

// TestOnly are packages that no program may link.
var TestOnly = []string{"testing", "github.com/google/go-cmp/...", "pgregory.net/rapid/...", "go.uber.org/goleak/...", "github.com/alicebob/miniredis/..."}

// Wall says what packages must not depend on. Patterns are import paths; one
// that ends in /... covers what lies below as well, and one that begins with a
// dot is relative to Root.
type Wall struct {
	Packages []string
	Except   []string // packages that the wall leaves out
	Forbid   []string
	Direct   bool // only imports of the package itself count, not what these import
	Why      string
}

type pkg struct {
	ImportPath string
	Dir        string
	Standard   bool
	DepOnly    bool
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// Module is a module's packages and all they depend on, tests left out.
type Module struct{ own []pkg }

// Load lists the module in the current folder.
func Load(t testing.TB) *Module {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,Standard,DepOnly,GoFiles,Imports,Deps", "./...")
	var faults bytes.Buffer
	cmd.Stderr = &faults
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, faults.String())
	}
	m := &Module{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !p.Standard && !p.DepOnly {
			m.own = append(m.own, p)
		}
	}
	if len(m.own) == 0 {
		t.Fatal("no packages here")
	}
	return m
}

// Walls checks every wall. A wall whose packages do not exist is a fault, so
// that a renamed package does not lose its wall.
func (m *Module) Walls(t *testing.T, walls []Wall) {
	t.Helper()
	for _, w := range walls {
		met := 0
		for _, p := range m.own {
			if !matchAny(w.Packages, p.ImportPath) || matchAny(w.Except, p.ImportPath) {
				continue
			}
			met++
			for _, d := range m.breaches(w, p) {
				t.Errorf("%s depends on %s: %s", strings.TrimPrefix(p.ImportPath, Root), d, w.Why)
			}
		}
		if met == 0 {
			t.Errorf("no package matches %v: the wall guards nothing", w.Packages)
		}
	}
}

func (m *Module) breaches(w Wall, p pkg) []string {
	deps := p.Deps
	if w.Direct {
		deps = p.Imports
	}
	var out []string
	for _, d := range deps {
		if matchAny(w.Forbid, d) {
			out = append(out, d)
		}
	}
	return out
}

// Lengths checks that no production file has more than limit lines.
func (m *Module) Lengths(t *testing.T, limit int) {
	t.Helper()
	for _, p := range m.own {
		for _, f := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte("\n")); n > limit {
				t.Errorf("%s has %d lines; at most %d are allowed: split it by what it does", path.Join(strings.TrimPrefix(p.ImportPath, Root), f), n, limit)
			}
		}
	}
}

// Stories checks that each of the packages, patterns as in Wall, has a package
// comment of at least least lines.
func (m *Module) Stories(t *testing.T, least int, packages ...string) {
	t.Helper()
	for _, name := range packages {
		i := slices.IndexFunc(m.own, func(p pkg) bool { return match(name, p.ImportPath) })
		if i < 0 {
			t.Errorf("there is no package %s", name)
			continue
		}
		longest := 0
		for _, f := range m.own[i].GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(m.own[i].Dir, f), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			longest = max(longest, lines(file.Doc))
		}
		if longest < least {
			t.Errorf("the comment of package %s has %d lines; it tells how the package fails, in %d or more", name, longest, least)
		}
	}
}

func lines(doc *ast.CommentGroup) int {
	if doc == nil {
		return 0
	}
	return strings.Count(doc.Text(), "\n")
}

func matchAny(patterns []string, importPath string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, importPath) })
}

func match(pattern, importPath string) bool {
	if rest, ok := strings.CutPrefix(pattern, "./"); ok {
		pattern = Root + rest
	}
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return importPath == below || strings.HasPrefix(importPath, below+"/")
	}
	return importPath == pattern
}

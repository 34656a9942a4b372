package sourcetest

import (
	"slices"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"net/http", "net/http", true}, {"net/http", "net/http/httptest", false},
		{"net/...", "net/http", true}, {"net/...", "net", true}, {"net/...", "network", false},
		{"./shared/ids", Root + "shared/ids", true}, {"./shared/...", Root + "shared/ids", true}, {"./shared/...", "shared/ids", false},
	} {
		if got := match(c.pattern, c.path); got != c.want {
			t.Errorf("match(%q, %q) = %v", c.pattern, c.path, got)
		}
	}
}

func TestAWallFindsWhatBreaksIt(t *testing.T) {
	p := pkg{ImportPath: Root + "x", Imports: []string{"a"}, Deps: []string{"a", "b", "b/c"}}
	m := &Module{own: []pkg{p}}
	for _, c := range []struct {
		wall Wall
		want []string
	}{
		{Wall{Forbid: []string{"b/..."}}, []string{"b", "b/c"}},
		{Wall{Forbid: []string{"b/..."}, Direct: true}, nil},
		{Wall{Forbid: []string{"a"}, Direct: true}, []string{"a"}},
	} {
		if got := m.breaches(c.wall, p); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.wall, got, c.want)
		}
	}
}

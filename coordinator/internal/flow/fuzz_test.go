package flow

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
)

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*valid/*")
	if err != nil || len(files) == 0 {
		f.Fatalf("no documents: %v", err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	for _, s := range []string{"", "null", "[]", "- - - a", "a: &a [*a]", "? {a: b}\n: c", "{\"a\":\"\\ud83d\\ude00\"}", "a: |2\n   x", "---\n...\n---\na: 1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		flow, err := Parse(body, Options{})
		if err != nil {
			return
		}
		if !json.Valid(flow.Canonical()) {
			t.Fatalf("the canonical form is no JSON: %s", flow.Canonical())
		}
		again, err := Parse(flow.Canonical(), Options{FlowID: string(flow.ID)})
		if err != nil {
			t.Fatalf("the canonical form is refused: %v\n%s", err, flow.Canonical())
		}
		if !bytes.Equal(flow.Canonical(), again.Canonical()) {
			t.Fatalf("the canonical form does not survive:\n%s\n%s", flow.Canonical(), again.Canonical())
		}
		if p := flow.Compile(uuid.Nil, 1); len(p.Nodes) != len(flow.Nodes) || len(p.Entries()) == 0 {
			t.Fatalf("plan of %d nodes, %d entries", len(p.Nodes), len(p.Entries()))
		}
	})
}

func FuzzInterval(f *testing.F) {
	for _, s := range []string{"10s", "5 m", "1h30m", "1d", "60", "0", "once", "-5m", "1.5s", "250ms", "*/5 * * * *", "1e5", "1..2s", ".5s", "9999999999999999999d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseInterval(s)
		if err != nil {
			return
		}
		if d < 0 || d%time.Millisecond != 0 {
			t.Fatalf("%q gives %d", s, d)
		}
		for _, written := range []string{formatDuration(d), formatSeconds(d)} {
			if again, err := parseInterval(written); err != nil || again != d {
				t.Fatalf("%q gives %s, written %q, read %s, %v", s, d, written, again, err)
			}
		}
	})
}

package ids

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	flow := func(s string) (string, error) { v, err := ParseFlowID(s); return string(v), err }
	node := func(s string) (string, error) { v, err := ParseNodeID(s); return string(v), err }
	worker := func(s string) (string, error) { v, err := ParseWorkerID(s); return string(v), err }
	pool := func(s string) (string, error) { return s, CheckPool(s) }
	for _, c := range []struct {
		name  string
		parse func(string) (string, error)
		in    string
		want  string // the error; "" = accepted
	}{
		{"flow", flow, "btc-Momentum_9", ""},
		{"longest flow", flow, strings.Repeat("a", MaxFlowID), ""},
		{"flow too long", flow, strings.Repeat("a", MaxFlowID+1), `flow id "` + strings.Repeat("a", 32) + `…" has 129 bytes; at most 128 are allowed`},
		{"empty flow", flow, "", `flow id "" is empty`},
		{"dot in a flow", flow, "a.b", `flow id "a.b" contains '.'; allowed are A-Z a-z 0-9 _ -`},
		{"separator of members", flow, "a|b", `flow id "a|b" contains '|'; allowed are A-Z a-z 0-9 _ -`},
		{"separator of keys", node, "a:b", `node id "a:b" contains ':'; allowed are A-Z a-z 0-9 _ -`},
		{"not ASCII", node, "ä", `node id "ä" contains 'ä'; allowed are A-Z a-z 0-9 _ -`},
		{"not UTF-8", node, "a\xff", `node id "a?" contains '�'; allowed are A-Z a-z 0-9 _ -`},
		{"longest node", node, strings.Repeat("n", MaxNodeID), ""},
		{"node too long", node, strings.Repeat("n", MaxNodeID+1), `node id "` + strings.Repeat("n", 32) + `…" has 65 bytes; at most 64 are allowed`},
		{"worker", worker, "host-1.local", ""},
		{"blank in a worker", worker, "a b", `worker id "a b" contains ' '; allowed are A-Z a-z 0-9 _ - .`},
		{"pool", pool, "gpu_1", ""},
		{"dot in a pool", pool, "a.b", `pool "a.b" contains '.'; allowed are A-Z a-z 0-9 _ -`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.parse(c.in)
			if c.want == "" {
				if err != nil || got != c.in {
					t.Fatalf("%q, %v", got, err)
				}
				return
			}
			var typed *Error
			if !errors.As(err, &typed) || err.Error() != c.want {
				t.Fatalf("error is %v, want %s", err, c.want)
			}
		})
	}
}

func TestRefusalsAreShortAndValidText(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := rapid.String().Draw(r, "id") + rapid.SampledFrom([]string{"", " ", "ä", "\xc3", strings.Repeat("é", 90)}).Draw(r, "tail")
		_, err := ParseNodeID(s)
		if err == nil {
			if len(s) == 0 || len(s) > MaxNodeID || strings.ContainsAny(s, ":|. \n#") {
				r.Fatalf("accepted %q", s)
			}
			return
		}
		var typed *Error
		if !errors.As(err, &typed) || len(typed.Value) > 32+len("…") || !utf8.ValidString(err.Error()) {
			r.Fatalf("refusal %q", err)
		}
	})
}

func FuzzParseFlowID(f *testing.F) {
	for _, s := range []string{"", "a", "a|b", "ü", strings.Repeat("x", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseFlowID(s)
		if (err == nil) != (s != "" && len(s) <= MaxFlowID && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == "") || string(id) != s {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func TestAttemptString(t *testing.T) {
	a := Attempt{Flow: "f", Cycle: 12, Node: "n", N: 3}
	if a.String() != "f/12/n#3" {
		t.Error(a)
	}
}

// The derived ids are stored and sent to exchanges: they never change between
// versions.
func TestDerivedIDsStay(t *testing.T) {
	uid := uuid.MustParse("11111111-2222-3333-4444-555555555555")
	occasion := Occasion(uid, "1700000000000")
	for name, c := range map[string]struct{ got, want string }{
		"occasion": {occasion.String(), "58c4673e-5c46-5d43-b568-1a2237d437d1"},
		"cycle":    {CycleUUID(occasion, 7).String(), "f5eaa3a7-ecd3-5c29-989b-c1d05abda1c3"},
		"intent":   {IntentID(occasion, "order").String(), "fd4fdef1-a552-5e77-9d52-da4e8b61437a"},
	} {
		if c.got != c.want {
			t.Errorf("%s is %s, want %s", name, c.got, c.want)
		}
	}
}

func TestDerivedIDsDiffer(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		id := rapid.StringMatching(`[a-z]{1,8}`)
		uid := uuid.NewSHA1(uuid.Nil, []byte(id.Draw(r, "uid")))
		o := Occasion(uid, id.Draw(r, "slot"))
		revision := rapid.Int64Range(1, 1<<40).Draw(r, "revision")
		n := NodeID(id.Draw(r, "node"))
		if CycleUUID(o, revision) == CycleUUID(o, revision+1) {
			r.Error("two revisions share a cycle")
		}
		if IntentID(o, n) == IntentID(o, n+"x") || IntentID(o, n) == IntentID(Occasion(uid, "other slot"), n) {
			r.Error("two effects share an intent")
		}
		if IntentID(o, n) == CycleUUID(o, revision) {
			r.Error("an intent is a cycle")
		}
	})
}

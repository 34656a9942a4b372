package task

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/shared/ids"
)

func example() Task {
	return Task{Attempt: ids.Attempt{Flow: "btc-momentum", Cycle: 42, UUID: uuid.MustParse("11111111-2222-3333-4444-555555555555"), Node: "order", N: 3},
		Type: "exec", Pool: "gpu"}
}

// Messages outlive a rolling upgrade: the stored one is what version 1 looks like.
func TestGolden(t *testing.T) {
	const file = "testdata/task.v1.json"
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want = bytes.TrimSpace(want)
	if d := cmp.Diff(string(want), string(example().Encode())); d != "" {
		t.Errorf("encoding differs from %s:\n%s", file, d)
	}
	got, err := Decode(want)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(example(), got); d != "" {
		t.Error(d)
	}
}

// One partition is written as it was before there were any.
func TestOnePartitionIsNotWritten(t *testing.T) {
	one, many := example(), example()
	one.Partitions, many.Partitions = 1, 4
	if d := cmp.Diff(string(example().Encode()), string(one.Encode())); d != "" {
		t.Error(d)
	}
	if want := `,"partitions":4}`; !strings.HasSuffix(string(many.Encode()), want) {
		t.Errorf("%s does not end with %s", many.Encode(), want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := string(example().Encode())
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", "malformed task: not JSON: unexpected end of JSON input"},
		{"no JSON", "x", "malformed task: not JSON: invalid character 'x' looking for beginning of value"},
		{"another version", strings.Replace(good, `"v":1`, `"v":2`, 1), "malformed task: version 2, this build reads version 1"},
		{"no version", `{}`, "malformed task: version 0, this build reads version 1"},
		{"flow", strings.Replace(good, "btc-momentum", "a|b", 1), `malformed task: flow id "a|b" contains '|'; allowed are A-Z a-z 0-9 _ -`},
		{"node", strings.Replace(good, `"order"`, `""`, 1), `malformed task: node id "" is empty`},
		{"uuid", strings.Replace(good, "11111111-", "1-", 1), "malformed task: uuid: invalid UUID length: 29"},
		{"pool", strings.Replace(good, `"gpu"`, `"g.p"`, 1), `malformed task: pool "g.p" contains '.'; allowed are A-Z a-z 0-9 _ -`},
		{"cycle", strings.Replace(good, `"cycle":42`, `"cycle":0`, 1), "malformed task: cycle 0, must be at least 1"},
		{"attempt", strings.Replace(good, `"attempt":3`, `"attempt":-1`, 1), "malformed task: attempt -1, must be at least 1"},
		{"partitions", strings.Replace(good, `"attempt"`, `"partitions":65,"attempt"`, 1), "malformed task: partitions 65, 1 to 64 are allowed"},
		{"type", strings.Replace(good, `"exec"`, `""`, 1), "malformed task: type is empty"},
		{"too long", strings.Replace(good, `"exec"`, `"`+strings.Repeat("x", MaxBytes)+`"`, 1), "malformed task: 2184 bytes, at most 2048 are allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode([]byte(c.in))
			if !errors.Is(err, ErrMalformed) || err.Error() != c.want {
				t.Errorf("error is %v, want %s", err, c.want)
			}
		})
	}
	var id *ids.Error
	if _, err := Decode([]byte(strings.Replace(good, "btc-momentum", "a|b", 1))); !errors.As(err, &id) {
		t.Errorf("the cause is lost: %v", err)
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		want := Task{Attempt: ids.Attempt{
			Flow:  ids.FlowID(rapid.StringMatching(`[A-Za-z0-9_-]{1,128}`).Draw(r, "flow")),
			Cycle: rapid.Int64Range(1, 1<<62).Draw(r, "cycle"),
			UUID:  uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(r, "uuid")),
			Node:  ids.NodeID(rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`).Draw(r, "node")),
			N:     rapid.IntRange(1, 1<<40).Draw(r, "attempt"),
		}, Type: rapid.StringMatching(`.{1,64}`).Draw(r, "type"), Pool: rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`).Draw(r, "pool"),
			Partitions: rapid.SampledFrom([]int{0, 2, 3, 64}).Draw(r, "partitions")}
		got, err := Decode(want.Encode())
		if err != nil {
			r.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			r.Fatal(d)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(example().Encode())
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error is not ErrMalformed: %v", err)
			}
			return
		}
		again, err := Decode(got.Encode())
		if err != nil && len(got.Encode()) <= MaxBytes || err == nil && again != got {
			t.Errorf("%+v becomes %+v, %v", got, again, err)
		}
	})
}

func TestFinal(t *testing.T) {
	final := map[Status]bool{Waiting: false, Ready: false, Dispatched: false, Running: false, Retrying: false, "": false, "other": false,
		Succeeded: true, Failed: true, Skipped: true, Stopped: true, Cancelled: true, Unknown: true}
	for s, want := range final {
		if s.Final() != want {
			t.Errorf("%q is final: %t", s, s.Final())
		}
	}
}

package task

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
)

func examples(n int) []Task {
	tasks := make([]Task, n)
	for i := range tasks {
		tasks[i] = example()
		tasks[i].N = i + 1
	}
	return tasks
}

func TestPackGolden(t *testing.T) {
	const file = "testdata/task.v2.json"
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tasks := examples(2)
	for i := range tasks {
		tasks[i].Partitions = 4
	}
	if d := cmp.Diff(strings.TrimSpace(string(want)), string(EncodePack(tasks))); d != "" {
		t.Errorf("encoding differs from %s:\n%s", file, d)
	}
	got, err := DecodePack(want)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(tasks, got); d != "" {
		t.Error(d)
	}
	// What reads one task only says so, and so parks the message.
	if _, err := Decode(want); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a reader of single tasks says: %v", err)
	}
}

// TestPackOfOne: a lone task is encoded as ever.
func TestPackOfOne(t *testing.T) {
	b := EncodePack(examples(1))
	if d := cmp.Diff(string(examples(1)[0].Encode()), string(b)); d != "" {
		t.Error(d)
	}
	got, err := DecodePack(b)
	if d := cmp.Diff(examples(1), got); d != "" || err != nil {
		t.Error(d, err)
	}
}

// TestPackOfTheLargest: what the parts allow, the whole does.
func TestPackOfTheLargest(t *testing.T) {
	tasks := make([]Task, MaxPack)
	for i := range tasks {
		tasks[i] = Task{Attempt: ids.Attempt{Flow: ids.FlowID(strings.Repeat("f", 128)), Cycle: 1 << 62, UUID: uuid.Max, Node: ids.NodeID(strings.Repeat("n", 64)), N: 1 << 40},
			Pool: strings.Repeat("p", 64)}
		tasks[i].Type = strings.Repeat("t", MaxBytes-len(tasks[i].Encode()))
	}
	got, err := DecodePack(EncodePack(tasks))
	if d := cmp.Diff(tasks, got); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestDecodePackRefuses(t *testing.T) {
	good := string(EncodePack(examples(2)))
	for _, c := range []struct {
		name, in, want string
		read           int
	}{
		{"no JSON", "x", "not JSON", 0},
		{"another version", strings.Replace(good, `"v":2`, `"v":3`, 1), "version 3, this build reads versions 1 and 2", 0},
		{"none", `{"v":2,"pool":"p","tasks":[]}`, "0 tasks, 1 to 16 are allowed", 0},
		{"too many", string(EncodePack(examples(MaxPack + 1))), "17 tasks, 1 to 16 are allowed", 0},
		{"pool", strings.Replace(good, `"gpu"`, `"g.p"`, 1), "task 2: malformed task: pool", 0},
		{"one of two", strings.Replace(good, `"attempt":2`, `"attempt":0`, 1), "task 2: malformed task: attempt 0", 1},
		{"a long single one", strings.Replace(string(example().Encode()), `"exec"`, `"`+strings.Repeat("x", MaxBytes)+`"`, 1), "2184 bytes, at most 2048", 0},
		{"too long", strings.Repeat(" ", MaxPackBytes) + good, "at most 32768 are allowed", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodePack([]byte(c.in))
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.want) || len(got) != c.read {
				t.Errorf("%d tasks, error is %v; want %d, %s", len(got), err, c.read, c.want)
			}
		})
	}
}

func FuzzDecodePack(f *testing.F) {
	f.Add(EncodePack(examples(3)))
	f.Add(example().Encode())
	f.Add([]byte(`{"v":2,"pool":"p","tasks":[{"v":1,"pool":"q","tasks":[]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := DecodePack(b)
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("error is not ErrMalformed: %v", err)
		}
		if err != nil {
			return
		}
		whole := EncodePack(got)
		again, err := DecodePack(whole)
		if err != nil && len(whole) <= MaxBytes || err == nil && !cmp.Equal(again, got) {
			t.Errorf("%+v becomes %+v, %v", got, again, err)
		}
	})
}

func BenchmarkPack(b *testing.B) {
	tasks := examples(MaxPack)
	for b.Loop() {
		if _, err := DecodePack(EncodePack(tasks)); err != nil {
			b.Fatal(err)
		}
	}
}

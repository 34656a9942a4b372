package builtin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/worker/node"
)

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, dir, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func at(in *node.Input, cycle int64) *node.Input { in.Cycle = cycle; return in }

func TestDatasetInputCells(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.csv", "\ufeffname,price,id,note\r\n\"x,\"\"y\"\"\nz\",7.10,007,\r\n\r\nplain,-1e3,1e999,NaN\n")
	h := newDatasetInput(dir)
	got := outputs(t, h, at(input(`{"path": "a.csv", "window": 5}`), 2))
	want := map[string]string{"index": "1", "total": "2",
		"row":  `{"id":"1e999","name":"plain","note":"NaN","price":-1e3}`,
		"rows": `[{"id":"007","name":"x,\"y\"\nz","note":"","price":7.10},{"id":"1e999","name":"plain","note":"NaN","price":-1e3}]`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = outputs(t, h, input(`{"path": "./a.csv", "columns": ["price"]}`))
	if got["rows"] != `[{"price":7.10}]` {
		t.Error(got["rows"])
	}
	refuses(t, h, input(`{"path": "a.csv", "columns": ["prize"]}`), `"prize"`, "a.csv")
}

func TestDatasetInputJSONL(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.jsonl", "\ufeff{\"a\": 1.50}\r\n\n  {\"a\": {\"b\": [1]}}")
	h := newDatasetInput(dir)
	if got := outputs(t, h, at(input(`{"path": "a.jsonl", "window": 2}`), 2)); got["rows"] != `[{"a":1.50},{"a":{"b":[1]}}]` || got["total"] != "2" {
		t.Error(got)
	}
	write(t, dir, "bad.ndjson", "{}\n{}\n[1]\n")
	refuses(t, h, input(`{"path": "bad.ndjson"}`), "bad.ndjson", "line 3")
}

// Every cycle against a plain definition of the window, for each way to end.
func TestDatasetInputWindows(t *testing.T) {
	dir := t.TempDir()
	h := newDatasetInput(dir)
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(0, 12).Draw(t, "rows")
		start := rapid.IntRange(0, 4).Draw(t, "start")
		window := rapid.IntRange(1, 5).Draw(t, "window")
		end := rapid.SampledFrom([]string{"stop", "wrap", "fail"}).Draw(t, "on_end")
		text := "v\n"
		for i := range total {
			text += fmt.Sprintln(i)
		}
		name := uuid.NewString() + ".csv"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		left := max(0, total-start)
		for cycle := 1; cycle <= total*2+2; cycle++ {
			in := at(input(fmt.Sprintf(`{"path": %q, "window": %d, "start": %d, "on_end": %q}`, name, window, start, end)), int64(cycle))
			res, err := h.Run(context.Background(), in)
			newest := cycle - 1
			if newest >= left {
				switch {
				case end == "stop":
					if err != nil || !res.Stop || res.Reason != "end of data" {
						t.Fatalf("cycle %d: %+v, %v", cycle, res, err)
					}
					continue
				case end == "fail" || left == 0:
					if !node.IsPermanent(err) {
						t.Fatalf("cycle %d: %+v, %v", cycle, res, err)
					}
					continue
				}
				newest %= left
			}
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for i := max(0, newest-window+1); i <= newest; i++ {
				want = append(want, fmt.Sprintf(`{"v":%d}`, start+i))
			}
			rows, _ := json.Marshal(res.Outputs["rows"])
			if string(rows) != "["+strings.Join(want, ",")+"]" || res.Outputs["index"] != int64(newest) || res.Outputs["total"] != int64(left) {
				t.Fatalf("cycle %d: rows %s index %v total %v, want %v", cycle, rows, res.Outputs["index"], res.Outputs["total"], want)
			}
		}
	})
}

func TestDatasetInputRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "wide.csv", "a,b\n1,2\n\"x\ny\",2\n1,2,3\n")
	write(t, dir, "quote.csv", "a,b\n1,x\"y\n")
	write(t, dir, "twice.csv", "a,a\n1,2\n")
	write(t, dir, "empty.csv", "")
	outside := t.TempDir()
	write(t, outside, "secret.csv", "a\n1\n")
	for name, target := range map[string]string{"link.csv": filepath.Join(outside, "secret.csv"), "dir": outside} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.csv"), 0o755); err != nil {
		t.Fatal(err)
	}
	h := newDatasetInput(dir)
	refuses(t, h, input(`{"path": "wide.csv"}`), "wide.csv", "line 5", "2 columns")
	refuses(t, h, input(`{"path": "quote.csv"}`), "quote.csv", "line 2")
	refuses(t, h, input(`{"path": "twice.csv"}`), `"a"`)
	refuses(t, h, input(`{"path": "empty.csv"}`), "header")
	refuses(t, h, input(`{"path": "folder.csv"}`), "regular")
	for _, p := range []string{"../x.csv", "/etc/passwd", "a/../../x.csv", "", ".", "a/"} {
		refuses(t, h, input(fmt.Sprintf(`{"path": %q, "format": "csv"}`, p)), "path")
	}
	for _, p := range []string{"link.csv", "dir/secret.csv"} {
		refuses(t, h, input(fmt.Sprintf(`{"path": %q}`, p)), "escapes")
		refuses(t, newDatasetOutput(dir, hclog.NewNullLogger()), input(fmt.Sprintf(`{"path": %q}`, p), "data", "{}"), "escapes")
	}
	refuses(t, h, input(`{"path": "x.txt", "window": 0, "start": -1, "on_end": "loop"}`), "x.txt", "window", "start", "loop")
	refuses(t, newDatasetInput(""), input(`{"path": "a.csv"}`), "data directory")
	if _, err := h.Run(t.Context(), input(`{"path": "later.csv"}`)); err == nil || node.IsPermanent(err) {
		t.Errorf("a missing file gives %v, want an error that a retry may cure", err)
	}
	if got := content(t, outside, "secret.csv"); got != "a\n1\n" {
		t.Errorf("the file outside now holds %q", got)
	}
}

func TestDatasetInputSeesAChangedFile(t *testing.T) {
	dir := t.TempDir()
	h := newDatasetInput(dir)
	write(t, dir, "a.csv", "v\n1\n")
	outputs(t, h, input(`{"path": "a.csv"}`))
	write(t, dir, "a.csv", "v\n1\n2\n")
	if got := outputs(t, h, at(input(`{"path": "a.csv"}`), 2)); got["row"] != `{"v":2}` {
		t.Error(got)
	}
}

func BenchmarkDatasetInput(b *testing.B) {
	dir := b.TempDir()
	var text bytes.Buffer
	text.WriteString("date,Open,High,Low,Close,Volume\n")
	for i := range 1_000_000 {
		fmt.Fprintf(&text, "2024-01-01,%d,2.5,3,%d.25,4\n", i, i)
	}
	write(b, dir, "a.csv", text.String())
	h := newDatasetInput(dir)
	start := time.Now()
	outputs(b, h, input(`{"path": "a.csv"}`))
	first := time.Since(start)
	cycle := int64(0)
	for b.Loop() {
		cycle = cycle%1_000_000 + 1
		if _, err := h.Run(b.Context(), at(input(`{"path": "a.csv", "window": 9}`), cycle)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(first.Milliseconds()), "ms/index")
}

func output(dir string) *datasetOutput { return newDatasetOutput(dir, hclog.NewNullLogger()) }

func intent(n byte) uuid.UUID { return uuid.UUID{15: n} }

func withIntent(in *node.Input, n byte) *node.Input { in.IntentID = intent(n); return in }

func TestDatasetOutputJSONL(t *testing.T) {
	dir := t.TempDir()
	h := output(dir)
	got := outputs(t, h, withIntent(input(`{"path": "sub/o.jsonl"}`, "data", `{"side":"buy","price":7.10}`), 1))
	if diff := cmp.Diff(map[string]string{"written": "1", "path": `"sub/o.jsonl"`}, got); diff != "" {
		t.Error(diff)
	}
	outputs(t, h, withIntent(input(`{"path": "sub/o.jsonl", "columns": ["z", "cycle"]}`, "default", "[{\"z\":{\"a\":\n1},\"y\":1},{\"y\":2}]"), 2))
	want := `{"cycle":1,"flow":"f","price":7.10,"side":"buy","slot":"2024-01-02T03:04:05Z","intent_id":"00000000-0000-0000-0000-000000000001"}
{"z":{"a":1},"cycle":1,"intent_id":"00000000-0000-0000-0000-000000000002"}
{"cycle":1,"intent_id":"00000000-0000-0000-0000-000000000002"}
`
	if diff := cmp.Diff(want, content(t, dir, "sub/o.jsonl")); diff != "" {
		t.Error(diff)
	}
}

func TestDatasetOutputCSV(t *testing.T) {
	dir := t.TempDir()
	const p = `{"path": "o.csv"}`
	outputs(t, output(dir), withIntent(input(p, "data", `{"a":"x, \"y\"\nz","cycle":9}`), 1))
	outputs(t, output(dir), withIntent(input(p, "data", `[{"a":null,"cycle":{"k":[1, 2]}},{"a":1.50}]`), 2))
	want := "a,cycle,flow,slot,intent_id\n" +
		"\"x, \"\"y\"\"\nz\",9,f,2024-01-02T03:04:05Z,00000000-0000-0000-0000-000000000001\n" +
		",\"{\"\"k\"\":[1,2]}\",f,2024-01-02T03:04:05Z,00000000-0000-0000-0000-000000000002\n" +
		"1.50,1,f,2024-01-02T03:04:05Z,00000000-0000-0000-0000-000000000002\n"
	if diff := cmp.Diff(want, content(t, dir, "o.csv")); diff != "" {
		t.Error(diff)
	}
	refuses(t, output(dir), withIntent(input(p, "data", `{"b":1}`), 3), `"b"`)
	refuses(t, output(dir), withIntent(input(`{"path": "o.csv", "columns": ["b"]}`, "data", `{"b":1}`), 3), "columns")
	write(t, dir, "other.csv", "a,b\n1,2\n")
	refuses(t, output(dir), withIntent(input(`{"path": "other.csv"}`, "data", `{"a":1}`), 3), "intent_id")
}

func TestDatasetOutputRefuses(t *testing.T) {
	h := output(t.TempDir())
	refuses(t, h, input(`{"path": "o.jsonl"}`), `"data"`)
	refuses(t, h, input(`{"path": "o.jsonl"}`, "data", "3"), "object")
	refuses(t, h, input(`{"path": "o.jsonl"}`, "data", "[{},null]"), "item 1")
	refuses(t, h, input(`{"path": "o.jsonl"}`, "data", `{"intent_id": "mine"}`), "intent_id")
	refuses(t, h, input(`{"path": "o.txt", "mode": "add", "columns": ["a", "a"]}`, "data", `{}`), "o.txt", `"add"`, `"a"`)
	refuses(t, output(""), input(`{"path": "o.jsonl"}`, "data", `{}`), "data directory")
}

func TestDatasetOutputReplaces(t *testing.T) {
	dir := t.TempDir()
	const p = `{"path": "o.csv", "mode": "write", "columns": ["a"]}`
	for i := range 3 {
		outputs(t, output(dir), input(p, "data", fmt.Sprintf(`{"a":%d}`, i)))
	}
	if got := content(t, dir, "o.csv"); got != "a,intent_id\n2,11111111-2222-3333-4444-555555555555\n" {
		t.Errorf("%q", got)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v", left, err)
	}
}

// A crash may leave any prefix of what an execution appended. The execution
// runs again, and the file ends as if there had been no crash: for each format,
// at every cut.
func TestDatasetOutputRepairsEveryCut(t *testing.T) {
	for _, name := range []string{"o.jsonl", "o.csv"} {
		p := fmt.Sprintf(`{"path": %q}`, name)
		before := withIntent(input(p, "data", `{"a":"first, \"one\"","b":1}`), 1)
		torn := withIntent(input(p, "data", `[{"a":"x\ny","b":2.50},{"a":"00000000-0000-0000-0000-000000000002","b":3},{"a":"","b":4}]`), 2)
		for _, first := range []bool{true, false} {
			dir := t.TempDir()
			if first {
				outputs(t, output(dir), before)
			} else {
				write(t, dir, name, "")
			}
			keep := len(content(t, dir, name))
			outputs(t, output(dir), torn)
			whole := content(t, dir, name)
			for cut := keep; cut <= len(whole); cut++ {
				write(t, dir, name, whole[:cut])
				h := output(dir)
				for range 2 {
					if got := outputs(t, h, torn); got["written"] != "3" {
						t.Fatal(got)
					}
				}
				if diff := cmp.Diff(whole, content(t, dir, name)); diff != "" {
					t.Fatalf("%s cut at byte %d: %s", name, cut, diff)
				}
			}
		}
	}
}

// Handlers that know nothing of each other, as in several processes, execute
// everything twice and at once; each record is there once.
func TestDatasetOutputIsIdempotent(t *testing.T) {
	dir := t.TempDir()
	const executions = 20
	errs := make(chan error)
	for range 4 {
		h := output(dir)
		go func() {
			for i := range executions {
				in := withIntent(input(`{"path": "o.jsonl"}`, "data", fmt.Sprintf(`[{"n":%d},{"n":%d}]`, i, i)), byte(i))
				_, err := h.Run(t.Context(), in)
				errs <- err
			}
		}()
	}
	for range 4 * executions {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	counts := map[string]int{}
	for line := range strings.Lines(content(t, dir, "o.jsonl")) {
		var rec struct {
			ID string `json:"intent_id"`
		}
		if err := json.Unmarshal([]byte(line), &rec); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		counts[rec.ID]++
	}
	if len(counts) != executions {
		t.Errorf("%d executions are in the file", len(counts))
	}
	for id, n := range counts {
		if n != 2 {
			t.Errorf("%s has %d lines", id, n)
		}
	}
}

// The lock holds against another process: a child takes it, the handler waits,
// the child goes, the handler writes.
func TestDatasetOutputWaitsForAnotherProcess(t *testing.T) {
	flock, err := exec.LookPath("flock")
	if err != nil {
		t.Skip("needs flock(1)")
	}
	dir := t.TempDir()
	write(t, dir, "o.jsonl", "")
	child := exec.CommandContext(t.Context(), flock, filepath.Join(dir, "o.jsonl"), "sh", "-c", "echo locked; read line")
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	in := input(`{"path": "o.jsonl"}`, "data", "{}")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := output(dir).Run(ctx, in); err == nil || node.IsPermanent(err) || content(t, dir, "o.jsonl") != "" {
		t.Fatalf("wrote past the lock of another process: %v", err)
	}
	if _, err := io.WriteString(stdin, "go\n"); err != nil {
		t.Fatal(err)
	}
	outputs(t, output(dir), in)
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestDatasetOutputKeepsAForeignLastLine(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "o.jsonl", `{"by":"hand"}`)
	outputs(t, output(dir), input(`{"path": "o.jsonl", "columns": ["a"]}`, "data", `{"a":1}`))
	if got := content(t, dir, "o.jsonl"); !strings.HasPrefix(got, "{\"by\":\"hand\"}\n{\"a\":1,") {
		t.Errorf("%q", got)
	}
}

func FuzzDatasetCSV(f *testing.F) {
	f.Add("a,b\n1,2\n\"x\ny\",3\n")
	f.Add("\ufeffa\r\n\r\n1\r\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		name := uuid.NewString() + ".csv"
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
		h := newDatasetInput(dir)
		in := input(fmt.Sprintf(`{"path": %q, "window": 3}`, name))
		for cycle := int64(1); cycle < 8; cycle++ {
			res, err := h.Run(context.Background(), at(in, cycle))
			if err != nil {
				if !node.IsPermanent(err) {
					t.Fatalf("%q: %v", text, err)
				}
				return
			}
			if res.Stop {
				return
			}
			if raw, err := json.Marshal(res.Outputs); err != nil || !json.Valid(raw) {
				t.Fatalf("%q: %s, %v", text, raw, err)
			}
		}
	})
}

package chaos

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/load"
	"github.com/tradingflow/weather-station/deploy/dev/servers"
)

func TestASeedDrawsTheSameSchedule(t *testing.T) {
	draw := func(seed uint64, o Soak) *Schedule {
		s, err := Draw(seed, o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b := draw(7, Soak{}), draw(7, Soak{})
	if d := cmp.Diff(a, b); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(a, draw(8, Soak{})); d == "" {
		t.Error("two seeds draw one schedule")
	}
	n, kinds := 0, map[string]bool{}
	for _, p := range a.Phases {
		for _, d := range p.Faults {
			n++
			kinds[d.Kind] = true
			i := slices.IndexFunc(Kinds(), func(k Kind) bool { return k.Name == d.Kind })
			if k := Kinds()[i]; k.Loss && !p.Loss || d.Lasts > k.Most || d.After <= 0 {
				t.Errorf("%+v in a phase with loss %v", d, p.Loss)
			}
		}
	}
	if n != 1000 || len(kinds) != len(Kinds()) {
		t.Errorf("%d faults of %d kinds, want 1000 of %d", n, len(kinds), len(Kinds()))
	}
	path := filepath.Join(t.TempDir(), "schedule.json")
	if err := a.Write(path); err != nil {
		t.Fatal(err)
	}
	read, err := ReadSchedule(path)
	if d := cmp.Diff(a, read); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, p := range draw(7, Soak{Faults: 300, HA: true}).Phases {
		for _, d := range p.Faults {
			if strings.HasPrefix(d.Kind, "redis-truncate") || p.Loss {
				t.Errorf("%+v is done to three servers", d)
			}
		}
	}
	if _, err := Draw(1, Soak{Kinds: []string{"earthquake"}}); err == nil {
		t.Error("an unknown kind is drawn")
	}
	if err := os.WriteFile(path, []byte(`{"phases":[{"faults":[{"kind":"earthquake"}]}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSchedule(path); err == nil || !strings.Contains(err.Error(), "earthquake") {
		t.Errorf("an unknown kind is read: %v", err)
	}
}

// Every row of the matrix is there, and is run or says why not.
func TestEveryRowIsRunOrSaysWhyNot(t *testing.T) {
	seen := map[int]bool{}
	for _, r := range Rows() {
		seen[order(r.ID)] = true
		if (r.Run == nil) != (r.Not != "") || r.Run != nil && (r.How == "" || r.Faults == 0) {
			t.Errorf("row %+v", r)
		}
	}
	for n := 1; n <= 33; n++ {
		if !seen[n] {
			t.Errorf("row T%d is missing", n)
		}
	}
	if _, err := Pick([]string{"T99"}, false); err == nil {
		t.Error("row T99 is picked")
	}
	short, err := Pick(nil, true)
	if err != nil || len(short) < 8 {
		t.Errorf("%d rows are short: %v", len(short), err)
	}
}

// Every invariant is there, and says where it is checked or why not.
func TestEveryInvariantIsCheckedOrSaysWhyNot(t *testing.T) {
	all := Invariants()
	if len(all) != 12 {
		t.Errorf("%d invariants", len(all))
	}
	for n, i := range all {
		if i.ID != fmt.Sprintf("I%d", n+1) || i.Title == "" || i.Where == "" && i.Not == "" {
			t.Errorf("invariant %d: %+v", n+1, i)
		}
	}
}

func TestLoadFollowsFromItsSeed(t *testing.T) {
	text := func(seed uint64) string {
		var b bytes.Buffer
		for _, f := range load.Flows(load.Config{Seed: seed, Flows: 50}) {
			b.Write(f.Text())
		}
		return b.String()
	}
	a := text(3)
	if a != text(3) || a == text(4) {
		t.Error("the flows don't follow from the seed")
	}
	if n := strings.Count(a, "at_most_once"); n < 10 || n > 100 {
		t.Errorf("%d nodes may start only once", n)
	}
}

func TestFigures(t *testing.T) {
	r := &Result{Asked: 1, Faults: 1}
	f := r.figure("x")
	for i := range 100 {
		f.add(time.Duration(i+1) * time.Millisecond)
	}
	f.limit50, f.limit99, f.limitMax = 51*time.Millisecond, 99*time.Millisecond, 0
	r.close(time.Second)
	if f.P50 != 51*time.Millisecond || f.P99 != 100*time.Millisecond || f.Max != 100*time.Millisecond || f.OK || r.OK || len(r.Violations) != 1 {
		t.Errorf("%+v, %v", f, r.Violations)
	}
	few := &Result{Asked: 2, Faults: 1}
	if few.close(0); few.OK {
		t.Error("a fault that was not brought about passes")
	}
}

// A normal build has no failpoints in it; a build with the tag has.
func TestNormalBinariesHaveNoFailpoints(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two binaries twice")
	}
	root, err := servers.FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	for _, tags := range []string{"", "failpoint"} {
		dir := t.TempDir()
		cmd := exec.Command("go", "build", "-tags", tags, "-o", dir+"/", "./coordinator/cmd/coordinator", "./worker/cmd/worker")
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		for _, name := range []string{"coordinator", "worker"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, trace := range []string{"STATION_FAILPOINT", "failpoint.hit"} {
				if has := bytes.Contains(b, []byte(trace)); has != (tags != "") {
					t.Errorf("%s built with tags %q: %q is in it: %v", name, tags, trace, has)
				}
			}
		}
	}
}

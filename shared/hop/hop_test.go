package hop

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tradingflow/weather-station/shared/ids"
)

var attempt = ids.Attempt{Flow: "f", Cycle: 7, Node: "a", N: 1}

func TestPassCostsNothingWhenNothingIsRecorded(t *testing.T) {
	if n := testing.AllocsPerRun(1000, func() { Pass(Claimed, attempt) }); n != 0 {
		t.Errorf("a pass allocates %v times", n)
	}
}

func ask(t *testing.T, mux http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestRecording(t *testing.T) {
	mux := http.NewServeMux()
	Handle(mux)
	if w := ask(t, mux, http.MethodDelete, Path); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "POST") {
		t.Errorf("an end without a beginning answers %d %q", w.Code, w.Body.String())
	}
	for _, bad := range []string{"0", "-1", "x", "1000001"} {
		if w := ask(t, mux, http.MethodPost, Path+"?marks="+bad); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), bad) {
			t.Errorf("marks=%s answers %d %q", bad, w.Code, w.Body.String())
		}
	}
	if w := ask(t, mux, http.MethodPost, Path+"?marks=30"); w.Code != http.StatusNoContent {
		t.Fatalf("POST answers %d", w.Code)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for s := range steps {
				Pass(s, attempt)
			}
		})
	}
	all.Wait()
	w := ask(t, mux, http.MethodDelete, Path)
	Pass(Read, attempt) // after the end: nobody's
	var r Recording
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
		t.Fatalf("%v in %s", err, w.Body.String())
	}
	if len(r.Marks) != 30 || r.Lost != 4*int(steps)-30 {
		t.Errorf("%d marks are recorded and %d lost", len(r.Marks), r.Lost)
	}
	for _, m := range r.Marks {
		if m.At == 0 || m.Flow != "f" || m.Cycle != 7 || m.Node != "a" || m.Attempt != 1 {
			t.Fatalf("mark is %+v", m)
		}
	}
	if w := ask(t, mux, http.MethodDelete, Path); w.Code != http.StatusConflict {
		t.Errorf("a second end answers %d", w.Code)
	}
}

func TestStepsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for s := range steps {
		text, err := s.MarshalText()
		if err != nil || len(text) == 0 || seen[string(text)] {
			t.Errorf("step %d is called %q, %v", s, text, err)
		}
		seen[string(text)] = true
		var back Step
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("%q is read as %v, %v", text, back, err)
		}
	}
	if err := new(Step).UnmarshalText([]byte("jump")); err == nil {
		t.Error("an unknown step is read")
	}
}

// What a pass costs while nothing is recorded, and while something is.
func BenchmarkPass(b *testing.B) {
	b.Run("off", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Pass(Claimed, attempt)
		}
	})
	b.Run("on", func(b *testing.B) {
		b.ReportAllocs()
		defer end()
		begin(DefaultMarks)
		for n := 0; b.Loop(); n++ {
			if n%DefaultMarks == 0 {
				begin(DefaultMarks)
			}
			Pass(Claimed, attempt)
		}
	})
}
